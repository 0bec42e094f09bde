"""A worker process, seen from the supervisor's end of the socket."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver.cli.worker import Channel, ChannelLog

PROGRAM = Path(sys.executable).parent / "streamweaver"

TICKS = """\
name: ticks
dashboard: {enabled: false}
producers:
  trades: {use: stock_trades, to: ticks, rate: 200}
sinks:
  out: {use: file, from: ticks, path: out.ndjson}
"""


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


# -- the socket -----------------------------------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A worker's channel and the supervisor's end of it."""
    theirs, ours = socket.socketpair()
    with ours, theirs:
        yield Channel(theirs), ours


def test_what_is_told_comes_as_lines_of_json(ends: tuple[Channel, socket.socket]) -> None:
    """Also what JSON does not know, as text of it."""
    channel, ours = ends
    ChannelLog(channel, "info")("debug", "not sent")
    ChannelLog(channel, "info")("warning", "odd", error=ValueError("no"))
    channel.tell("metrics", metrics={"stages": {}})
    with ours.makefile("rb") as lines:
        assert json.loads(lines.readline()) == {
            "kind": "log",
            "level": "warning",
            "event": "odd",
            "fields": {"error": "no"},
        }
        assert json.loads(lines.readline()) == {"kind": "metrics", "metrics": {"stages": {}}}


@pytest.mark.parametrize(
    ("said", "told"),
    [("caf\udce9.csv", "caf\\udce9.csv"), (["\ud800"], r"['\ud800']"), (CYCLE, "[[...]]")],
    ids=["surrogate", "nested", "cycle"],
)
def test_a_log_line_comes_whatever_a_plugin_says(ends: tuple[Channel, socket.socket], said: Any, told: str) -> None:
    """What JSON has not, such as the name of an undecodable file, comes as text; the call never fails."""
    channel, ours = ends
    ChannelLog(channel, "info")("info", "read", file=said, n=1)
    with ours.makefile("rb") as lines:
        fields = json.loads(lines.readline())["fields"]
    assert fields["file"] == told


def test_orders_are_heard_and_the_end_too(ends: tuple[Channel, socket.socket]) -> None:
    """Every line before the end comes first; telling somebody who is gone does nothing."""
    channel, ours = ends
    heard: list[Any] = []
    lost = threading.Event()
    channel.listen(heard.append, lost.set)
    ours.sendall(b'{"kind": "stop"}\n{"kind": "ask", "round": 2}\n')
    ours.close()
    assert lost.wait(20)
    assert heard == [{"kind": "stop"}, {"kind": "ask", "round": 2}]
    channel.tell("log")
    channel.tell("log")


# -- the process ----------------------------------------------------------------------------------


@attrs.define
class Worker:
    """A worker process and our end of its socket."""

    process: subprocess.Popen[str]
    ours: socket.socket
    lines: Any

    def say(self, **order: Any) -> None:
        """Give an order."""
        self.ours.sendall(json.dumps(order).encode() + b"\n")

    def hear(self, kind: str) -> dict[str, Any]:
        """Return the next line of a kind."""
        for line in self.lines:
            said: dict[str, Any] = json.loads(line)
            if said["kind"] == kind:
                return said
        raise AssertionError(f"no {kind} came: {self.process.communicate()}")

    def ask(self, number: int) -> dict[str, Any]:
        """Ask it where it stands."""
        self.say(kind="ask", round=number)
        return self.hear("standing")


@contextmanager
def working() -> Iterator[Worker]:
    """Start a worker that runs the pipeline of the folder."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [PROGRAM, "pipeline", "up", "ticks.yaml", "--worker-name", "w", "--supervisor", str(theirs.fileno())],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[theirs.fileno()],
        )
    try:
        with ours, ours.makefile("rb") as lines:
            yield Worker(process, ours, lines)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def ticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder with the pipeline."""
    monkeypatch.chdir(tmp_path)
    Path("ticks.yaml").write_text(TICKS)


@pytest.mark.usefixtures("ticks")
def test_it_drains_when_told_and_ends_when_released() -> None:
    """Signals change nothing; stopped and quiet it still waits; its last word is its summary, and it prints nothing."""
    with working() as worker:
        worker.hear("started")
        while not worker.hear("metrics")["metrics"]["stages"]["out"]["out"]:
            pass
        worker.process.send_signal(signal.SIGTERM)
        assert worker.hear("log")["event"] == "signals are for the supervisor"
        assert worker.ask(1) == {"kind": "standing", "round": 1, "ended": [], "busy": ["trades"], "quiet": False}
        worker.say(kind="stop")
        number = 2
        while not (standing := worker.ask(number))["quiet"]:
            number += 1
        assert standing == {"kind": "standing", "round": number, "ended": [], "busy": [], "quiet": True}
        assert worker.process.poll() is None
        worker.say(kind="release")
        summary = worker.hear("summary")
        out, err = worker.process.communicate(timeout=30)
    assert (worker.process.returncode, out, err) == (0, "", "")
    assert (summary["drained"], summary["error"]) == (True, None)
    assert summary["counts"]["trades"]["out"] == summary["counts"]["out"]["out"]
    assert summary["counts"]["out"]["out"] == len(Path("out.ndjson").read_text().splitlines())


@pytest.mark.usefixtures("ticks")
def test_an_abort_ends_it_at_once() -> None:
    """Exit status 3; it still says what it has counted."""
    with working() as worker:
        worker.hear("metrics")
        worker.say(kind="abort")
        assert worker.hear("summary")["drained"] is False
        worker.process.communicate(timeout=30)
    assert worker.process.returncode == 3


@pytest.mark.usefixtures("ticks")
def test_it_ends_when_the_supervisor_is_gone() -> None:
    """A socket that closes is as good as an abort."""
    with working() as worker:
        worker.hear("metrics")
        worker.ours.shutdown(socket.SHUT_RDWR)
        worker.process.communicate(timeout=30)
    assert worker.process.returncode == 3


@pytest.mark.usefixtures("ticks")
def test_a_broker_that_cannot_be_opened_is_told() -> None:
    """The supervisor decides whether to try again; the reason is the broker's own."""
    with working() as first:
        first.hear("metrics")
        with working() as second:
            refused = second.hear("refused")
            second.process.communicate(timeout=30)
        assert second.process.returncode == 1
        assert f"process {first.process.pid}" in refused["error"]
