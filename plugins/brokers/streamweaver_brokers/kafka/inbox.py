"""What was fetched and not yet handed out, by partition, in columns: bounded and fair."""

from collections import deque
from collections.abc import Callable

import attrs
from aiokafka import TopicPartition

from streamweaver import Fetched
from streamweaver_brokers._polling import POLL_BYTES, Waiter, share
from streamweaver_brokers.kafka.fetcher import columns

FULL_RECORDS = 40_000
FULL_BYTES = 4 << 20
"""A partition with more than this waiting is not fetched: twice what a flow takes at once."""


def size_of(rows: Fetched) -> int:
    """Return about how many bytes rows hold."""
    return sum(map(len, filter(None, rows.values))) + sum(map(len, filter(None, rows.keys)))


def cut(rows: Fetched, start: int, stop: int) -> Fetched:
    """Return the rows from `start` up to `stop`; all of them as they are."""
    if not start and stop == len(rows):
        return rows
    headers = rows.headers[start:stop] if rows.headers else None
    return Fetched(
        rows.keys[start:stop],
        rows.values[start:stop],
        rows.timestamps[start:stop],
        headers,
        rows.topic,
        rows.partition,
        rows.offsets[start:stop],
    )


def joined(part: TopicPartition, pieces: list[Fetched], next_offset: int, lost: int) -> Fetched:
    """Return the rows of all pieces as one."""
    if len(pieces) == 1:
        pieces[0].next_offset, pieces[0].lost = next_offset, lost
        return pieces[0]
    return columns(
        part,
        [key for rows in pieces for key in rows.keys],
        [value for rows in pieces for value in rows.values],
        [time for rows in pieces for time in rows.timestamps],
        [headers for rows in pieces for headers in rows.headers or [()] * len(rows)],
        [offset for rows in pieces for offset in rows.offsets],
        next_offset,
        lost,
    )


@attrs.define(slots=True, eq=False)
class _Piece:
    """Rows of one fetch, of which those before `start` are handed out."""

    rows: Fetched
    bytes_each: int
    start: int = 0


def _nothing(part: TopicPartition, position: int) -> _Piece:
    return _Piece(columns(part, [], [], [], (), (), position), 0)


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
        taken: list[Fetched] = []
        count = size = 0
        next_offset = self.position
        while self.pieces:
            piece = self.pieces[0]
            rows, start = piece.rows, piece.start
            allowed = min(most - count, max(0 if count else 1, (most_bytes - size) // max(1, piece.bytes_each)))
            stop = min(len(rows), start + allowed)
            if stop > start:
                taken.append(cut(rows, start, stop))
                count += stop - start
                size += (stop - start) * piece.bytes_each
            if stop < len(rows):
                piece.start = stop
                next_offset = rows.offsets[stop - 1] + 1 if stop else rows.offsets[0]
                break
            next_offset = rows.next_offset
            self.pieces.popleft()
        self.count -= count
        self.size = max(0, self.size - size) if self.pieces else 0
        lost, self.lost = self.lost, 0
        return joined(self.part, taken, next_offset, lost), size


class Inbox:
    """The feeds of one lane; `space` is called for a partition that was full and is not any more."""

    def __init__(self, starts: dict[TopicPartition, int], space: Callable[[TopicPartition], None]) -> None:
        self._feeds = {part: _Feed(part, at) for part, at in starts.items()}
        self._space = space
        self._order: deque[_Feed] = deque(self._feeds.values())
        waiter = Waiter()
        self.wake, self.wait = waiter.wake, waiter.wait

    def positions(self) -> dict[TopicPartition, int]:
        """Return where fetching goes on in each partition."""
        return {part: feed.position for part, feed in self._feeds.items()}

    def is_full(self, part: TopicPartition) -> bool:
        """Say whether no more should be fetched for now."""
        return self._feeds[part].is_full

    def is_empty(self, part: TopicPartition) -> bool:
        """Say whether everything that was fetched is handed out."""
        return not self._feeds[part].pieces

    def put(self, rows: Fetched) -> None:
        """Add what was fetched of a partition, at least one record."""
        feed = self._feeds[TopicPartition(rows.topic, rows.partition)]
        # Fetched before a seek: not wanted any more.
        if rows.offsets[0] < feed.position:
            return
        size = size_of(rows)
        feed.position = rows.next_offset
        feed.count += len(rows)
        feed.size += size
        feed.pieces.append(_Piece(rows, size // len(rows)))
        self.wake()

    def skip(self, part: TopicPartition, position: int) -> None:
        """Take in that the position moved on, over nothing of interest."""
        feed = self._feeds[part]
        if position <= feed.position:
            return
        feed.position = position
        if feed.pieces:
            feed.pieces[-1].rows.next_offset = position
        else:
            feed.pieces.append(_nothing(part, position))
        self.wake()

    def lose(self, part: TopicPartition, count: int, position: int) -> None:
        """Go on at `position`, since what was before it is gone; the next rows of the partition say how much."""
        feed = self._feeds[part]
        feed.lost += count
        feed.position = position
        if count:
            feed.pieces.append(_nothing(part, position))
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
            was_full = feed.is_full
            item, size = feed.take(share(left, len(ready) - turn), left_bytes)
            found.append(item)
            left -= len(item)
            left_bytes -= size
            self._order.remove(feed)
            self._order.append(feed)
            if was_full and not feed.is_full:
                self._space(feed.part)
        return found
