"""Counts or sums by one field, or by two, over a sliding span: bars and heatmaps."""

from collections.abc import Callable
from typing import Any

from streamweaver.config.dashboard import Panel
from streamweaver_dashboard.field import getter, label, number
from streamweaver_dashboard.seen import Seen
from streamweaver_dashboard.view.update import AHEAD_MS, Gaps, Update
from streamweaver_dashboard.view.window import Window

PAUSE_MS = 200
MAX_PARTS = 20


class Grouped:
    """What bars and heatmaps have in common: sums by (`by`, `split`)."""

    def __init__(self, panel: Panel) -> None:
        assert panel.by is not None
        assert panel.span_seconds is not None
        assert panel.top is not None
        self.span_ms = round(panel.span_seconds * 1000)
        self._top = panel.top
        self._by = getter(panel.by)
        self._split: Callable[[Any], Any] | None = None if panel.split is None else getter(panel.split)
        self._y = getter(panel.y[0]) if panel.y else None
        self._window: Window[tuple[str, str | None]] = Window(self.span_ms)
        self._unusable: Window[None] = Window(self.span_ms)
        self._gaps = Gaps()
        self._changed = True
        self._shown: dict[str, Any] = {}
        self._taken = 0

    def add(self, seen: Seen, now: int) -> None:
        """Count records."""
        window, by, split, y = self._window, self._by, self._split, self._y
        width, first, last = window.width, window.first(now), (now + AHEAD_MS) // window.width
        for time, value in zip(seen.times, seen.values, strict=True):
            slot = time // width
            if not first <= slot <= last:
                continue
            self._changed = True
            key = label(by(value))
            part = None if split is None else label(split(value))
            amount = 1 if y is None else number(y(value))
            if key is None or amount is None or (split is not None and part is None):
                self._unusable.add(slot, None, 1)
            else:
                window.add(slot, (key, part), amount)

    def take(self, now: int) -> Update | None:
        """Return everything, when anything has changed."""
        if 0 <= now - self._taken < PAUSE_MS:
            return None
        expired = self._window.expire(now)
        expired = self._unusable.expire(now) or expired
        if not (expired or self._changed):
            return None
        self._changed, self._taken = False, now
        shown = self._show()
        unusable = self._unusable.totals.get(None, 0)
        if unusable:
            shown["unusable"] = unusable
        if shown == self._shown:
            return None
        self._shown = shown
        return Update(self._shown, whole=True)

    def snapshot(self, now: int) -> dict[str, Any]:
        """Return everything."""
        return self._gaps.into(dict(self._shown or self._show()), now - self.span_ms)

    def lost(self, start: int, end: int, records: int | None) -> None:
        """Note a gap."""
        self._gaps.note(start, end, records)

    def _show(self) -> dict[str, Any]:
        raise NotImplementedError

    def _largest(self, axis: int, most: int) -> list[Any]:
        """Return the labels of one of the two fields that have the largest sums, largest first."""
        sums: dict[Any, float] = {}
        for pair, amount in self._window.totals.items():
            sums[pair[axis]] = sums.get(pair[axis], 0) + amount
        return sorted(sums, key=lambda text: (-sums[text], text or ""))[:most]


class Bar(Grouped):
    """Bars, perhaps of several parts."""

    def _show(self) -> dict[str, Any]:
        keys = self._largest(0, self._top)
        parts = sorted(self._largest(1, MAX_PARTS), key=lambda part: part or "") or ([None] if not self._split else [])
        totals = self._window.totals
        values = [[totals.get((key, part), 0) for key in keys] for part in parts]
        rest = sum(totals.values()) - sum(map(sum, values)) + self._window.uncounted
        return {"keys": keys, "parts": parts, "values": values, "other": rest}


class Heatmap(Grouped):
    """A grid of two fields."""

    def _show(self) -> dict[str, Any]:
        xs, ys = _sorted(self._largest(0, self._top)), _sorted(self._largest(1, self._top))
        x_of, y_of = {x: i for i, x in enumerate(xs)}, {y: i for i, y in enumerate(ys)}
        cells: list[tuple[int, int, float]] = sorted(
            (x_of[x], y_of[y], amount) for (x, y), amount in self._window.totals.items() if x in x_of and y in y_of
        )
        rest = sum(self._window.totals.values()) - sum(cell[2] for cell in cells) + self._window.uncounted
        return {"x": xs, "y": ys, "cells": [[cell[i] for cell in cells] for i in range(3)], "other": rest}


def _sorted(labels: list[str]) -> list[str]:
    try:
        return sorted(labels, key=float)
    except ValueError:
        return sorted(labels)
