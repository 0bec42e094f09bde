"""Numbers over time, by series, on a fixed grid."""

from collections.abc import Callable
from typing import Any

import attrs

from streamweaver.panel import Panel
from streamweaver.views.field import getter, label, number
from streamweaver.views.seen import Seen
from streamweaver.views.update import AHEAD_MS, Gaps, Update
from streamweaver.views.window import Window

POINTS = 600
MAX_NUMBERS = 40_000
"""In one snapshot, which so has under a megabyte; of many series there are fewer points each."""
CHOOSE_MS = 5_000
"""How often it is looked at which series are shown."""
MAX_TRACKED = 64
"""Series whose points are kept, so that one that is to be shown next has a past already."""

COLUMNS = {"last": ("last",), "mean": ("mean",), "range": ("min", "mean", "max")}


@attrs.define(slots=True, eq=False)
class Cell:
    """One point of one series: the numbers of one step of time."""

    last: float
    total: float
    count: int
    low: float
    high: float


class Line:
    """Points of the series with most records."""

    def __init__(self, panel: Panel, tick_ms: int, *, until: int | None = None) -> None:
        """Make the view; with `until` it stands still there, for a look at the past."""
        assert panel.span_seconds is not None
        assert panel.top is not None
        assert panel.show is not None
        self.span_ms = round(panel.span_seconds * 1000)
        rows = panel.top * len(panel.y) * len(COLUMNS[panel.show])
        self._step = max(tick_ms, -(-self.span_ms // max(10, min(POINTS, MAX_NUMBERS // rows))))
        # A past that begins or ends within a step shows a part of that step as well.
        self._points = max(1, -(-self.span_ms // self._step)) + (0 if until is None else 1)
        self._until = until
        self._top = panel.top
        self._y = panel.y
        self._readers = [getter(path) for path in panel.y]
        self._by: Callable[[Any], Any] | None = None if panel.by is None else getter(panel.by)
        self._columns = COLUMNS[panel.show]
        self._series: dict[str | None, list[dict[int, Cell]]] = {}
        self._records: Window[str | None] = Window(self.span_ms)
        self._unusable: Window[None] = Window(self.span_ms)
        self._shown: list[str | None] = []
        self._hidden = self._hidden_told = 0
        self._chosen_at = 0
        self._touched: int | None = None
        """The oldest point that changed since the last `take`."""
        self._seen_to = 0
        self._told_to: int | None = None
        """The newest point that clients have."""
        self._gaps = Gaps()

    def add(self, seen: Seen, now: int) -> None:
        """Put records into the grid; those that are too old, or ahead of the clock, are left out."""
        step, by, readers = self._step, self._by, self._readers
        newest = self._newest(now)
        first, last = newest - self._points + 1, (now + AHEAD_MS) // step if self._until is None else newest
        width = self._records.width
        touched, seen_to = self._touched, self._seen_to
        for time, value in zip(seen.times, seen.values, strict=True):
            point = time // step
            if not first <= point <= last:
                continue
            key = None if by is None else label(by(value))
            if by is not None and key is None:
                self._unusable.add(time // width, None, 1)
                continue
            series = self._series.get(key) or self._track(key)
            found = False
            for read, cells in zip(readers, series, strict=True):
                y = number(read(value))
                if y is not None:
                    found = True
                    cell = cells.get(point)
                    if cell is None:
                        cells[point] = Cell(y, y, 1, y, y)
                    else:
                        cell.last = y
                        cell.total += y
                        cell.count += 1
                        if y < cell.low:
                            cell.low = y
                        if y > cell.high:
                            cell.high = y
            if not found:
                self._unusable.add(time // width, None, 1)
                continue
            self._records.add(time // width, key, 1)
            if touched is None or point < touched:
                touched = point
            if point > seen_to:
                seen_to = point
        self._touched, self._seen_to = touched, seen_to

    def _newest(self, now: int) -> int:
        if self._until is not None:
            return self._until // self._step
        return max(now // self._step, self._seen_to)

    def _track(self, key: str | None) -> list[dict[int, Cell]]:
        """Begin a series; of too many the points are not kept."""
        series: list[dict[int, Cell]] = [{} for _ in self._y]
        if len(self._series) < max(MAX_TRACKED, self._top):
            self._series[key] = series
        return series

    def take(self, now: int) -> Update | None:
        """Return the points that changed, and those that have come since."""
        newest, touched, told = self._newest(now), self._touched, self._told_to
        self._touched = None
        if self._choose(now) or told is None:
            self._told_to, self._hidden_told = newest, self._hidden
            return Update(self._all(newest), whole=True)
        if touched is None and newest <= told:
            return None
        first = newest - self._points + 1
        self._told_to = newest
        self._forget(first)
        data = self._part(max(first, min(told + 1, newest if touched is None else touched)), newest)
        if self._hidden != self._hidden_told:
            data["hidden"] = self._hidden_told = self._hidden
        return Update(data, whole=False)

    def snapshot(self, now: int) -> dict[str, Any]:
        """Return all points."""
        newest = self._newest(now) if self._told_to is None else self._told_to
        return self._gaps.into(self._all(newest), now - self.span_ms)

    def lost(self, start: int, end: int, records: int | None) -> None:
        """Note a gap."""
        self._gaps.note(start, end, records)

    # -- the series -------------------------------------------------------------------------------

    def _choose(self, now: int) -> bool:
        """Look at which series are shown; returns whether that changed."""
        new = len(self._shown) < self._top and len(self._shown) < len(self._series)
        if not new and 0 <= now - self._chosen_at < CHOOSE_MS:
            return False
        self._chosen_at = now
        if self._until is None:
            self._records.expire(now)
            self._unusable.expire(now)
        counts = self._records.totals
        shown_now = set(self._shown)
        # A series gives way only to one with clearly more records, so that the picture does not flicker.
        ranked = sorted(
            (key for key in self._series if key in counts),
            key=lambda key: (-counts[key] * (1.2 if key in shown_now else 1.0), key or ""),
        )
        self._hidden = max(0, len(counts) - self._top)
        for key in [key for key in self._series if key not in counts]:
            del self._series[key]
        if len(self._series) >= MAX_TRACKED and len(counts) > len(self._series):
            # Make room: whoever comes next and has more records gets a chance.
            for key in [key for key in self._series if key not in ranked[: MAX_TRACKED // 2]]:
                del self._series[key]
        shown = sorted(ranked[: self._top], key=lambda key: key or "")
        if shown == self._shown:
            return False
        self._shown = shown
        return True

    def _forget(self, first: int) -> None:
        for key in list(self._series):
            for cells in self._series[key]:
                # Points come nearly in order, so the old ones are the first.
                while cells and (oldest := next(iter(cells))) < first:
                    del cells[oldest]

    def _all(self, newest: int) -> dict[str, Any]:
        data = self._part(newest - self._points + 1, newest)
        data["series"] = [{"key": key, "y": y} for key in self._shown for y in self._y]
        data["points"] = self._points
        data["hidden"] = self._hidden
        if unusable := self._unusable.totals.get(None, 0):
            data["unusable"] = unusable
        return data

    def _part(self, start: int, end: int) -> dict[str, Any]:
        data: dict[str, Any] = {"start": start * self._step, "step": self._step}
        rows = [cells for key in self._shown for cells in self._series[key]]
        for column in self._columns:
            value = _VALUES[column]
            data[column] = [
                [None if (cell := cells.get(point)) is None else value(cell) for point in range(start, end + 1)]
                for cells in rows
            ]
        return data


_VALUES: dict[str, Callable[[Cell], float]] = {
    "last": lambda cell: cell.last,
    "mean": lambda cell: cell.total / cell.count,
    "min": lambda cell: cell.low,
    "max": lambda cell: cell.high,
}
