"""One figure of the records of a sliding span, and its past."""

from typing import Any

import attrs

from streamweaver.panel import Panel
from streamweaver.views.field import getter, number
from streamweaver.views.seen import Seen
from streamweaver.views.update import AHEAD_MS, Gaps, Update

PAUSE_MS = 250
SLOTS = 40
TREND = 60
LEAST_WIDTH_MS = 250
LEAST_STEP_MS = 1_000


@attrs.define(slots=True, eq=False)
class Slot:
    """The records of one slot of time."""

    records: int = 0
    count: int = 0
    """Those that have a number."""
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0
    last: float = 0.0

    def add(self, y: float) -> None:
        """Take in a number."""
        self.low = y if not self.count or y < self.low else self.low
        self.high = y if not self.count or y > self.high else self.high
        self.count += 1
        self.total += y
        self.last = y


class Number:
    """The figure that the panel's `show` names.

    Time is cut into slots; the span reaches over the newest slot and as many before it as fit. A rate goes by whole
    slots alone, so it does not move with the moment at which one looks.
    """

    def __init__(self, panel: Panel) -> None:
        assert panel.span_seconds is not None
        assert panel.show is not None
        self._span_ms = round(panel.span_seconds * 1000)
        self._show = panel.show
        self._y = getter(panel.y[0]) if panel.y else None
        self._width = max(LEAST_WIDTH_MS, -(-self._span_ms // SLOTS))
        self._spanned = max(1, self._span_ms // self._width)
        self._step = -(-max(LEAST_STEP_MS, self._width) // self._width)
        """Slots from one value of the trend to the next."""
        self._slots: dict[int, Slot] = {}
        self._first: int | None = None
        """The first slot that ever had a record: before it there is no rate of 0."""
        self._last: float | None = None
        self._shown: dict[str, Any] | None = None
        self._taken = 0
        self._gaps = Gaps()
        self.span_ms = (self._spanned + TREND * self._step) * self._width

    def add(self, seen: Seen, now: int) -> None:
        """Take records in."""
        width, y_of = self._width, self._y
        first, last = self._oldest(now), (now + AHEAD_MS) // width
        for time, value in zip(seen.times, seen.values, strict=True):
            at = time // width
            if not first <= at <= last:
                if y_of is not None and at < first and self._last is None:
                    self._last = number(y_of(value))
                continue
            slot = self._slots.get(at)
            if slot is None:
                slot = self._slots[at] = Slot()
                self._first = at if self._first is None else min(self._first, at)
            slot.records += 1
            if y_of is not None and (y := number(y_of(value))) is not None:
                slot.add(y)
                self._last = y

    def _oldest(self, now: int) -> int:
        return now // self._width - self._spanned - TREND * self._step

    def take(self, now: int) -> Update | None:
        """Return the figure, a few times a second at most."""
        if 0 <= now - self._taken < PAUSE_MS:
            return None
        oldest = self._oldest(now)
        for at in [at for at in self._slots if at < oldest]:
            del self._slots[at]
        shown = self._figures(now)
        if shown == self._shown:
            return None
        self._shown, self._taken = shown, now
        return Update(shown, whole=True)

    def snapshot(self, now: int) -> dict[str, Any]:
        """Return the figure."""
        return self._gaps.into(dict(self._shown or self._figures(now)), now - self.span_ms)

    def lost(self, start: int, end: int, records: int | None) -> None:
        """Note a gap."""
        self._gaps.note(start, end, records)

    def _figures(self, now: int) -> dict[str, Any]:
        newest = now // self._width
        trend = [self._value(newest - step * self._step) for step in range(TREND - 1, 0, -1)]
        known = next((index for index, value in enumerate(trend) if value is not None), len(trend))
        value = self._value(newest)
        if value is None and self._show == "last":
            value = self._last
        return {"value": value, "trend": [*trend[known:], value], "trend_step": self._step * self._width}

    def _value(self, newest: int) -> float | None:
        """Return the figure as of a slot; None when there is nothing to go by."""
        if self._first is None or newest < self._first:
            return None
        if self._show == "rate":
            # The very first slot began before the first record; it is left out.
            start = max(newest - self._spanned, self._first + 1)
            if newest <= start:
                return None
            slots = [slot for at in range(start, newest) if (slot := self._slots.get(at))]
            return sum(slot.records for slot in slots) / ((newest - start) * self._width / 1000)
        slots = [slot for at in range(newest - self._spanned + 1, newest + 1) if (slot := self._slots.get(at))]
        if self._show == "count" and self._y is None:
            return sum(slot.records for slot in slots)
        return _figure(self._show, [slot for slot in slots if slot.count])


def _figure(show: str, slots: list[Slot]) -> float | None:
    if show == "count":
        return sum(slot.count for slot in slots)
    if show == "sum":
        return sum(slot.total for slot in slots)
    if not slots:
        return None
    if show == "mean":
        return sum(slot.total for slot in slots) / sum(slot.count for slot in slots)
    if show == "min":
        return min(slot.low for slot in slots)
    if show == "max":
        return max(slot.high for slot in slots)
    return slots[-1].last
