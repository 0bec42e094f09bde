"""What the page's tests share: the built page, a real browser, and a real pipeline whose input the test writes."""

import contextlib
import fcntl
import importlib
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, expect, sync_playwright

from forked_program import Forked, Forker
from real_parts import chromium, missing

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / ".cache" / "screenshots"
PATIENCE = 30.0
"""Seconds after which something that must happen is taken to have failed."""

ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-precise-memory-info",
]

PIPELINE = """
name: shop
topics:
  lines: {{partitions: 1}}
  trades: {{partitions: 1}}
producers:
  file: {{use: file_tail, paths: ["{input}"], to: lines, poll_seconds: 0.05}}
flows:
  parse:
    from: lines
    steps:
      - {{use: parse_log, format: json}}
      - {{use: convert, types: {{price: float}}}}
    to: trades
dashboard:
  port: {port}
  panels:
    - {{title: Prices, from: trades, kind: line, y: price, by: symbol, span: 1m, decimals: 2}}
    - {{title: Notes, from: trades, kind: feed, fields: [symbol, price, note], limit: 50, top: 100}}
    - {{title: Symbols, from: trades, kind: bar, by: symbol, span: 10m}}
    - {{title: Latest, from: trades, kind: table, by: symbol, fields: [price, note], decimals: 2}}
    - {{title: Price now, from: trades, kind: number, y: price, show: last, decimals: 2}}
    - {{title: Level, from: trades, kind: gauge, y: price, show: last, min: 0, max: 200, warn: 100, bad: 150}}
    - {{title: Map, from: trades, kind: heatmap, by: symbol, split: note, span: 10m}}
    - {{title: Raw, from: lines, kind: feed, fields: [line]}}
"""


@pytest.fixture(scope="session")
def build_page() -> ModuleType:
    """The program that builds the page."""
    return importlib.import_module("dashboard.build_page")


@pytest.fixture(scope="session")
def static(build_page: ModuleType) -> Path:
    """The built page, made anew if its sources changed."""
    if not build_page.is_current(ROOT / build_page.WEB, ROOT / build_page.STATIC) and build_page.find_npm() is None:
        missing("the page is not built and there is no npm")
    with (ROOT / build_page.WEB / "package.json").open() as lock:
        # Of several workers one builds.
        fcntl.flock(lock, fcntl.LOCK_EX)
        build_page.build()
    return ROOT / Path(build_page.STATIC)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Its driver keeps an event loop running, beside which nothing async works."""
    program = chromium()
    arguments = [*ARGUMENTS, "--no-sandbox"] if os.geteuid() == 0 else ARGUMENTS
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@attrs.define
class Pipeline:
    """A pipeline in a process of its own, with its dashboard on a port that stays the same."""

    forker: Forker
    file: Path
    input: Path
    port: int
    process: Forked | None = None
    output: list[str] = attrs.field(factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it and wait until the dashboard listens."""
        self.output.clear()
        self.process, said = self.forker.start("pipeline", "up", str(self.file), folder=self.file.parent)
        told = threading.Event()
        threading.Thread(target=self._read, args=(said, told), daemon=True).start()
        told.wait(PATIENCE)
        if not any("event=dashboard" in line for line in self.output):
            self.stop()
            pytest.fail("the dashboard did not start: " + "".join(self.output[-20:]))

    def _read(self, said: Connection, told: threading.Event) -> None:
        """Keep what it says, to its end; tell when it listens, or ended before it did."""
        with said, os.fdopen(os.dup(said.fileno()), encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self.output.append(line)
                if "event=dashboard" in line:
                    told.set()
        told.set()

    def stop(self, how: int = signal.SIGKILL) -> None:
        """End it, by default as a crash would."""
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(PATIENCE)
        self.process = None

    def pause(self) -> contextlib.AbstractContextManager[None]:
        """Stop the process without ending it, as a lost network looks from the page."""
        assert self.process is not None
        process = self.process

        @contextlib.contextmanager
        def paused() -> Iterator[None]:
            process.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                process.send_signal(signal.SIGCONT)

        return paused()

    def write(self, *lines: Any) -> None:
        """Append to the input; anything but text as JSON."""
        with self.input.open("a", encoding="utf-8") as file:
            for line in lines:
                file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")

    def ask(self, path: str, **parameters: Any) -> Any:
        """The answer of the dashboard's API."""
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        with urllib.request.urlopen(f"{self.address}api/{path}{query}", timeout=PATIENCE) as answer:
            return json.load(answer)

    def until(self, topic: str, records: int) -> None:
        """Wait until a topic has so many records."""
        deadline = time.monotonic() + PATIENCE
        while (held := self.ask(f"topics/{topic}")["records"]) < records:
            if time.monotonic() > deadline:
                pytest.fail(f"{topic} has {held} records, not {records}: " + "".join(self.output[-20:]))
            time.sleep(0.02)

    def values(self, topic: str) -> list[Any]:
        """All values of a topic, in order."""
        return list(self.ask(f"topics/{topic}/records", limit=500, **{"from": "start"})["records"]["value"])


@pytest.fixture(scope="session")
def pipeline_text() -> str:
    """The text of the pipeline that is started when no other is given."""
    return PIPELINE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Start = Callable[..., Pipeline]


@contextlib.contextmanager
def starting(forker: Forker, folder: Path) -> Iterator[Start]:
    """Give a way to start pipelines, each in a folder of its own; the text has places for `input` and `port`."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start(text: str = PIPELINE) -> Pipeline:
            nonlocal count
            count += 1
            place = folder / f"pipeline-{count}"
            place.mkdir()
            made = Pipeline(forker, place / "pipeline.yaml", place / "input.log", free_port())
            made.input.touch()
            made.file.write_text(text.format(input=made.input, port=made.port))
            stack.callback(made.stop)
            made.start()
            return made

        yield start


@pytest.fixture
def pipeline(forker: Forker, tmp_path: Path, static: Path) -> Iterator[Start]:
    """Return a way to start a pipeline of this test's own."""
    with starting(forker, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def shared_pipeline(forker: Forker, tmp_path_factory: pytest.TempPathFactory, static: Path) -> Iterator[Start]:
    """Return a way to start a pipeline that the tests of a file only look at."""
    with starting(forker, tmp_path_factory.mktemp("shared")) as start:
        yield start


@pytest.fixture(scope="session")
def window(browser: Browser) -> Page:
    """A page that most tests use, one after the other: to open a window costs more than to look at the dashboard."""
    return browser.new_page()


@pytest.fixture
def view(browser: Browser, window: Page) -> Iterator[Callable[..., Page]]:
    """Return a way to open a page; what it logs as an error, and each foreign address it asks for, fails the test.

    A page that a test meddles with (its clock, its routes, its events) must be `fresh`.
    """
    complaints: list[str] = []
    free = [window]
    with contextlib.ExitStack() as stack:

        def look(
            pipeline: Pipeline,
            where: str = "streams",
            *,
            width: int = 1280,
            height: int = 800,
            theme: Any = "light",
            refusals: bool = False,
            fresh: bool = False,
        ) -> Page:
            if fresh or not free:
                page = browser.new_page()
                stack.callback(page.close)
            else:
                page = free.pop()
                stack.callback(leave, page)
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=theme)
            page.set_default_timeout(PATIENCE * 1000)

            def hear_console(said: ConsoleMessage) -> None:
                # While the server is away the browser itself logs each attempt to reach it.
                if said.type != "error" or "ERR_" in said.text or "WebSocket" in said.text:
                    return
                if not (refusals and re.search(r"status of 40[13]", said.text)):
                    complaints.append(said.text)

            def hear_error(error: Error) -> None:
                complaints.append(str(error))

            def hear_request(request: Request) -> None:
                if not request.url.startswith(pipeline.address):
                    complaints.append(f"asked for {request.url}")

            page.on("console", hear_console)
            page.on("pageerror", hear_error)
            page.on("request", hear_request)
            stack.callback(page.remove_listener, "request", hear_request)
            stack.callback(page.remove_listener, "pageerror", hear_error)
            stack.callback(page.remove_listener, "console", hear_console)
            if not fresh:
                page.goto(f"{pipeline.address}#/{where}")
            return page

        yield look
    assert complaints == []


def leave(page: Page) -> None:
    """Make a page as if it were new."""
    page.evaluate("localStorage.clear()")
    page.goto("about:blank")
    page.context.clear_cookies()


@pytest.fixture(scope="session")
def keep() -> Callable[[Page, str], Path]:
    """Return a way to keep a screenshot as a test artifact."""

    def shoot(page: Page, name: str) -> Path:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        page.screenshot(path=path)
        return path

    return shoot
