"""Keeping a producer to its `rate`."""

import math

from streamweaver.runtime.clock import Clock

TICK_SECONDS = 0.04
"""Above 25 records/s, records that fall due within this span go together, at once."""


class Limiter:
    """Grants records at a steady rate.

    The first is due at once. Who falls behind (the process was stopped) may catch up one second's worth. Ticks lie on
    a grid that all producers share: what they make at one tick is stored, passed on and sent together, which takes a
    fraction of the work of as many small units.
    """

    def __init__(self, clock: Clock, per_second: float | None) -> None:
        self._clock = clock
        self._per_second = per_second
        self._next_due = clock.monotonic()
        self._not_before = 0.0

    @property
    def is_free(self) -> bool:
        """Whether there is no rate."""
        return self._per_second is None

    async def allow(self, most: int) -> int:
        """Wait until at least one record is due; return how many are, at most `most`."""
        rate = self._per_second
        if rate is None:
            return most
        while True:
            now = self._clock.monotonic()
            wait = max(self._next_due, self._not_before) - now
            if wait <= 0:
                break
            await self._clock.sleep(wait)
        self._next_due = max(self._next_due, now - 1.0)
        due = int((now - self._next_due) * rate) + 1
        granted = min(due, most)
        self._next_due += granted / rate
        if rate > 1 / TICK_SECONDS and granted == due:
            self._not_before = (math.floor(now / TICK_SECONDS) + 1) * TICK_SECONDS
        return granted

    def charge(self, records: int) -> None:
        """Count records that came beyond what was allowed (a list comes whole); a negative number gives some back."""
        if self._per_second is not None:
            self._next_due += records / self._per_second
