"""Counts or sums by one field, or by two, over a sliding span: bars and heatmaps."""

from collections.abc import Callable
from typing import Any

from streamweaver.panel import Panel
from streamweaver.views.field import getter, label, number
from streamweaver.views.seen import Seen
from streamweaver.views.update import AHEAD_MS, Gaps, Update
from streamweaver.views.window import Window

PAUSE_MS = 200
MAX_PARTS = 20


Shape = Callable[["Sums"], dict[str, Any]]


class Sums:
    """The sums by (`by`, `split`) over the span, and how many records could not be counted."""

    def __init__(self, panel: Panel) -> None:
        assert panel.by is not None
        assert panel.span_seconds is not None
        assert panel.top is not None
        self.span_ms = round(panel.span_seconds * 1000)
        self.top = panel.top
        self.split: Callable[[Any], Any] | None = None if panel.split is None else getter(panel.split)
        self.changed = True
        self._by = getter(panel.by)
        self._y = getter(panel.y[0]) if panel.y else None
        self._window: Window[tuple[str, str | None]] = Window(self.span_ms)
        self._unusable: Window[None] = Window(self.span_ms)

    def add(self, seen: Seen, now: int) -> None:
        """Count records."""
        window, by, split, y = self._window, self._by, self.split, self._y
        width, first, last = window.width, window.first(now), (now + AHEAD_MS) // window.width
        for time, value in zip(seen.times, seen.values, strict=True):
            slot = time // width
            if not first <= slot <= last:
                continue
            self.changed = True
            key = label(by(value))
            part = None if split is None else label(split(value))
            amount = 1 if y is None else number(y(value))
            if key is None or amount is None or (split is not None and part is None):
                self._unusable.add(slot, None, 1)
            else:
                window.add(slot, (key, part), amount)

    def expire(self, now: int) -> bool:
        """Forget what is too old; returns whether anything was."""
        expired = self._window.expire(now)
        return self._unusable.expire(now) or expired

    @property
    def totals(self) -> dict[tuple[str, str | None], float]:
        """The sum of each pair, as of the last `expire`."""
        return self._window.totals

    @property
    def unusable(self) -> float:
        """Records that have no such field."""
        return self._unusable.totals.get(None, 0)

    def rest(self, shown: float) -> float:
        """Return the sum of all that is not among what is shown."""
        return sum(self.totals.values()) - shown + self._window.uncounted

    def largest(self, axis: int, most: int) -> list[Any]:
        """Return the labels of one of the two fields that have the largest sums, largest first."""
        sums: dict[Any, float] = {}
        for pair, amount in self.totals.items():
            sums[pair[axis]] = sums.get(pair[axis], 0) + amount
        return sorted(sums, key=lambda text: (-sums[text], text or ""))[:most]


class Grouped:
    """A view of sums, in the shape that is given: always sent whole, a few times a second at most."""

    def __init__(self, panel: Panel, shape: Shape) -> None:
        self._sums = Sums(panel)
        self._shape = shape
        self._gaps = Gaps()
        self._shown: dict[str, Any] = {}
        self._taken = 0
        self.span_ms = self._sums.span_ms

    def add(self, seen: Seen, now: int) -> None:
        """Count records."""
        self._sums.add(seen, now)

    def take(self, now: int) -> Update | None:
        """Return everything, when anything has changed."""
        sums = self._sums
        if 0 <= now - self._taken < PAUSE_MS:
            return None
        if not (sums.expire(now) or sums.changed):
            return None
        sums.changed, self._taken = False, now
        shown = self._show()
        if shown == self._shown:
            return None
        self._shown = shown
        return Update(shown, whole=True)

    def _show(self) -> dict[str, Any]:
        shown = self._shape(self._sums)
        return shown | {"unusable": self._sums.unusable} if self._sums.unusable else shown

    def snapshot(self, now: int) -> dict[str, Any]:
        """Return everything."""
        return self._gaps.into(dict(self._shown or self._show()), now - self.span_ms)

    def lost(self, start: int, end: int, records: int | None) -> None:
        """Note a gap."""
        self._gaps.note(start, end, records)


def bars(sums: Sums) -> dict[str, Any]:
    """Shape sums as bars, perhaps of several parts."""
    keys = sums.largest(0, sums.top)
    parts = sorted(sums.largest(1, MAX_PARTS), key=lambda part: part or "") or ([] if sums.split else [None])
    values = [[sums.totals.get((key, part), 0) for key in keys] for part in parts]
    return {"keys": keys, "parts": parts, "values": values, "other": sums.rest(sum(map(sum, values)))}


def cells(sums: Sums) -> dict[str, Any]:
    """Shape sums as a grid of two fields."""
    xs, ys = _sorted(sums.largest(0, sums.top)), _sorted(sums.largest(1, sums.top))
    x_of, y_of = {x: i for i, x in enumerate(xs)}, {y: i for i, y in enumerate(ys)}
    found: list[tuple[int, int, float]] = sorted(
        (x_of[x], y_of[y], amount) for (x, y), amount in sums.totals.items() if x in x_of and y in y_of
    )
    rest = sums.rest(sum(amount for _, _, amount in found))
    return {"x": xs, "y": ys, "cells": [[cell[i] for cell in found] for i in range(3)], "other": rest}


def _sorted(labels: list[str]) -> list[str]:
    try:
        return sorted(labels, key=float)
    except ValueError:
        return sorted(labels)
