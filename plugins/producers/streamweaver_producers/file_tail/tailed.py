"""One file that is being read: where it stands, what it is recognised by, and its lines."""

import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from streamweaver_producers.file_tail.source import Inode, Source

MARK_BYTES = 256
"""How many bytes at the start of a file, and before the offset, it is recognised by."""

READ_BYTES = 128 * 1024
LIST_LINES = 1000
KEPT_BYTES = 4096
"""How much of a line that is too long its dead letter keeps."""


@attrs.frozen
class Mark:
    """What the position remembers of one file. Stored as a plain list of its fields."""

    path: str
    device: int
    inode: int
    head_length: int
    head_crc: int
    tail_crc: int
    offset: int
    modified_ns: int
    gone_ms: int = 0
    """When the file was lost sight of; 0 while it is there."""

    def fields(self) -> list[Any]:
        """Return what is stored; much quicker than `attrs.astuple`, and called for every list of lines."""
        return [
            self.path,
            self.device,
            self.inode,
            self.head_length,
            self.head_crc,
            self.tail_crc,
            self.offset,
            self.modified_ns,
            self.gone_ms,
        ]

    def fits(self, source: Source) -> tuple[bytes, bytes] | None:
        """Return the file's head and the bytes before the offset, if they are those that were marked."""
        length = min(MARK_BYTES, self.offset)
        try:
            head = source.read(0, self.head_length)
            if len(head) != self.head_length or zlib.crc32(head) != self.head_crc:
                return None
            tail = source.read(self.offset - length, length)
        except zlib.error:
            return None
        if len(tail) != length or zlib.crc32(tail) != self.tail_crc:
            return None
        return head, tail


@attrs.frozen
class Unfit:
    """A line that cannot become a record: its start, and why."""

    start: bytes
    why: str


Line: TypeAlias = bytes | Unfit


class Truncated(Exception):
    """The file is not the one that was read so far: it was cut, or cut and written anew."""


@attrs.frozen(kw_only=True)
class LineRules:
    """How bytes become lines."""

    max_line_bytes: int
    starts_event: Callable[[bytes], Any] | None = None
    """Tells the first line of an event of several lines; None: each line stands for itself."""


@attrs.define(eq=False, kw_only=True)
class Tailed:
    """One file, by content and not by name: it stays itself through renaming.

    `offset` is where the first byte stands that was not handed out yet, `buffer` holds what was read beyond it.
    The head covers everything read so far, up to `MARK_BYTES`.
    """

    path: str
    """The name that its lines carry: under which it was first seen."""
    place: str
    """The name under which it was last seen."""
    inode: Inode
    rules: LineRules
    source: Source | None
    offset: int = 0
    read_at: int = 0
    head: bytes = b""
    tail: bytes = b""
    buffer: bytes = b""
    long_start: bytes | None = None
    """The start of a line that is too long, while its end is looked for."""
    long_length: int = 0
    long_tail: bytes = b""
    damaged: bool = False
    """Nothing more can be read of it (a gzip file only)."""
    ends_at: int | None = None
    """Do not read beyond this size."""
    at_end: bool = False
    grew_ms: int = 0
    seen_ms: int = 0
    modified_ns: int = 0
    left_path: bool = False
    """Another file has its name now, or none: nothing but late writes will come."""
    after: "Tailed | None" = None
    """The generation before it, whose lines come first."""
    _mark: list[Any] | None = None

    @property
    def pending(self) -> bool:
        """Bytes were read that are not handed out, since their line or event has no end yet."""
        return bool(self.buffer) or self.long_start is not None

    @property
    def drained(self) -> bool:
        """Everything there was has been handed out, also of the generations before."""
        if self.after is not None and self.after.drained:
            self.after = None
        return self.at_end and not self.pending and self.after is None

    def mark(self) -> list[Any]:
        """Return what the position keeps of this file."""
        if self._mark is None:
            mark = Mark(
                self.path,
                *self.inode,
                len(self.head),
                zlib.crc32(self.head),
                zlib.crc32(self.tail),
                self.offset,
                self.modified_ns,
            )
            self._mark = mark.fields()
        return self._mark

    def stand(self, offset: int, head: bytes = b"", tail: bytes = b"") -> None:
        """Go on from an offset; the bytes around are known."""
        self.offset = self.read_at = offset
        self.head, self.tail, self.buffer, self.long_start, self._mark = head, tail, b"", None, None
        self.at_end = False
        self.note_time()

    def note_time(self) -> None:
        """Remember when the file was last written to."""
        if self.source is not None:
            self.modified_ns = self.source.stat().st_mtime_ns

    def fill(self) -> bool:
        """Read one chunk more; False at the end of the file. Raises `Truncated`."""
        assert self.source is not None
        count = READ_BYTES if self.ends_at is None else min(READ_BYTES, self.ends_at - self.read_at)
        chunk = self.source.read(self.read_at, count) if count > 0 else b""
        # Looked at after reading: a truncation that came before or during the read shows in the size or the bytes.
        if not self.intact():
            raise Truncated
        if not chunk:
            return False
        if len(self.head) < MARK_BYTES:
            # After a restart the head may reach beyond the place where reading goes on.
            self.head = max(self.head, (self.head[: self.read_at] + chunk)[:MARK_BYTES], key=len)
        self.read_at += len(chunk)
        self.buffer += chunk
        self.note_time()
        self._mark = None
        return True

    def intact(self) -> bool:
        """Tell whether what was read so far is still there, as far as can be seen."""
        source = self.source
        if source is None or source.steady:
            return True
        return (
            source.stat().st_size >= self.read_at
            and source.read(0, len(self.head)) == self.head
            and source.read(self.offset - len(self.tail), len(self.tail)) == self.tail
        )

    def take(self, *, event_over: bool = False, file_over: bool = False) -> list[Line]:
        """Hand out lines from the buffer (without their ends).

        `event_over`: the last event is complete though no new one has begun. `file_over`: so is the last line though
        it has no end.
        """
        skipped: list[Line] = []
        if self.long_start is not None:
            if not file_over and b"\n" not in self.buffer:
                self._skip()
                return []
            skipped = [self._end_long(self.long_start)]
        if not self.buffer:
            return skipped
        *lines, rest = self.buffer.split(b"\n", LIST_LINES)
        if file_over and rest and len(lines) < LIST_LINES:
            lines.append(rest)
            rest = b""
        held = 0
        if lines and self.rules.starts_event is not None:
            held = self._hold_event(lines, event_over or file_over or len(rest) > self.rules.max_line_bytes)
        split = len(self.buffer) - len(rest) - held
        consumed, self.buffer = self.buffer[:split], self.buffer[split:]
        if b"\r" in consumed:
            lines = [line.replace(b"\r\n", b"\n").removesuffix(b"\r") for line in lines]
        if self.offset == 0 and lines:
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        self._advance(consumed)
        return skipped + self._checked(lines, may_be_long=not lines and not held)

    def _checked(self, lines: list[bytes], *, may_be_long: bool) -> list[Line]:
        """Set lines apart that are too long; begin to skip one that is so already before its end."""
        most = self.rules.max_line_bytes
        if may_be_long and len(self.buffer) > most:
            self.long_start, self.long_length, self.long_tail = self.buffer[:KEPT_BYTES], 0, b""
            self._skip()
        if lines and max(map(len, lines)) > most:
            return [x if len(x) <= most else self._too_long(x[:KEPT_BYTES], len(x)) for x in lines]
        return list(lines)

    def _advance(self, consumed: bytes) -> None:
        if consumed:
            self.offset += len(consumed)
            self.tail = (self.tail + consumed)[-MARK_BYTES:] if len(consumed) < MARK_BYTES else consumed[-MARK_BYTES:]
            self._mark = None

    def _skip(self) -> None:
        """Go on through a line that is too long."""
        self.long_length += len(self.buffer)
        self.long_tail = (self.long_tail + self.buffer)[-MARK_BYTES:]
        self.buffer = b""

    def _end_long(self, start: bytes) -> Unfit:
        cut, end, rest = self.buffer.partition(b"\n")
        length = self.long_length + len(cut)
        self.offset += self.long_length
        self.tail, self.long_start, self.buffer = self.long_tail, None, rest
        self._advance(cut + end)
        self._mark = None
        return self._too_long(start, length)

    def _too_long(self, start: bytes, length: int) -> Unfit:
        most = self.rules.max_line_bytes
        return Unfit(start, f"got a line of {length} bytes, expected at most max_line_bytes = {most}")

    def _hold_event(self, lines: list[bytes], over: bool) -> int:
        """Join lines to events, in place; take off the last one if it may go on. Return the bytes taken off."""
        starts_event, most = self.rules.starts_event, self.rules.max_line_bytes
        assert starts_event is not None
        events: list[list[bytes]] = []
        size = 0
        for line in lines:
            if not events or starts_event(line) or size + len(line) > most:
                events.append([])
                size = 0
            events[-1].append(line)
            size += len(line) + 1
        held = 0
        # What fills a whole list or the largest size is handed out as it is, or it would be read again and again.
        if not over and size <= most and (len(events) > 1 or len(lines) < LIST_LINES):
            held = size
            events.pop()
        lines[:] = [b"\n".join(event) for event in events]
        return held

    def close(self) -> None:
        """Give the handle back; the file can be opened again later."""
        if self.source is not None:
            self.source.close()
            self.source = None
