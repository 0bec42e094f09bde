"""Gathering records for a sink that wants them in larger batches: until there are enough, or the oldest has waited.

Nothing is settled by being gathered: what is held here is read again after a crash. Pure; the caller reads and waits.
"""

import attrs

from streamweaver.contracts import Fetched
from streamweaver.runtime.rows import joined, split

MOST_BYTES = 16 * 1024 * 1024
"""Held at most, of all partitions together; then everything is due."""

RECORD_BYTES = 250
"""What a record takes beside the bytes of its key and value: they, its time, its offset and its headers are objects."""


@attrs.define
class _Held:
    parts: list[Fetched]
    since: float
    count: int = 0

    def add(self, rows: Fetched) -> None:
        self.parts.append(rows)
        self.count += len(rows)


@attrs.define
class Gatherer:
    """What one lane of a sink stage has read and not handed on yet."""

    records: int
    wait_seconds: float
    _held: dict[tuple[str, int], _Held] = attrs.field(factory=dict)
    _bytes: int = 0

    def add(self, fetched: list[Fetched], now: float) -> None:
        """Take in what was read."""
        for rows in fetched:
            self._bytes += _size(rows)
            self._held.setdefault((rows.topic, rows.partition), _Held([], now)).add(rows)

    def take(self, now: float, *, hurry: bool = False) -> list[Fetched]:
        """Return what is due, in batches of at most so many records; of a full one also the rest, if it has waited."""
        everything = hurry or self._bytes > MOST_BYTES
        due: list[Fetched] = []
        for place, held in list(self._held.items()):
            late = everything or now - held.since >= self.wait_seconds
            if not late and held.count < self.records:
                continue
            parts = split(joined(held.parts), self.records)
            left = None if late or len(parts[-1]) >= self.records else parts.pop()
            due += parts
            del self._held[place]
            if left is not None:
                self._held[place] = _Held([left], now, len(left))
        if due:
            self._bytes = sum(_size(rows) for held in self._held.values() for rows in held.parts)
        return due

    def seconds_left(self, now: float) -> float | None:
        """Return how long until something is due without more coming; None when nothing is held."""
        oldest = min((held.since for held in self._held.values()), default=None)
        return None if oldest is None else max(0.0, oldest + self.wait_seconds - now)


def _size(rows: Fetched) -> int:
    return RECORD_BYTES * len(rows) + sum(map(len, filter(None, rows.values))) + sum(map(len, filter(None, rows.keys)))
