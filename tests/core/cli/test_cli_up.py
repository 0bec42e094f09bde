"""`pipeline up`: what it runs, how it ends, what it says."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamweaver.runtime.context import THREAD_NAME

PROGRAM = Path(sys.executable).parent / "streamweaver"
GOOD, BAD, BROKEN = 8, 4, 1

ENDLESS = """\
name: endless
dashboard: {enabled: false}
drain_timeout: 20s
topics: {ticks: {partitions: 2}}
producers:
  trades: {use: stock_trades, to: ticks, rate: 200}
sinks:
  out: {use: file, from: ticks, path: out.ndjson}
"""

STUCK = '''\
import time
import attrs
from streamweaver import transform

@transform("hold")
@attrs.frozen
class Hold:
    """Hold every batch for as long as the process lives."""

    def process(self, batch, context):
        print("holding", flush=True)
        while True:
            time.sleep(0.05)
'''


@contextmanager
def running(*arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start the program in a process of its own, and make sure that it is gone in the end."""
    process = subprocess.Popen(
        [PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str, stream: str = "stderr") -> str:
    """Read lines until one holds the text; returns all of them."""
    lines = ""
    for line in getattr(process, stream):
        lines += line
        if text in line:
            return lines
    raise AssertionError(f"{text!r} never came: {lines}")


def lines_in(process: subprocess.Popen[str], path: Path) -> None:
    """Wait until the sink has written something, or the process has ended."""
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None
        os.sched_yield()


def errors(err: str) -> list[str]:
    """Return what the command itself says of its failure, which comes last."""
    lines = err.splitlines()
    found = [line for line in lines if line.startswith("error: ")]
    assert lines[-len(found) :] == found
    return found


# -- what it runs, and the summary ----------------------------------------------------------------


def test_it_runs_until_idle_and_ends_with_counts_that_balance(run, shop: Path) -> None:
    """Exit status 0; the only line of standard output is the counts of each stage, and they balance."""
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--json")
    assert said.status == 0, said.err
    assert len(said.lines) == 1
    assert list(said.json) == ["stages"]
    counts = said.json["stages"]
    for stage in counts.values():
        settled = stage["out"] + stage["filtered"] + stage["dead_lettered"] + stage["skipped"]
        assert stage["in"] + stage["added"] == settled + stage["in_flight"]
    assert counts["file"]["dead_lettered"] == BROKEN
    assert (counts["prices"]["in"], counts["prices"]["dead_lettered"], counts["out"]["out"]) == (GOOD + BAD, BAD, GOOD)
    assert len(Path("out.ndjson").read_text().splitlines()) == GOOD


def test_stages_are_announced_with_their_guarantees(run, shop: Path) -> None:
    """Before anything starts, standard error names each stage and what it guarantees."""
    said = run("pipeline", "up", "shop.yaml", "--until-idle")
    announced = [line for line in said.err.splitlines() if "event=stage " in line]
    assert ["stage=file" in announced[0], "stage=prices" in announced[1], "stage=out" in announced[2]] == [True] * 3
    assert all("guarantee=at_least_once" in line for line in announced)


def test_the_summary_is_a_table_without_json(run, shop: Path) -> None:
    """The human summary stands on standard output and names every count; dead letters are pointed at."""
    said = run("pipeline", "up", "shop.yaml", "--until-idle")
    heads, *rows = said.out.splitlines()
    assert heads.split()[:4] == ["stage", "in", "added", "out"]
    assert [row.split()[0] for row in rows] == ["file", "prices", "out"]
    assert "streamweaver dlq list shop.yaml" in said.err


def test_only_and_except_choose_stages(run, shop: Path) -> None:
    """What is not chosen does not run, and the rest goes on with it later."""
    assert list(run("pipeline", "up", "shop.yaml", "--only", "file", "--until-idle", "--json").json["stages"]) == [
        "file"
    ]
    said = run("pipeline", "up", "shop.yaml", "--except", "file,out", "--until-idle", "--json")
    assert list(said.json["stages"]) == ["prices"]
    assert said.json["stages"]["prices"]["in"] == GOOD + BAD


def test_set_overrides_the_file(run, shop: Path) -> None:
    """An override is checked and used like the file's own value."""
    said = run("pipeline", "up", "shop.yaml", "--set", "flows.prices.on_error=skip", "--until-idle", "--json")
    assert said.json["stages"]["prices"]["skipped"] == BAD


def test_a_duration_ends_it_drained(run, shop: Path) -> None:
    """After the given time an endless pipeline stops with nothing in flight."""
    Path("endless.yaml").write_text(ENDLESS)
    said = run("pipeline", "up", "endless.yaml", "--duration", "300ms", "--json", "--data", "elsewhere")
    assert said.status == 0, said.err
    stages = said.json["stages"]
    assert stages["trades"]["out"] == stages["out"]["out"] > 0
    assert Path("elsewhere").is_dir()
    assert not Path(".streamweaver").exists()


def test_workers_are_refused_with_the_reason(run, shop: Path) -> None:
    """The embedded broker cannot share work, and the refusal says so."""
    said = run("pipeline", "up", "shop.yaml", "--workers", "2")
    assert said.status == 2
    assert "broker embedded cannot share the work" in said.err


def test_every_mistake_of_file_and_overrides_comes_at_once(run, shop: Path) -> None:
    """A bad override, a bad reference and a bad option are told together, a line each."""
    text = Path("shop.yaml").read_text().replace("to: orders, key: id", "to: orders, key: 7")
    Path("shop.yaml").write_text(text.replace("path: out.ndjson", 'path: "${env:NOT_THERE}"'))
    said = run("pipeline", "up", "shop.yaml", "--set", "nothing")
    assert said.status == 2
    assert len(said.err.splitlines()) == 3
    assert "shop.yaml:6:" in said.err
    assert "NOT_THERE" in said.err
    assert not Path(".streamweaver").exists()


# -- how it fails ---------------------------------------------------------------------------------


def test_a_stage_that_failed_for_good_is_named(run, shop: Path) -> None:
    """Exit status 1; the last lines say which stage, why, and what to do."""
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--set", "flows.prices.on_error=stop", "--json")
    assert said.status == 1
    failed, hint = said.err.splitlines()[-2:]
    assert failed.startswith("failed: stage prices: convert failed on orders[")
    assert "the next start goes on from there" in hint
    assert "stages" in said.json


def test_what_a_failure_quotes_does_nothing_to_a_terminal(run, shop: Path) -> None:
    """A record's content in the last error is escaped, as it is in the log and in tables."""
    Path("orders.ndjson").write_text('{"id": 1, "price": "\\u001b[2J\\u202e"}\n')
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--set", "flows.prices.on_error=stop")
    assert said.status == 1
    (failed,) = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert "[2J" in failed
    assert "\x1b" not in said.err
    assert "\u202e" not in said.err


def test_a_folder_in_use_is_one_line(run, shop: Path) -> None:
    """A second run on the same data is refused with the holder's name, exit status 1."""
    Path("endless.yaml").write_text(ENDLESS)
    with running("pipeline", "up", "endless.yaml") as process:
        read_until(process, "event=starting")
        lines_in(process, Path("out.ndjson"))
        said = run("pipeline", "up", "endless.yaml", "--log-level", "error")
        assert said.status == 1
        assert len(errors(said.err)) == 1
        assert f"process {process.pid}" in errors(said.err)[0]


def test_a_damaged_log_is_one_line(run, ran: Path) -> None:
    """A data folder with something else in it is told, exit status 1, with the command that looks closer."""
    for path in Path(".streamweaver/shop").glob("log.sqlite*"):
        path.unlink()
    Path(".streamweaver/shop/log.sqlite").write_bytes(b"not a database" * 1000)
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--log-level", "error")
    assert said.status == 1
    assert len(errors(said.err)) == 1
    assert "streamweaver log check" in errors(said.err)[0]


def test_secrets_are_blanked_in_logs_and_errors(run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a secret option shows up nowhere, also not in the error of the stage that has it."""
    monkeypatch.setenv("WEBSOCKET_TOKEN", "hunter2-hunter2")
    live = (
        "  live: {use: websocket, from: priced, tls_key: hunter2-hunter2, tls_certificate: none, "
        "token: '${env:WEBSOCKET_TOKEN}'}\n"
    )
    Path("shop.yaml").write_text(Path("shop.yaml").read_text() + live)
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--set", "sinks.live.restart.attempts=0")
    assert said.status == 1
    assert "failed: shop.yaml:15:15: stage live: " in said.err
    assert "hunter2" not in said.err + said.out


# -- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains(shop: Path, number: int) -> None:
    """After one signal everything that was produced is written, exit status 0."""
    Path("endless.yaml").write_text(ENDLESS)
    with running("pipeline", "up", "endless.yaml", "--json") as process:
        lines_in(process, Path("out.ndjson"))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    stages = json.loads(out.splitlines()[-1])["stages"]
    assert stages["trades"]["out"] == stages["out"]["out"] == len(Path("out.ndjson").read_text().splitlines())
    assert "Traceback" not in err


@pytest.fixture
def held(shop: Path) -> dict[str, str]:
    """A pipeline whose flow blocks the process for ever, and the environment that knows its plugin."""
    Path("hold_plugin.py").write_text(STUCK)
    info = Path("hold_plugin-1.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hold-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[streamweaver.transforms]\nhold = hold_plugin:Hold\n")
    Path("held.yaml").write_text(
        Path("shop.yaml").read_text().replace("{use: convert, types: {price: float}}", "{use: hold}")
    )
    return {**os.environ, "PYTHONPATH": str(shop), "XDG_CACHE_HOME": str(shop / "cache")}


def test_a_second_signal_stops_at_once(held: dict[str, str], run, shop: Path) -> None:
    """While a plugin blocks even the event loop, two signals end the process: exit status 3, and nothing is lost."""
    with running("pipeline", "up", "held.yaml", "--json", env=held) as process:
        read_until(process, "holding", "stdout")
        # Two different ones, since the same signal twice may arrive as one.
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
    assert "the next start goes on from there" in err
    assert "Traceback" not in err
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--json")
    assert said.json["stages"]["prices"]["in"] == GOOD + BAD


DEAF = """
import asyncio, time
import attrs
from streamweaver import Batch, sink

@sink("slow", blocking=True)
@attrs.define
class Slow:
    def write(self, batch: Batch) -> None:
        time.sleep(3600)

@sink("deaf")
@attrs.define
class Deaf:
    async def write(self, batch: Batch) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
"""


@pytest.mark.parametrize("name", ["slow", "deaf"])
def test_a_deadline_holds_whatever_a_plugin_does(shop: Path, name: str) -> None:
    """A sink that blocks its thread, or ignores its cancellation, does not keep a stopped process alive."""
    Path("deaf_plugin.py").write_text(DEAF)
    info = Path("deaf_plugin-1.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deaf-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[streamweaver.sinks]\nslow = deaf_plugin:Slow\ndeaf = deaf_plugin:Deaf\n")
    text = Path("shop.yaml").read_text()
    Path("deaf.yaml").write_text(f"drain_timeout: 1s\n{text}  held: {{use: {name}, from: priced}}\n")
    environment = {**os.environ, "PYTHONPATH": str(shop), "XDG_CACHE_HOME": str(shop / "cache")}
    with running("pipeline", "up", "deaf.yaml", "--duration", "1s", env=environment) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "Traceback" not in err


def test_threads_of_others_do_not_end_the_process(run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the run itself has left behind does: the threads of another run in this process are not its own."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    go_on = threading.Event()
    other = threading.Thread(target=go_on.wait, name=f"{THREAD_NAME}-of-another", daemon=True)
    other.start()
    try:
        assert run("pipeline", "up", "shop.yaml", "--until-idle", "--json").status == 0
    finally:
        go_on.set()
    assert ended == []


# -- tools beside it ------------------------------------------------------------------------------


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Look again and again, as long as the process lives; the time limit of the test is the limit."""
    while not condition():
        assert process.poll() is None


def test_a_port_that_is_taken_is_told_in_one_line(run, shop: Path) -> None:
    """It is a failure of the run, located in the file, with what to do; nothing waits for restarts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        live = f"  live: {{use: websocket, from: priced, port: {port}}}\n"
        Path("shop.yaml").write_text(Path("shop.yaml").read_text() + live)
        line = len(Path("shop.yaml").read_text().splitlines())
        said = run("pipeline", "up", "shop.yaml", "--until-idle")
        assert "stage live: cannot be used: websocket: port" in run("pipeline", "check", "shop.yaml", "--connect").err
    assert said.status == 1
    (failed,) = [each for each in said.err.splitlines() if each.startswith("failed: ")]
    assert failed == (
        f"failed: shop.yaml:{line}:15: stage live: websocket: port {port} of 127.0.0.1 is in use: "
        "stop the other program, or set another `port`"
    )


def test_tools_work_beside_a_running_pipeline(run, shop: Path) -> None:
    """Its status is seen, its dead letters are fixed and replayed, and the running stage takes them."""
    trades = "producers:\n  trades: {use: stock_trades, to: ticks, rate: 50}\n"
    Path("shop.yaml").write_text(Path("shop.yaml").read_text().replace("producers:\n", trades))
    with running("pipeline", "up", "shop.yaml", "--json") as process:
        read_until(process, "event=starting")
        until(lambda: run("pipeline", "status", "shop.yaml", "--json").status == 0, process)
        assert run("pipeline", "status", "shop.yaml").out.startswith("pipeline shop: running\n")
        until(lambda: len(run("dlq", "list", "shop.yaml", "--json").out.splitlines()) == BAD + BROKEN, process)
        assert run("dlq", "replay", "shop.yaml", "--stage", "prices", "--set", "price=9").status == 0
        until(lambda: len(Path("out.ndjson").read_text().splitlines()) == GOOD + BAD, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["stages"]["prices"]["in"] == GOOD + BAD + BAD
    assert run("pipeline", "status", "shop.yaml").out.startswith("pipeline shop: stopped since")


# -- on a terminal --------------------------------------------------------------------------------


def test_on_a_terminal_there_is_a_table(shop: Path) -> None:
    """With a terminal as standard error the stages stand in a table, while the summary goes to standard output."""
    import pty

    Path("endless.yaml").write_text(ENDLESS)
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "150"}
    with subprocess.Popen(
        [PROGRAM, "pipeline", "up", "endless.yaml", "--duration", "2s", "--json"],
        stdout=subprocess.PIPE,
        stderr=slave,
        env=env,
    ) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(master)
    assert process.returncode == 0
    assert b"health" in seen
    assert b"trades" in seen
    assert list(json.loads(out)) == ["stages"]
