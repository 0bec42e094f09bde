"""Following partitions: positions, fetching what waits fairly, and waiting for more."""

import asyncio
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import closing

import attrs

from streamweaver import BrokerError, CorruptLogError, Fetched, Headers, Rows
from streamweaver_brokers._polling import POLL_BYTES, Waiter, share
from streamweaver_brokers.embedded.log import Log, Partition
from streamweaver_brokers.embedded.rows import Chunk

LEAST_SHARE_BYTES = 256 << 10
"""Bytes of one partition in one poll, at least: less would decode the same chunk many times over."""


@attrs.define(slots=True, eq=False)
class Cursor:
    """Where one reader stands in one partition."""

    partition: Partition
    position: int
    counts_loss: bool
    """False as long as it has not read: who starts at the beginning has lost nothing that was there before."""
    lost: int = 0
    waits: bool = False
    """Whether it stands in the follower's queue."""
    rest: Chunk | None = None
    """The chunk that the last read stopped in, so that it is not decoded again."""

    def move(self, offset: int) -> None:
        """Go on at another offset."""
        self.position = offset
        self.rest = None
        self.lost = 0

    def read(self, log: Log, limit: int, max_bytes: int) -> tuple[Fetched | None, int]:
        """Return up to `limit` records, and the bytes of the chunks they came from; None when it stands where it stood.

        No records, and another place, say that there is nothing (any more) between the two.
        """
        pieces: list[tuple[Chunk, int, int]] = []
        count = size = 0
        position, rest = self.position, self.rest
        with closing(self._chunks(log)) as chunks:
            for chunk in chunks:
                rest = None
                if chunk.base > position and self.counts_loss:
                    self.lost += chunk.base - position
                self.counts_loss = True
                start = chunk.index(position)
                stop = min(len(chunk.rows), start + limit - count)
                if stop > start:
                    pieces.append((chunk, start, stop))
                    count += stop - start
                if stop < len(chunk.rows):
                    position, rest = chunk.offsets[stop], chunk
                    break
                position = chunk.last + 1
                size += chunk.size
                if count >= limit or size >= max_bytes:
                    break
            else:
                if position < self.partition.begin:
                    position = self._pass_over_nothing(position)
        moved = position != self.position
        self.position, self.rest = position, rest
        if not moved:
            return None, size
        lost, self.lost = self.lost, 0
        return _fetched(pieces, self.partition, position, lost), size

    def _pass_over_nothing(self, position: int) -> int:
        """Go to where a partition begins of which retention has removed all."""
        if self.counts_loss:
            self.lost += self.partition.begin - position
        self.counts_loss = True
        return self.partition.begin

    def _chunks(self, log: Log) -> Generator[Chunk, None, None]:
        position = self.position
        if self.rest is not None and self.rest.last >= self.partition.begin:
            yield self.rest
            position = self.rest.last + 1
        if position < self.partition.end:
            with closing(log.chunks(self.partition, position)) as chunks:
                yield from chunks


def _fetched(pieces: list[tuple[Chunk, int, int]], partition: Partition, next_offset: int, lost: int) -> Fetched:
    """Join pieces of chunks; copies, since a chunk may be handed to several readers."""
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    timestamps: list[int] = []
    offsets: list[int] | None = None
    first = after = pieces[0][0].offsets[pieces[0][1]] if pieces else next_offset
    for chunk, start, stop in pieces:
        rows = chunk.rows
        whole = start == 0 and stop == len(rows)
        keys += rows.keys if whole else rows.keys[start:stop]
        values += rows.values if whole else rows.values[start:stop]
        timestamps += rows.timestamps if whole else rows.timestamps[start:stop]
        own = chunk.offsets[start:stop]
        if offsets is None and (not isinstance(own, range) or own[0] != after):
            offsets = list(range(first, after))
        if offsets is not None:
            offsets += own
        after = own[-1] + 1
    return Fetched(
        keys,
        values,
        timestamps,
        _headers(pieces),
        partition.topic,
        partition.number,
        range(first, after) if offsets is None else offsets,
        next_offset,
        lost,
    )


def _headers(pieces: list[tuple[Chunk, int, int]]) -> list[Headers] | None:
    if not any(chunk.rows.headers for chunk, _, _ in pieces):
        return None
    headers: list[Headers] = []
    for chunk, start, stop in pieces:
        rows: Rows = chunk.rows
        headers += rows.headers[start:stop] if rows.headers else [()] * (stop - start)
    return headers


class Tap:
    """A set of cursors that is polled by one task; fits the contract `Reader`."""

    def __init__(self, log: Log, starts: Mapping[Partition, int | None]) -> None:
        self._log = log
        self._closed = False
        self._cursors = {
            partition.id: Cursor(partition, partition.begin if start is None else start, start is not None)
            for partition, start in starts.items()
        }
        self._ready: deque[Cursor] = deque()
        self._waiter = Waiter()
        for cursor in self._cursors.values():
            cursor.partition.followers.append(self)
            self._consider(cursor)

    async def poll(self, *, max_records: int = 5_000, timeout: float | None = None) -> list[Fetched]:
        """Return what waits, or wait for it."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        # A reader that is never out of work must let others have a turn.
        await asyncio.sleep(0)
        while True:
            if self._closed:
                raise BrokerError("the reader is closed")
            if fetched := self._take(max_records):
                return fetched
            if not self._ready and not await self._waiter.wait(deadline):
                return []

    def seek(self, partition: Partition, offset: int) -> None:
        """Go on in a partition at `offset`."""
        cursor = self._cursors[partition.id]
        cursor.move(offset)
        cursor.counts_loss = True
        self._consider(cursor)

    def restart(self, partition: Partition, offset: int | None) -> None:
        """Go back to a committed offset, or to the beginning."""
        self.seek(partition, partition.begin if offset is None else offset)
        self._cursors[partition.id].counts_loss = offset is not None

    async def close(self) -> None:
        """Stop following; a poll that waits ends with an error."""
        if self._closed:
            return
        self._closed = True
        for cursor in self._cursors.values():
            cursor.partition.followers.remove(self)
            if not cursor.partition.followers:
                cursor.partition.recent.clear()
        self._waiter.wake()

    def moved(self, partition: Partition) -> None:
        """Have the partition read at the next poll, and wake the one that waits."""
        self._consider(self._cursors[partition.id])

    def _consider(self, cursor: Cursor) -> None:
        if not cursor.waits and cursor.position < cursor.partition.end:
            cursor.waits = True
            self._ready.append(cursor)
            self._waiter.wake()

    def _take(self, max_records: int) -> list[Fetched]:
        """Read each partition that has something, in turn; who gets nothing now is the first next time."""
        fetched: list[Fetched] = []
        left, left_bytes = max_records, POLL_BYTES
        turns = len(self._ready)
        while turns and left > 0 and left_bytes > 0:
            cursor = self._ready.popleft()
            cursor.waits = False
            most, most_bytes = share(left, turns), share(left_bytes, turns, LEAST_SHARE_BYTES)
            turns -= 1
            try:
                found, size = cursor.read(self._log, most, most_bytes)
            except CorruptLogError:
                self._consider(cursor)
                if fetched:  # the others first; it is raised when nothing else waits
                    return fetched
                raise
            left_bytes -= size
            if found is not None:
                fetched.append(found)
                left -= len(found)
                # One that stands where it stood is told when to look again: retention is heard of a little later.
                self._consider(cursor)
        return fetched
