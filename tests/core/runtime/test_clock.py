"""The machine's clock."""

import time

from streamweaver.runtime.clock import SystemClock


async def test_it_tells_the_machines_time() -> None:
    """Milliseconds since 1970, seconds that never go back, and a sleep that takes as long as asked."""
    clock = SystemClock()
    assert abs(clock.now() - time.time() * 1000) < 1000
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.009
