"""Clocks on which a stage does not wait."""

import asyncio
import time

from streamweaver.testing.conformance.clock import AsleepClock, QuickClock
from streamweaver.testing.context import START


async def test_a_sleep_moves_the_clock_and_takes_no_time() -> None:
    """An hour passes in a moment, on both scales."""
    clock, began = QuickClock(), time.perf_counter()
    await clock.sleep(3600)
    assert time.perf_counter() - began < 5
    assert clock.now() == START + 3_600_000
    assert clock.monotonic() == 3600


def test_a_clock_that_rushes_moves_when_somebody_looks() -> None:
    """With `rush` each look finds it later."""
    clock = QuickClock(rush=10)
    assert [clock.monotonic(), clock.monotonic()] == [10, 20]
    assert clock.now() == START + 20_000


async def test_a_clock_that_is_asleep() -> None:
    """A sleep is told, stands still until the clock is woken, and then no other one does."""
    clock = AsleepClock()
    sleeping = asyncio.create_task(clock.sleep(0.001))
    await clock.told.wait()
    assert not sleeping.done()
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    clock.wake()
    await sleeping
    await clock.sleep(3600)
