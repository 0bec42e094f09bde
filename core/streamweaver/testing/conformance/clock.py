"""A clock on which nothing takes long: who sleeps moves it."""

import asyncio

import attrs

from streamweaver.testing.context import START

_BREATH_SECONDS = 0.001


@attrs.define
class QuickClock:
    """A clock for a stage under test; however long a sleep, it takes a millisecond."""

    elapsed: float = 0.0
    """Seconds that have been slept through, all sleepers together."""
    rush: float = 0.0
    """Seconds that also pass each time somebody looks."""

    def now(self) -> int:
        """Milliseconds since 1970."""
        return START + round(self.elapsed * 1000)

    def monotonic(self) -> float:
        """Seconds since the test began."""
        self.elapsed += self.rush
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        """Move the clock, and let others run for a moment: a loop that only sleeps must not keep the processor."""
        self.elapsed += seconds
        await asyncio.sleep(min(seconds, _BREATH_SECONDS))


class AsleepClock:
    """A clock that stands still: a sleep is told, and does not end before it is let."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self._awake = asyncio.Event()

    def now(self) -> int:
        """Milliseconds since 1970."""
        return START

    def monotonic(self) -> float:
        """Return 0."""
        return 0.0

    async def sleep(self, _seconds: float) -> None:
        """Wait for `wake`."""
        self.told.set()
        await self._awake.wait()

    def wake(self) -> None:
        """End this sleep and all that follow."""
        self._awake.set()
