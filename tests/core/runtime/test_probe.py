"""What is known of a broker that may answer late, or not at all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from core.runtime.runtime_moody import FLOWS, SPECS, Moody, numbers
from core.runtime.runtime_stage import scope_of
from streamweaver import BrokerContext, StorageError
from streamweaver.runtime import probe as module
from streamweaver.runtime.lag import Lag
from streamweaver.runtime.probe import BrokerProbe, BrokerState

NOTHING = Lag(0, 0.0)


@contextlib.asynccontextmanager
async def probing(tmp_path: Path, *stages: str) -> AsyncIterator[tuple[BrokerProbe, Moody]]:
    """Have a probe of a broker that answers at once."""
    scopes = {name: scope_of(FLOWS, name, [numbers], tmp_path) for name in stages}
    broker = Moody(next(iter(scopes.values())).broker)
    broker.answers.set()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path))
    await broker.create(SPECS)
    probe = BrokerProbe(broker, scopes, "t.metrics")
    try:
        yield probe, broker
    finally:
        await probe.close()
        await broker.close()


async def until(wanted: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not wanted():
            await asyncio.sleep(0.001)


async def test_what_is_answered_in_time_is_told(tmp_path: Path) -> None:
    """Each reading stage's lag, and that there is no silence; a worker without any asks something all the same."""
    async with probing(tmp_path, "p", "f") as (probe, _):
        lags = {"f": NOTHING}
        assert await probe.look(20) == await probe.look(20) == BrokerState(lags, lags, 0.0)
        assert probe.error is None
    async with probing(tmp_path / "other", "p") as (probe, broker):
        assert await probe.look(20) == BrokerState({}, {}, 0.0)
        assert broker.asked == 1


async def test_all_stages_are_asked_for_at_once(tmp_path: Path) -> None:
    """A broker that takes its time for each question takes it once."""
    async with probing(tmp_path, "f", "g") as (probe, broker):
        broker.answers.clear()
        looking = asyncio.create_task(probe.look(20))
        await until(lambda: broker.most_at_once == 2)
        broker.answers.set()
        assert (await looking).lags == {"f": NOTHING, "g": NOTHING}


async def test_with_a_late_answer_the_next_question_begins(tmp_path: Path) -> None:
    """Nobody has to come for it; and one that nobody waited for in vain is not followed by another."""
    async with probing(tmp_path, "p") as (probe, broker):
        broker.answers.clear()
        assert (await probe.look(0.001)).lags is None
        broker.answers.set()
        await until(lambda: broker.asked == 2)
        assert (await probe.look(20)).lags == {}
        assert broker.asked <= 3
        asked = broker.asked
        for _ in range(10):
            await asyncio.sleep(0)
        assert broker.asked == asked


async def test_a_slow_broker_is_none_that_is_away(tmp_path: Path) -> None:
    """Whoever looks more often than it answers is told what it said last, each time."""
    async with probing(tmp_path, "f") as (probe, broker):
        broker.seconds = 0.02
        states = [await probe.look(0.005) for _ in range(40)]
        first = next(at for at, state in enumerate(states) if state.lags is not None)
        assert first < 39
        assert all(state.lags == {"f": NOTHING} and not state.is_away for state in states[first:])


async def test_silence_is_added_up_and_what_is_old_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last answer is kept, as what it is; with the next one silence is over."""
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.02)
    async with probing(tmp_path, "f") as (probe, broker):
        await probe.look(20)
        broker.answers.clear()
        silences = []
        async with asyncio.timeout(20):
            while not (state := await probe.look(0.005)).is_away:
                silences.append(state.silence)
        assert silences == sorted(silences)
        assert (state.lags, state.last) == (None, {"f": NOTHING})
        broker.answers.set()
        async with asyncio.timeout(20):
            while (state := await probe.look(20)).silence:
                pass
        assert not state.is_away


async def test_time_in_which_nobody_looked_is_no_silence_of_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped, or busy, knows nothing of it."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    async with probing(tmp_path, "f") as (probe, broker):
        broker.answers.clear()
        await probe.look(0.001)
        assert [(await probe.look(0.02)).silence for _ in range(3)] == pytest.approx([0.001, 0.002, 0.003])


async def test_why_there_is_no_answer_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the broker said, or that it said nothing for too long; with an answer there is no error any more."""
    monkeypatch.setattr(module, "QUESTION_SECONDS", 0.01)
    async with probing(tmp_path, "f", "g") as (probe, broker):
        broker.error = StorageError("disk full")
        assert (await probe.look(20)).lags is None
        assert probe.error is broker.error
        broker.answers.clear()
        await probe.look(20)
        assert repr(probe.error) == repr(StorageError("the broker has not answered for 0 s"))
        monkeypatch.setattr(module, "QUESTION_SECONDS", 20)
        broker.error = None
        broker.answers.set()
        assert (await probe.look(20)).lags is not None
        assert probe.error is None


async def test_what_is_asked_when_it_ends_is_given_up(tmp_path: Path) -> None:
    """No question is left behind, and none follows; whoever looks again asks again."""
    async with probing(tmp_path, "f") as (probe, broker):
        broker.answers.clear()
        before: Any = asyncio.all_tasks()
        await probe.look(0.001)
        await probe.close()
        await probe.close()
        assert asyncio.all_tasks() == before
        broker.answers.set()
        assert (await probe.look(20)).lags == {"f": NOTHING}
