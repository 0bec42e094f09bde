"""The contexts that authors call their plugins with."""

import threading

import pytest

from streamweaver import Record
from streamweaver.testing import FakeClock, FakeContext


async def test_its_clock_moves_only_when_told() -> None:
    """Sleeping takes no time, and is seen on the clock."""
    context = FakeContext(clock=FakeClock(1000))
    await context.sleep(2.5)
    context.clock.advance(1)
    assert context.now() == 4500


async def test_a_clock_for_a_pipeline() -> None:
    """It sleeps too, and adds up what is less than a millisecond."""
    clock = FakeClock(1000)
    for _ in range(10):
        await clock.sleep(0.0001)
    assert clock.now() == 1001
    assert clock.monotonic() == pytest.approx(0.001)
    await clock.sleep(3600)
    assert clock.now() == 3_601_001


async def test_it_keeps_what_the_plugin_reports() -> None:
    """Log lines, counts, gauges."""
    context = FakeContext()
    context.log("hello", level="debug", n=1)
    context.count("seen")
    context.count("seen", 2)
    context.gauge("heat", 5.0)
    context.waits_for("rain")
    assert context.waiting == "rain"
    assert context.logged == [("debug", "hello", {"n": 1})]
    assert (context.counts, context.gauges) == ({"seen": 3}, {"heat": 5.0})


async def test_blocking_code_leaves_the_loops_thread() -> None:
    """As it will in a pipeline."""
    assert await FakeContext().run_blocking(threading.get_ident) != threading.get_ident()


async def test_the_past_is_what_the_test_put_there() -> None:
    """The newest of it."""
    context = FakeContext(past={"a": [Record(n) for n in range(5)]})
    assert [r.value for r in await context.history("a", 2)] == [3, 4]
    assert await context.history("b", 2) == []


def test_state_is_a_dict() -> None:
    """That the test may look at and set."""
    state = FakeContext().state
    state["a"] = 1
    assert (state["a"], state.get("b", 2), "a" in state, dict(state.items())) == (1, 2, True, {"a": 1})
    del state["a"]
    assert state.values == {}
