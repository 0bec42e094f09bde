"""The last record of each key."""

import functools
from typing import Any

from streamweaver.panel import Panel
from streamweaver.text import clean
from streamweaver.views.column import to_json
from streamweaver.views.field import ABSENT, getter, key_text, label, number
from streamweaver.views.seen import Seen, Undecodable
from streamweaver.views.update import Gaps, Update

MAX_COLUMNS = 12
CELL_LENGTH = 200


class Table:
    """The last record of each of the keys that changed last."""

    span_ms = 600_000

    def __init__(self, panel: Panel) -> None:
        assert panel.limit is not None
        self._limit = panel.limit
        self._by = None if panel.by is None else getter(panel.by)
        self._fixed = bool(panel.fields)
        self._columns = list(panel.fields)
        self._readers = [getter(path) for path in self._columns]
        # In the order of the last change, so that the first is the one to go.
        self._rows: dict[str, tuple[int, Any]] = {}
        self._hidden = 0
        self._touched: dict[str, None] = {}
        self._removed: set[str] = set()
        self._sent: set[str] = set()
        self._new_column = False
        self._unusable = 0
        self._gaps = Gaps()

    def add(self, seen: Seen, now: int) -> None:  # noqa: ARG002 - the last of a key is the last that came
        """Let records replace those of their keys."""
        for index, value in enumerate(seen.values):
            key = key_text(seen.keys[index]) if self._by is None or value is None else label(self._by(value))
            if key is None or isinstance(value, Undecodable):
                self._unusable += 1
                continue
            self._rows.pop(key, None)
            self._touched.pop(key, None)
            if value is None:
                self._removed.add(key)
                continue
            self._rows[key] = (seen.times[index], value)
            self._touched[key] = None
            self._removed.discard(key)
            if not self._fixed:
                self._learn(value)
            if len(self._rows) > self._limit:
                oldest = next(iter(self._rows))
                del self._rows[oldest]
                self._touched.pop(oldest, None)
                self._removed.add(oldest)
                self._hidden += 1

    def _learn(self, value: Any) -> None:
        if type(value) is not dict or len(self._columns) >= MAX_COLUMNS:
            return
        for name in value:
            if name not in self._columns and len(self._columns) < MAX_COLUMNS and type(name) is str:
                self._columns.append(name)
                self._readers.append(functools.partial(_top_level, name))
                self._new_column = True

    def take(self, now: int) -> Update | None:
        """Return rows that changed, and the keys of those that are gone."""
        removed = sorted(self._removed & self._sent)
        if not self._touched and not removed:
            return None
        changed = list(self._touched)
        self._touched, self._removed = {}, set()
        self._sent = set(self._rows)
        if self._new_column:
            self._new_column = False
            return Update(self.snapshot(now), whole=True)
        return Update({**self._show(changed), "removed": removed}, whole=False)

    def snapshot(self, now: int) -> dict[str, Any]:
        """Return all rows."""
        shown = [key for key in self._rows if key in self._sent]
        return self._gaps.into({**self._show(shown), "removed": []}, now - self.span_ms)

    def _show(self, keys: list[str]) -> dict[str, Any]:
        rows = [self._rows[key] for key in keys]
        data = {
            "keys": keys,
            "time": [time for time, _ in rows],
            "columns": [clean(name) for name in self._columns],
            "values": [[_cell(read(value)) for _, value in rows] for read in self._readers],
            "hidden": self._hidden,
        }
        return data | ({"unusable": self._unusable} if self._unusable else {})

    def lost(self, start: int, end: int, records: int | None) -> None:
        """Note a gap."""
        self._gaps.note(start, end, records)


def _top_level(name: str, value: Any) -> Any:
    # A learned column is a name as it stands, though it has dots in it.
    return value.get(name, ABSENT) if type(value) is dict else ABSENT


def _cell(value: Any) -> Any:
    if value is ABSENT or value is None:
        return None
    if type(value) is bool or number(value) is not None:
        return value
    text = clean(value) if type(value) is str else to_json(value).decode()
    return text if len(text) <= CELL_LENGTH else text[: CELL_LENGTH - 1] + "…"
