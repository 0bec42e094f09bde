"""The newest records, so many a second that a person can follow."""

from collections import deque
from typing import Any

from streamweaver.panel import Panel
from streamweaver.views.column import LIVE_BYTES, One, columns
from streamweaver.views.seen import Seen
from streamweaver.views.update import Gaps, Update

MAX_WAITING = 2_000


class Sample:
    """Takes some of the records that pass, evenly, at most `rate` a second; counts the others."""

    def __init__(self, rate: float, fields: tuple[str, ...] = ()) -> None:
        self._rate = rate
        self._fields = fields
        self._waiting: deque[tuple[Seen, int]] = deque(maxlen=MAX_WAITING)
        self._passed = 0
        self._credit = rate
        self._at: int | None = None

    def add(self, seen: Seen) -> None:
        """Let records pass."""
        self._passed += len(seen)
        self._waiting.extend((seen, index) for index in range(max(0, len(seen) - MAX_WAITING), len(seen)))

    def take(self, now: int) -> tuple[list[One], int]:
        """Return those to be shown, and the number of those that are not."""
        elapsed = 0 if self._at is None else max(0, now - self._at)
        self._at = now
        self._credit = min(self._rate, self._credit + self._rate * elapsed / 1000)
        most = int(self._credit)
        waiting = self._waiting
        if len(waiting) > most:
            # Evenly, and with the newest of all.
            chosen = [waiting[(i + 1) * len(waiting) // most - 1] for i in range(most)]
        else:
            chosen = list(waiting)
        self._credit -= len(chosen)
        hidden = self._passed - len(chosen)
        self._passed = 0
        waiting.clear()
        return [One(seen, index, LIVE_BYTES, self._fields) for seen, index in chosen], hidden


class Feed:
    """The newest records that were shown."""

    span_ms = 60_000

    def __init__(self, panel: Panel) -> None:
        assert panel.top is not None
        assert panel.limit is not None
        self._limit = panel.limit
        self._fields = panel.fields
        self._sample = Sample(panel.top, panel.fields)
        self._kept: deque[One] = deque(maxlen=panel.limit)
        self._gaps = Gaps()

    def add(self, seen: Seen, now: int) -> None:  # noqa: ARG002 - a feed goes by the order, not by time
        """Let records pass."""
        self._sample.add(seen)

    def begin_with(self, seen: Seen) -> None:
        """Take records of the past, oldest first, as if all had been shown."""
        for index in range(max(0, len(seen) - self._limit), len(seen)):
            self._kept.append(One(seen, index, LIVE_BYTES, self._fields))

    def take(self, now: int) -> Update | None:
        """Return the records that are new."""
        records, hidden = self._sample.take(now)
        if not records and not hidden:
            return None
        self._kept.extend(records)
        return Update({"records": columns(records), "hidden": hidden}, whole=False)

    def snapshot(self, now: int) -> dict[str, Any]:
        """Return the newest of those that were shown."""
        return self._gaps.into({"records": columns(self._kept), "hidden": 0}, now - 10 * self.span_ms)

    def lost(self, start: int, end: int, records: int | None) -> None:
        """Note a gap."""
        self._gaps.note(start, end, records)
