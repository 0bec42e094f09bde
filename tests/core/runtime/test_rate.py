"""The rate of a producer: exact over time, at once at first, bounded when it catches up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runtime.runtime_kit import ManualClock
from streamweaver.runtime.rate import TICK_SECONDS, Limiter


async def test_without_a_rate_everything_is_allowed() -> None:
    """No time passes."""
    clock = ManualClock()
    limiter = Limiter(clock, None)
    limiter.charge(5)
    assert await limiter.allow(2000) == 2000
    assert clock.slept == []


@pytest.mark.parametrize("rate", [0.5, 1.0, 30.0, 60.0, 999.0, 12_345.0])
async def test_the_rate_is_exact_over_time(rate: float) -> None:
    """After many records the time that passed is theirs, to within a tick."""
    clock = ManualClock()
    began = clock.seconds
    limiter = Limiter(clock, rate)
    wanted = int(rate * 20) + 1
    allowed = 0
    while allowed < wanted:
        allowed += await limiter.allow(min(2000, wanted - allowed))
    assert clock.seconds - began == pytest.approx((wanted - 1) / rate, abs=TICK_SECONDS + 1e-6)


async def test_the_first_is_due_at_once() -> None:
    """Nobody waits for a first record."""
    clock = ManualClock()
    assert await Limiter(clock, 0.01).allow(10) == 1
    assert clock.slept == []


async def test_who_falls_behind_catches_up_one_second() -> None:
    """After a minute of standing still, one second's worth comes at once and no more."""
    clock = ManualClock()
    limiter = Limiter(clock, 100.0)
    await limiter.allow(10)
    clock.seconds += 60
    assert await limiter.allow(5000) == 101


async def test_a_charge_is_paid_for() -> None:
    """Records beyond what was allowed delay the next ones; a negative charge brings them forward."""
    clock = ManualClock()
    limiter = Limiter(clock, 10.0)
    assert await limiter.allow(1) == 1
    limiter.charge(9)
    before = clock.seconds
    await limiter.allow(1)
    assert clock.seconds - before == pytest.approx(1.0)
    limiter.charge(-1)
    assert await limiter.allow(1) == 1
    assert clock.seconds - before == pytest.approx(1.0)


@given(st.floats(1.0, 5000.0), st.lists(st.integers(1, 300), min_size=1, max_size=30))
async def test_never_more_than_the_rate(rate: float, asks: list[int]) -> None:
    """At no moment have more records been granted than the rate has let fall due."""
    clock = ManualClock()
    began = clock.seconds
    limiter = Limiter(clock, rate)
    granted = 0
    for most in asks:
        got = await limiter.allow(most)
        assert 1 <= got <= most
        granted += got
        assert granted <= (clock.seconds - began) * rate + 1 + 1e-6 * granted
