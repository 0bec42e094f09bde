"""Counts and sums per key over spans of event time."""

from typing import Any

import attrs
import msgspec

from streamweaver import BadRecord, Batch, Record, State, TransformContext, option, transform
from streamweaver_transforms._field import PATH, Field, finite, show
from streamweaver_transforms._sum import add, total
from streamweaver_transforms._time import iso

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

# Keys of the state beside the windows, each of which stands under its start in ms.
_CLOSED = "closed"
_OPEN = "open"

# Whole numbers up to here are summed as such; beyond, as floats, which hold no more digits anyway.
_WHOLE = 2**53


def _fields(_instance: Any, _attribute: Any, value: str | list[str]) -> None:
    paths = [value] if isinstance(value, str) else value
    if not paths:
        raise ValueError("got no fields, expected at least one")
    for path in paths:
        Field(path)


@transform("count_by", groups_by="by", example="{use: count_by, by: [program, level], span_seconds: 60}")
@attrs.define
class CountBy:
    """Count the records of each key in windows of fixed length, and sum a field if asked for.

    Time is the records' own timestamp (the clock's for a record without one). Windows are aligned to 1970, so a
    window of 60 s begins on the minute. Nothing comes out before a window closes; then comes one record for each key
    that it saw, sorted by key: `window_start` and `window_end` (ISO 8601; the end is not part of the window), the
    fields of `by`, the count and the sum. Its record key is the value of `by` (a JSON list of them, if several), its
    timestamp the last millisecond of the window.

    A window of a partition closes when a record of it is `grace_seconds` or more past the window's end; or, when
    records have stopped for `grace_seconds` or at least a second, as soon as the clock is that far past the end. The
    quiet is counted afresh after a restart, so that a backlog is read before the clock closes anything. A record for
    a window that is closed already is dropped and counted as `late`. One whose timestamp is more than
    `ahead_seconds` ahead of the clock is a bad record: it would close every window up to its own.

    Sums of whole numbers stay whole; sums with fractions are exact, rounded once at the end. Results do not depend on
    how the stream is cut into batches, and open windows survive a restart.
    """

    by: str | list[str] = option(
        help="field, or fields, to count by: text, whole numbers, true or false", example="level", validator=_fields
    )
    span_seconds: float = option(default=60.0, help="length of a window", example=60.0, ge=0.001)
    grace_seconds: float = option(
        default=5.0, help="how long a window waits for late records after its end", example=5.0, ge=0
    )
    ahead_seconds: float = option(
        default=300.0, help="how far ahead of the clock a timestamp may be", example=300.0, ge=0
    )
    into: str = option(default="count", help="field for the count", example="count", pattern=PATH)
    sum: str | None = option(default=None, help="field with numbers to sum", example="quantity", pattern=PATH)
    sum_into: str = option(default="sum", help="field for the sum", example="volume", pattern=PATH)

    _by: list[Field] = attrs.field(init=False, repr=False, eq=False)
    _sum: Field | None = attrs.field(init=False, repr=False, eq=False)
    _span: int = attrs.field(init=False, repr=False, eq=False)
    _grace: int = attrs.field(init=False, repr=False, eq=False)
    # Since when a partition is quiet, on the clock. A hint, not state: after a restart it begins anew on purpose.
    _quiet_since: dict[tuple[str, int], int] = attrs.field(init=False, repr=False, eq=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._by = [Field(path) for path in ([self.by] if isinstance(self.by, str) else self.by)]
        self._sum = None if self.sum is None else Field(self.sum)
        self._span, self._grace = max(round(self.span_seconds * 1000), 1), round(self.grace_seconds * 1000)
        taken = ["window_start", "window_end", *(field.path for field in self._by), self.into]
        taken += [] if self.sum is None else [self.sum_into]
        if len(set(taken)) < len(taken):
            raise ValueError(f"got the output fields {', '.join(taken)}, expected different names")

    def open(self, _context: Any) -> None:
        """Forget how long the partitions have been quiet."""
        self._quiet_since.clear()

    def process(self, batch: Batch, context: TransformContext) -> list[Record]:
        """Count each record; return what the windows held that closed meanwhile."""
        now = context.now()
        self._quiet_since[context.topic, context.partition] = now
        latest = now + round(self.ahead_seconds * 1000)
        windows, late, made = _Windows.read(context.state), 0, list[Record]()
        for index, record in enumerate(batch.records):
            time = now if record.timestamp is None else record.timestamp
            try:
                if time > latest:
                    raise ValueError(
                        f"got timestamp {iso(time)}, which is {(time - now) / 1000:.0f} s ahead of the clock"
                    )
                group, number = self._group(record.value), self._number(record.value)
            except ValueError as error:
                raise BadRecord(index, error) from error
            start = time - time % self._span
            if windows.closed is not None and start < windows.closed:
                late += 1
                continue
            windows.count(start, group, number)
            passed = time - self._grace
            if windows.closed is None or passed >= windows.closed + self._span:
                made += self._close(windows, passed - passed % self._span)
        windows.store()
        if late:
            context.count("late", late)
        return made

    def tick(self, context: TransformContext) -> list[Record]:
        """Close the windows of a quiet partition whose time is over by the clock."""
        now = context.now()
        quiet = now - self._quiet_since.setdefault((context.topic, context.partition), now)
        if quiet < max(self._grace, 1000):
            return []
        windows = _Windows.read(context.state)
        ends = [start + self._span for start in windows.starts]
        # Only as far as there are windows: the clock says nothing about records that are yet to be read.
        over = max((end for end in ends if end + self._grace <= now), default=None)
        if over is None:
            return []
        made = self._close(windows, over)
        windows.store()
        return made

    def _group(self, value: Any) -> str:
        """Return the values of `by` as JSON: a key for state that tells 1, true and "1" apart."""
        found = [field.get(value) for field in self._by]
        for held, field in zip(found, self._by, strict=True):
            if type(held) not in (str, int, bool):
                raise ValueError(f"{field.path}: got {show(held)}, expected text, a whole number, true or false")
        return _encode(found).decode()

    def _number(self, value: Any) -> int | float:
        if self._sum is None:
            return 0
        number = self._sum.get(value)
        checked = finite(number)
        if checked is None:
            raise ValueError(f"{self._sum.path}: got {show(number)}, expected a finite number")
        return int(number) if type(number) is int and abs(number) < _WHOLE else checked

    def _close(self, windows: "_Windows", boundary: int) -> list[Record]:
        """Close everything that ends up to the boundary."""
        if windows.closed is not None and boundary <= windows.closed:
            return []
        windows.closed = boundary
        made = []
        for start in sorted(start for start in windows.starts if start < boundary):
            groups = windows.take(start)
            made += [self._result(start, group, groups[group]) for group in sorted(groups)]
        return made

    def _result(self, start: int, group: str, tally: list[Any]) -> Record:
        found = _decode(group)
        end = start + self._span
        value: dict[str, Any] = {"window_start": iso(start), "window_end": iso(end)}
        for field, held in zip(self._by, found, strict=True):
            field.set(value, held)
        Field(self.into).set(value, tally[0])
        if self._sum is not None:
            Field(self.sum_into).set(value, total([*tally[2], float(tally[1])]) if tally[2] else tally[1])
        alone = found[0] if isinstance(found[0], str) else group[1:-1]
        return Record(value, key=alone if len(found) == 1 else group, timestamp=end - 1)


@attrs.define
class _Windows:
    """The open windows of one partition: each is read when it is first needed and stored once a batch.

    A window maps a group to [count, sum of its whole numbers, parts of the exact sum of its floats].
    """

    state: State
    closed: int | None
    """Everything before this time is closed; None before the first record."""
    starts: list[int]
    _read: dict[int, dict[str, list[Any]]] = attrs.field(factory=dict)
    _gone: list[int] = attrs.field(factory=list)
    _before: tuple[int | None, list[int]] = (None, [])

    @classmethod
    def read(cls, state: State) -> "_Windows":
        """Read which windows are open."""
        closed, starts = state.get(_CLOSED), list(state.get(_OPEN, ()))
        return cls(state, closed, starts, before=(closed, list(starts)))

    def count(self, start: int, group: str, number: int | float) -> None:
        """Add one record to a window, which is opened if need be."""
        window = self._read.get(start)
        if window is None:
            window = self._open(start)
        tally = window.get(group)
        if tally is None:
            tally = window[group] = [0, 0, []]
        tally[0] += 1
        if isinstance(number, int) and abs(tally[1] + number) < _WHOLE:
            tally[1] += number
        else:
            add(tally[2], float(number))

    def take(self, start: int) -> dict[str, list[Any]]:
        """Remove a window and return what it holds."""
        held = self._read.pop(start, None)
        self.starts.remove(start)
        self._gone.append(start)
        taken: dict[str, list[Any]] = self.state[start] if held is None else held
        return taken

    def store(self) -> None:
        """Put everything that changed into the state."""
        for start in self._gone:
            if start in self._before[1]:
                del self.state[start]
        for start, window in self._read.items():
            self.state[start] = window
        if self.closed != self._before[0]:
            self.state[_CLOSED] = self.closed
        if self.starts != self._before[1]:
            self.state[_OPEN] = self.starts

    def _open(self, start: int) -> dict[str, list[Any]]:
        if start in self.starts:
            window: dict[str, list[Any]] = self.state[start]
        else:
            self.starts.append(start)
            window = {}
        self._read[start] = window
        return window
