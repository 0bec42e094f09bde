"""Where records are after they were copied, and what names them by their offsets, made to name the copies. Pure."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, TypeAlias

import attrs

from streamweaver.contracts import Fetched
from streamweaver.record import Headers
from streamweaver.runtime.dead_letter import ORIGINAL_OFFSET, from_row, note, noted, original_place
from streamweaver.runtime.letter_box import parse_id

Place: TypeAlias = tuple[str, int]
"""Topic and partition."""


@attrs.define
class Offsets:
    """The offsets of a partition's records, in order, as runs of consecutive ones.

    After transactions each record may be a run of its own, so whatever is asked is looked for by halving.
    """

    runs: list[list[int]] = attrs.field(factory=list)
    """First offset, and how many."""
    earlier: list[int] = attrs.field(factory=list)
    """How many records lie before each run."""
    total: int = 0

    def add(self, offsets: Any) -> None:
        """Take the offsets that follow."""
        pieces = [(offsets[0], len(offsets))] if isinstance(offsets, range) and offsets else [(o, 1) for o in offsets]
        for first, count in pieces:
            if self.runs and sum(self.runs[-1]) == first:
                self.runs[-1][1] += count
            else:
                self.runs.append([first, count])
                self.earlier.append(self.total)
            self.total += count

    def before(self, offset: int) -> int:
        """Return how many records lie before an offset."""
        at = self._run(offset)
        if at < 0:
            return 0
        first, count = self.runs[at]
        return self.earlier[at] + min(offset - first, count)

    def of(self, index: int) -> int | None:
        """Return the offset of the record with an index; None behind the last."""
        if index >= self.total:
            return None
        at = bisect_right(self.earlier, index) - 1
        return self.runs[at][0] + index - self.earlier[at]

    def index(self, offset: int) -> int | None:
        """Return the index of the record with exactly this offset; None when there is none (any more)."""
        at = self._run(offset)
        return self.before(offset) if at >= 0 and offset < sum(self.runs[at]) else None

    def _run(self, offset: int) -> int:
        """Return the number of the last run that begins at an offset or before; -1 when none does."""
        return bisect_right(self.runs, offset, key=itemgetter(0)) - 1


Copies: TypeAlias = dict[Place, tuple[Offsets, Offsets]]
"""Where each partition's records were, and where they are."""


def translated(offset: int, before: Offsets, after: Offsets) -> int:
    """Return where the record of an offset (or the next one) stands in the copy; behind the last, the end."""
    found = after.of(before.before(offset))
    if found is not None:
        return found
    return sum(after.runs[-1]) if after.runs else 0


def moved_offset(place: Place, offset: int, copies: Copies) -> int | None:
    """Return where the record with exactly this offset is now; None when it was not copied."""
    if place not in copies:
        return None
    before, after = copies[place]
    index = before.index(offset)
    return None if index is None else after.of(index)


def moved_notes(values: Mapping[bytes, bytes], partition: int, copies: Copies) -> dict[bytes, bytes]:
    """Return a sink's notes, of which records have a dead letter already, for the copies of these records."""
    moved = {}
    for key, value in values.items():
        topic, offset = noted(key)
        after = moved_offset((topic, partition), offset, copies)
        if after is not None:
            moved[note(topic, after)] = value
    return moved


Change: TypeAlias = Callable[[Fetched], Fetched]


def moved_marks(letters: str, copies: Copies) -> Change:
    """Return what makes marks of the copied dead letters out of marks of the old ones.

    A mark whose letter has expired is left out: its id may become that of another letter.
    """

    def change(rows: Fetched) -> Fetched:
        ids = [_moved_id(key, letters, copies) for key in rows.keys]
        kept = [index for index, new in enumerate(ids) if new is not None]
        return attrs.evolve(
            rows,
            keys=[ids[index] for index in kept],
            values=[rows.values[index] for index in kept],
            timestamps=[rows.timestamps[index] for index in kept],
            headers=None if rows.headers is None else [rows.headers[index] for index in kept],
            offsets=[rows.offsets[index] for index in kept],
        )

    return change


def moved_letters(copies: Copies) -> Change:
    """Return what makes dead letters name the copies of their records.

    Of a record that was not copied, since it has expired, a letter tells the offset that it had.
    """

    def place(rows: Fetched, index: int, headers: Headers) -> tuple[str, int, int] | None:
        try:
            letter = from_row(rows.keys[index], rows.values[index], rows.timestamps[index], headers)
        except ValueError:
            return None  # somebody else's
        return letter.topic, letter.partition, letter.offset

    return _naming(place, copies)


def moved_replays(copies: Copies) -> Change:
    """Return what makes records that are replayed name the copies of those that they originally were; see letters."""

    def place(rows: Fetched, index: int, headers: Headers) -> tuple[str, int, int] | None:  # noqa: ARG001
        topic, offset, _ = original_place(headers)
        return None if topic is None or offset is None else (topic, rows.partition, offset)

    return _naming(place, copies)


def _naming(place: Callable[[Fetched, int, Headers], tuple[str, int, int] | None], copies: Copies) -> Change:
    """Return what writes the new offset into our header, where a record names the place of another one."""

    def changed(rows: Fetched, index: int, headers: Headers) -> Headers:
        named = place(rows, index, headers)
        after = None if named is None else moved_offset(named[:2], named[2], copies)
        if after is None:
            return headers
        # Ours come first; the original may have one of that name, too.
        at = next(number for number, (name, _) in enumerate(headers) if name == ORIGINAL_OFFSET)
        return (*headers[:at], (ORIGINAL_OFFSET, str(after).encode()), *headers[at + 1 :])

    def change(rows: Fetched) -> Fetched:
        if rows.headers is None:
            return rows
        return attrs.evolve(rows, headers=[changed(rows, index, each) for index, each in enumerate(rows.headers)])

    return change


def _moved_id(key: bytes | None, letters: str, copies: Copies) -> bytes | None:
    try:
        partition, offset = parse_id((key or b"").decode())
    except ValueError:
        return None  # somebody else's; nobody looks at it
    moved = moved_offset((letters, partition), offset, copies)
    return None if moved is None else f"{partition}:{moved}".encode()
