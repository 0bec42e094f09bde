"""Engines that are led: one of several workers, whose end somebody else decides."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import Batch, Record, producer, sink
from streamweaver.hooks import Observers
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.engine import Engine, RunOptions, Standing
from streamweaver.runtime.scope import STANDBY
from streamweaver.testing.harness import plan_of

PIPELINE = """
name: t
dashboard: {enabled: false}
drain_timeout: 20s
producers:
  p: {use: three, to: a}
flows:
  f: {from: a, to: b}
"""

runs = 0


@pytest.fixture(autouse=True)
def counted() -> None:
    """Count the runs of the producer anew."""
    global runs
    runs = 0


@producer
async def three() -> Any:
    """Three records, and no position to resume from."""
    global runs
    runs += 1
    for n in range(3):
        yield Record(n)


@producer
async def endless() -> Any:
    """Records until stopped."""
    while True:
        yield Record(1)
        await asyncio.sleep(0.001)


def engine(tmp_path: Path, pipeline: str, plugins: list[Any], **options: Any) -> Engine:
    plan = plan_of(pipeline, plugins)
    made = Engine(
        plan,
        RunOptions(**options),
        data_dir=tmp_path,
        clock=SystemClock(),
        log=lambda *_, **__: None,
        redact=str,
        observers=Observers(lambda text: pytest.fail(text)),
    )
    # As a broker does whose groups span processes; all lanes are still this one's.
    made._broker.shares_work = True
    return made


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def quiet(led: Engine) -> Standing:
    async with asyncio.timeout(20):
        while not (standing := await led.standing()).quiet:
            await asyncio.sleep(0.005)
    return standing


async def test_a_producer_that_ended_keeps_its_lane_to_the_end_of_the_run(tmp_path: Path) -> None:
    """A worker that stands by would begin it anew; the engine says that it ended, and waits to be released."""
    led = engine(tmp_path, PIPELINE, [three], led=True)
    running = asyncio.create_task(led.run())
    await until(lambda: led.scopes["p"].ended)
    assert await quiet(led) == Standing(ended=["p"], busy=[], quiet=True)
    assert (led.scopes["p"].lanes, led.scopes["p"].activity.what) == (1, "ended")
    assert not running.done()
    led.release()
    summary = await running
    assert (summary.drained, summary.error, runs) == (True, None, 1)
    assert summary.counts["f"]["out"] == 3


async def test_alone_it_is_idle_when_the_producer_has_ended(tmp_path: Path) -> None:
    """An engine that nobody leads decides by itself, although the lane is kept."""
    summary = await asyncio.wait_for(engine(tmp_path, PIPELINE, [three], until_idle=True).run(), 20)
    assert (summary.drained, summary.counts["f"]["out"], runs) == (True, 3, 1)


async def test_a_stopped_worker_drains_until_it_is_released(tmp_path: Path) -> None:
    """Nothing left here does not mean nothing left: another worker may still be at something."""
    led = engine(tmp_path, PIPELINE.replace("three", "endless"), [endless], led=True)
    running = asyncio.create_task(led.run())
    await until(lambda: led.scopes["f"].metrics.out)
    assert await led.standing() == Standing(ended=[], busy=["p"], quiet=False)
    led.stop()
    assert await quiet(led) == Standing(ended=[], busy=[], quiet=True)
    assert not running.done()
    led.release()
    summary = await running
    assert summary.drained
    assert summary.counts["p"]["out"] == summary.counts["f"]["out"]


async def test_a_worker_that_is_not_released_gives_up_at_its_deadline(tmp_path: Path) -> None:
    """The supervisor may be unable to say it; the run ends as not drained."""
    led = engine(tmp_path, PIPELINE.replace("20s", "50ms"), [three], led=True)
    running = asyncio.create_task(led.run())
    await until(lambda: led.scopes["p"].ended)
    led.stop()
    assert not (await asyncio.wait_for(running, 20)).drained


class _Elsewhere:
    """A group whose lanes are all with another worker."""

    async def lanes(self) -> Any:
        await asyncio.Event().wait()
        yield

    async def leave(self) -> None:
        pass


opened: list[str] = []


@sink("port", single=True)
@attrs.define
class Port:
    """A sink that takes something that only one can have."""

    async def open(self, context: Any) -> None:
        opened.append(context.stage)

    async def write(self, batch: Batch) -> None:
        """Write nothing."""


async def test_standing_by_opens_nothing_and_drains_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer and a single-instance sink whose lane is elsewhere: plugins stay closed, and a stop need not wait."""
    opened.clear()
    led = engine(tmp_path, PIPELINE + "sinks:\n  s: {use: port, from: b}\n", [three, Port])

    async def join(*_: Any, **__: Any) -> _Elsewhere:
        return _Elsewhere()

    monkeypatch.setattr(type(led._broker), "join", lambda *_, **__: join())
    running = asyncio.create_task(led.run())
    await until(lambda: all(scope.activity.what == STANDBY for scope in led.scopes.values()))
    led.stop()
    summary = await asyncio.wait_for(running, 20)
    assert (summary.drained, opened, runs) == (True, [], 0)
