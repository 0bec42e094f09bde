"""What both brokers' lanes do when they are polled: wait for something, and share out what there is fairly."""

import asyncio

LEAST_SHARE = 500
"""Records of one partition in one poll, at least, as far as there are as many: less costs more than it evens out."""

POLL_BYTES = 4 << 20
"""About the most that one poll hands out."""


def share(left: int, turns: int, least: int = LEAST_SHARE) -> int:
    """Return how much of what is left goes to the first of so many that want some."""
    return min(left, max(left // turns, least))


class Waiter:
    """One task that waits, and those who wake it."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Have the one who waits look again."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, deadline: float | None) -> bool:
        """Wait until `wake`; return False when the time, by the loop's clock, is up already."""
        loop = asyncio.get_running_loop()
        if deadline is not None and deadline <= loop.time():
            return False
        self._future = loop.create_future()
        timer = None if deadline is None else loop.call_at(deadline, self.wake)
        try:
            await self._future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()
        return True
