"""The watchdog: whoever keeps the event loop from running is named, with the line."""

import asyncio
import inspect
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from streamweaver import Batch, Record, producer, sink, transform
from streamweaver.config import Redactor
from streamweaver.hooks import Observers, observer
from streamweaver.runtime import watchdog
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.engine import Engine, RunOptions
from streamweaver.runtime.scope import Blocked, Scope
from streamweaver.runtime.watchdog import Culprit, Silence, Watchdog
from streamweaver.testing.harness import plan_of

BLOCKED = "event loop blocked: "
AGAIN = "the event loop runs again"


class Lines:
    """Keeps log lines; `told` is set, in whatever thread, when the loop is said to be blocked."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.told = threading.Event()

    def __call__(self, level: str, event: str, /, **fields: Any) -> None:
        self.lines.append((event, fields))
        if event.startswith(BLOCKED):
            self.told.set()

    def of(self, start: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.lines if event.startswith(start)]


LINES = Lines()


def wait_until_told() -> None:
    """Block, as a plain function may do, until the watchdog has noticed."""
    assert LINES.told.wait(30)


@producer
def blocking_producer() -> Iterable[Record]:
    """Block, then bring one."""
    wait_until_told()
    yield Record({"n": 1})


@producer
async def one() -> AsyncIterator[Record]:
    """Bring one."""
    yield Record({"n": 1})


@transform
def blocking_step(record: Record) -> Record:
    """Block."""
    wait_until_told()
    return record


@sink
async def blocking_sink(batch: Batch) -> None:
    """Block, though it is async."""
    wait_until_told()


@sink
def keep(batch: Batch) -> None:
    """Keep it."""


PIPELINE = """
name: t
producers:
  p: {use: %s, to: a}
flows:
  f: {from: a, to: b, steps: [{use: stamp, field: at}%s]}
sinks:
  s: {use: %s, from: b}
"""


class Healths:
    """Notes what is published of a stage's health."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.seen: list[tuple[str, str]] = []

    @observer
    def metrics_published(self, metrics: dict[str, Any]) -> None:
        found = metrics["stages"][self.stage]
        self.seen.append((found["health"], found["activity"]))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice soon, and say so to a new list."""
    monkeypatch.setattr(watchdog, "BLOCKED_SECONDS", 0.3)
    monkeypatch.setattr(watchdog, "BEAT_SECONDS", 0.05)
    LINES.__init__()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("use", "step", "into", "stage", "named"),
    [
        ("blocking_producer", "", "keep", "p", {"plugin": "blocking_producer"}),
        ("one", ", {use: blocking_step}", "keep", "f", {"step": "blocking_step", "plugin": "blocking_step"}),
        ("one", "", "blocking_sink", "s", {"plugin": "blocking_sink"}),
    ],
)
async def test_a_plugin_that_blocks_is_named_with_its_line(
    tmp_path: Path, use: str, step: str, into: str, stage: str, named: dict[str, str]
) -> None:
    """While it blocks there is a line with stage, step, plugin and place; afterwards the stage is not well."""
    plan = plan_of(PIPELINE % (use, step, into), [blocking_producer, one, blocking_step, blocking_sink, keep])
    healths = Healths(stage)
    watching = Observers(lambda text: None)
    watching.connect(healths)
    engine = Engine(
        plan,
        RunOptions(until_idle=True),
        data_dir=tmp_path,
        clock=SystemClock(),
        log=LINES,
        redact=Redactor(),
        observers=watching,
    )
    summary = await engine.run()
    assert summary.drained
    # On a busy machine the loop may stand still elsewhere as well.
    told = next(fields for fields in LINES.of(BLOCKED) if fields["at"].startswith(f"{__file__}:"))
    assert told["stage"] == stage
    assert {name: told.get(name) for name in ("step", "plugin")} == {"step": None, **named}
    function = {"p": blocking_producer, "f": blocking_step, "s": blocking_sink}[stage]
    assert told["at"].endswith(f" {function.__name__}")
    assert "threading.py:" in told["inside"]
    assert told["at"] in [fields["at"] for fields in LINES.of(AGAIN)]
    # The producer ends with its only record; the others are seen to have been stuck.
    assert stage == "p" or ("stuck", f"blocked the event loop at {told['at']}") in healths.seen


class Odd:
    """An object that answers for any name, with an error."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(name)

    def block(self, until: Callable[[], bool]) -> None:
        """Keep the loop."""
        while not until():
            time.sleep(0.01)


async def test_what_a_plugins_objects_do_when_asked_does_not_matter() -> None:
    """They are not asked; and it is told a second time, so the thread lives on."""
    dog = Watchdog(LINES)
    dog.start()
    Odd().block(lambda: len(LINES.of(BLOCKED)) >= 2)
    dog.stop()


async def test_all_that_were_accused_are_cleared() -> None:
    """Two stages that blocked one after the other in one turn of the loop are both over when it runs again."""
    dog = Watchdog(LINES)
    first, second = Blocked(), Blocked()
    for blocked in (first, second):
        blocked.begun("here")
        dog._culprits.append(Culprit(cast("Scope", SimpleNamespace(blocked=blocked)), None, None, "here", "here"))
    dog.start()
    dog.stop()
    assert math.inf not in (first._until, second._until)


async def test_a_loop_that_runs_is_left_alone() -> None:
    """Waiting is no blocking."""
    dog = Watchdog(LINES)
    dog.start()
    await asyncio.sleep(0.6)
    dog.stop()
    assert [fields for fields in LINES.of(BLOCKED) if "test_watchdog" in fields["inside"]] == []


async def test_what_is_no_stage_is_told_by_its_place_and_again_when_it_goes_on() -> None:
    """Twice as long, and it is said again; a helper's own line is the place."""
    dog = Watchdog(LINES)
    dog.start()
    line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]
    while len(LINES.of(BLOCKED)) < 2:
        time.sleep(0.01)
    dog.stop()
    first, second = LINES.of(BLOCKED)[:2]
    assert second["seconds"] >= 2 * first["seconds"] - 0.1
    assert "stage" not in first
    place, _, number = first["inside"].split(" ")[0].rpartition(":")
    assert place == __file__
    assert abs(int(number) - line) <= 1


def test_silence_is_told_when_it_is_news() -> None:
    """At the limit, at twice of what was told, and anew when the loop has run in between."""
    silence = Silence(3.0, 2.0, 0.0)
    told = [silence.to_tell(float(now), 0.0) for now in range(1, 14)]
    assert [now for now, seconds in enumerate(told, 1) if seconds is not None] == [3, 6, 12]
    assert silence.to_tell(14.0, 13.5) is None
    assert silence.to_tell(16.0, 13.5) is None
    assert silence.to_tell(16.5, 13.5) == 3.0


def test_a_process_that_was_stopped_accuses_nobody() -> None:
    """When the thread itself has not run, the loop could not either; its silence counts from then on."""
    silence = Silence(3.0, 2.0, 0.0)
    assert silence.to_tell(1.0, 0.5) is None
    assert silence.to_tell(100.0, 0.5) is None
    assert silence.to_tell(101.0, 0.5) is None
    assert silence.to_tell(103.0, 0.5) == 3.0
