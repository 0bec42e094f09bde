"""What was fetched and not yet handed out, by partition: bounded, fair, in columns when it goes."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
from aiokafka import TopicPartition

from streamweaver import Fetched

Records: TypeAlias = Sequence[Any]
"""aiokafka's `ConsumerRecord`s."""

POLL_BYTES = 4 << 20
"""About the most that one poll hands out."""

FULL_RECORDS = 10_000
FULL_BYTES = 4 << 20
"""A partition with more than this waiting is not fetched."""

LEAST_SHARE = 500
"""Records of one partition in one poll, at least, as far as there are as many."""


def fetched(part: TopicPartition, records: Records, next_offset: int, lost: int = 0) -> Fetched:
    """Turn records into columns."""
    offsets: Sequence[int] = [r.offset for r in records]
    if offsets and offsets[-1] - offsets[0] + 1 == len(offsets):
        offsets = range(offsets[0], offsets[-1] + 1)
    headers = None
    if any(r.headers for r in records):
        # Other clients may send a header without a value.
        headers = [tuple((name, value or b"") for name, value in r.headers) for r in records]
    return Fetched(
        [r.key for r in records],
        [r.value for r in records],
        [r.timestamp for r in records],
        headers,
        part.topic,
        part.partition,
        offsets,
        next_offset,
        lost,
    )


def size_of(records: Records) -> int:
    """Return about how many bytes records hold."""
    return sum(r.serialized_value_size + max(0, r.serialized_key_size) for r in records)


@attrs.define(slots=True, eq=False)
class _Piece:
    """Records of one fetch, of which those before `start` are handed out."""

    records: Records
    next_offset: int
    bytes_each: int
    start: int = 0


@attrs.define(slots=True, eq=False)
class _Feed:
    """One partition."""

    part: TopicPartition
    position: int
    """Where fetching goes on."""
    pieces: deque[_Piece] = attrs.field(factory=deque)
    count: int = 0
    size: int = 0
    lost: int = 0

    @property
    def is_full(self) -> bool:
        return self.count >= FULL_RECORDS or self.size >= FULL_BYTES

    def take(self, most: int, most_bytes: int) -> tuple[Fetched, int]:
        """Return up to `most` records, at least one if there is any, and about how many bytes they have."""
        records: list[Any] = []
        taken = 0
        next_offset = self.position
        while self.pieces:
            piece = self.pieces[0]
            allowed = min(
                most - len(records), max(0 if records else 1, (most_bytes - taken) // max(1, piece.bytes_each))
            )
            stop = min(len(piece.records), piece.start + allowed)
            part = piece.records[piece.start : stop]
            records += part
            taken += len(part) * piece.bytes_each
            if stop < len(piece.records):
                piece.start = stop
                next_offset = piece.records[stop - 1].offset + 1 if stop else piece.records[0].offset
                break
            next_offset = piece.next_offset
            self.pieces.popleft()
        self.count -= len(records)
        self.size = max(0, self.size - taken) if self.pieces else 0
        lost, self.lost = self.lost, 0
        return fetched(self.part, records, next_offset, lost), taken


class Inbox:
    """The feeds of one lane; `space` is called for a partition that was full and is not any more."""

    def __init__(self, starts: dict[TopicPartition, int], space: Callable[[TopicPartition], None]) -> None:
        self._feeds = {part: _Feed(part, at) for part, at in starts.items()}
        self._space = space
        self._order: deque[_Feed] = deque(self._feeds.values())
        self._waiter: asyncio.Future[None] | None = None

    def positions(self) -> dict[TopicPartition, int]:
        """Return where fetching goes on in each partition."""
        return {part: feed.position for part, feed in self._feeds.items()}

    def is_full(self, part: TopicPartition) -> bool:
        """Say whether no more should be fetched for now."""
        return self._feeds[part].is_full

    def is_empty(self, part: TopicPartition) -> bool:
        """Say whether everything that was fetched is handed out."""
        return not self._feeds[part].pieces

    def put(self, part: TopicPartition, records: Records, next_offset: int) -> None:
        """Add what was fetched; without records it says that the position moved on over nothing of interest."""
        feed = self._feeds[part]
        # Fetched before a seek: not wanted any more.
        if next_offset <= feed.position or (records and records[0].offset < feed.position):
            return
        feed.position = next_offset
        size = size_of(records)
        feed.count += len(records)
        feed.size += size
        if not records and feed.pieces:
            feed.pieces[-1].next_offset = next_offset
        else:
            feed.pieces.append(_Piece(records, next_offset, size // len(records) if records else 0))
        self.wake()

    def lose(self, part: TopicPartition, count: int, position: int) -> None:
        """Go on at `position`, since what was before it is gone; the next rows of the partition say how much."""
        feed = self._feeds[part]
        feed.lost += count
        feed.position = position
        if count:
            feed.pieces.append(_Piece((), position, 0))
            self.wake()

    def move(self, part: TopicPartition, position: int) -> None:
        """Forget what was fetched of a partition, and go on elsewhere."""
        feed = self._feeds[part]
        feed.pieces.clear()
        feed.count = feed.size = feed.lost = 0
        feed.position = position

    def take(self, max_records: int) -> list[Fetched]:
        """Return what waits, in fair shares; who was served last comes first next time."""
        ready = [feed for feed in self._order if feed.pieces]
        found: list[Fetched] = []
        left, left_bytes = max_records, POLL_BYTES
        for turn, feed in enumerate(ready):
            if left <= 0 or left_bytes <= 0:
                break
            share = min(left, max(left // (len(ready) - turn), LEAST_SHARE))
            was_full = feed.is_full
            item, size = feed.take(share, left_bytes)
            found.append(item)
            left -= len(item)
            left_bytes -= size
            self._order.remove(feed)
            self._order.append(feed)
            if was_full and not feed.is_full:
                self._space(feed.part)
        return found

    def wake(self) -> None:
        """Have the one who waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, deadline: float | None) -> bool:
        """Wait until something is put, or `wake`; return False when the time is up."""
        loop = asyncio.get_running_loop()
        if deadline is not None and deadline <= loop.time():
            return False
        self._waiter = loop.create_future()
        timer = None if deadline is None else loop.call_at(deadline, self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        return True
