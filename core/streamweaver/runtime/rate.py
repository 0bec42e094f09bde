"""Keeping a producer to its `rate`."""

from streamweaver.runtime.clock import Clock

TICK_SECONDS = 0.01
"""Above 100 records/s, records that fall due within this span go together."""


class Limiter:
    """Grants records at a steady rate.

    The first is due at once. Who falls behind (the process was stopped) may catch up one second's worth.
    """

    def __init__(self, clock: Clock, per_second: float | None) -> None:
        self._clock = clock
        self._per_second = per_second
        self._next_due = clock.monotonic()

    async def allow(self, most: int) -> int:
        """Wait until at least one record is due; return how many are, at most `most`."""
        rate = self._per_second
        if rate is None:
            return most
        interval = 1 / rate
        while True:
            now = self._clock.monotonic()
            self._next_due = max(self._next_due, now - 1.0)
            due = int((now - self._next_due) * rate) + 1 if now >= self._next_due else 0
            if due:
                granted = min(due, most)
                self._next_due += granted * interval
                return granted
            await self._clock.sleep(max(self._next_due - now, min(TICK_SECONDS, interval * 100)))
