"""Waiting for something to poll, and fair shares of what there is."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from streamweaver_brokers._polling import LEAST_SHARE, Waiter, share


@given(st.integers(1, 20_000), st.integers(1, 50))
def test_shares_use_up_what_is_left(most: int, turns: int) -> None:
    """Those who want some get an even share, no less than the least one, until nothing is left, and never more."""
    left, given_out = most, []
    for turn in range(turns):
        if left:
            given_out.append(share(left, turns - turn))
            left -= given_out[-1]
    assert left == 0
    assert all(0 < part <= most for part in given_out)
    # The last one gets what the others have left.
    assert all(part >= LEAST_SHARE for part in given_out[:-1])
    assert max(given_out) - min(given_out) <= 1 or most < LEAST_SHARE * turns


async def test_who_waits_is_woken() -> None:
    """A wake ends the wait; one before it is not remembered, since whoever waits has looked before."""
    waiter = Waiter()
    waiter.wake()
    waiting = asyncio.create_task(waiter.wait(None))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiter.wake()
    waiter.wake()
    assert await waiting


async def test_waits_end_with_their_time() -> None:
    """A wait comes back when the time is up to look once more, and after that not at all."""
    waiter, loop = Waiter(), asyncio.get_running_loop()
    deadline = loop.time() + 0.01
    assert await waiter.wait(deadline)
    assert loop.time() >= deadline
    assert not await waiter.wait(deadline)
