"""Clocks on which a stage under test does not wait."""

import asyncio

import attrs

from streamweaver.testing.context import START, FakeClock


@attrs.define
class QuickClock(FakeClock):
    """A fake clock that can be in a hurry."""

    rush: float = 0.0
    """Seconds that also pass each time somebody looks."""

    def monotonic(self) -> float:
        """Seconds, later at each look if it is in a hurry."""
        self.advance(self.rush)
        return super().monotonic()


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
