"""The log as the event loop's thread sees it: what each partition holds, and reading it."""

import sqlite3
from bisect import bisect_right
from collections import deque
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import attrs
import msgspec

from streamweaver import CorruptLogError, Rows, UnknownTopicError
from streamweaver_brokers.embedded.failure import mapped
from streamweaver_brokers.embedded.rows import Chunk, Stored, decode, is_whole, key_of, offset_of
from streamweaver_brokers.embedded.writer import Listing

RECENT_BYTES = 8 << 20
RECENT_CHUNKS = 4_096
RECORD_BYTES = 64
"""What a record in memory takes beside its payload, about."""


class Follower(Protocol):
    """Wants to know what has become of a partition."""

    def moved(self, partition: "Partition") -> None:
        """Take in that the partition begins or ends further on than before."""


@attrs.define(slots=True, eq=False)
class Partition:
    """One partition: its range, who follows it, and its newest chunks, which lie in memory without a gap."""

    id: int
    topic: str
    number: int
    begin: int
    end: int
    followers: list[Follower] = attrs.field(factory=list)
    recent: deque[Chunk] = attrs.field(factory=deque)

    def __str__(self) -> str:
        return f"topic {self.topic}, partition {self.number}"

    @property
    def place(self) -> tuple[str, int]:
        """Topic and number."""
        return self.topic, self.number


class Log:
    """Reads committed chunks, from memory if they are new, else from the database."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, skip_damaged: bool) -> None:
        self._connection = connection
        self._path = path
        self._skip_damaged = skip_damaged
        self._by_id: dict[int, Partition] = {}
        self._by_name: dict[str, list[Partition]] = {}
        self._recent: deque[tuple[Partition, Chunk]] = deque()
        self._recent_bytes = 0

    # -- what the writer tells --------------------------------------------------------------------

    def changed(self, listing: Listing) -> None:
        """Take in partitions as they are in the database now."""
        for partition_id, topic, number, begin, end in listing:
            partition = self._by_id.get(partition_id)
            if partition is None:
                partition = self._by_id[partition_id] = Partition(partition_id, topic, number, begin, end)
                partitions = self._by_name.setdefault(topic, [])
                partitions.append(partition)
                partitions.sort(key=lambda one: one.number)
            self._move(partition, begin, end)
            while partition.recent and partition.recent[0].last < partition.begin:
                partition.recent.popleft()  # what retention has removed is gone for everybody

    def stored(self, chunks: list[tuple[int, Chunk]]) -> None:
        """Take in chunks that have just become durable."""
        for partition_id, chunk in chunks:
            partition = self._by_id[partition_id]
            if partition.followers:
                self._remember(partition, chunk)
            self._move(partition, partition.begin, chunk.last + 1)

    def _move(self, partition: Partition, begin: int, end: int) -> None:
        if begin > partition.begin or end > partition.end:
            partition.begin, partition.end = max(partition.begin, begin), max(partition.end, end)
            for follower in partition.followers:
                follower.moved(partition)

    def _remember(self, partition: Partition, chunk: Chunk) -> None:
        recent = partition.recent
        if recent and recent[-1].last + 1 != chunk.base:
            recent.clear()  # another process has appended in between
        recent.append(chunk)
        self._recent.append((partition, chunk))
        self._recent_bytes += chunk.size + RECORD_BYTES * len(chunk.rows)
        while self._recent_bytes > RECENT_BYTES or len(self._recent) > RECENT_CHUNKS:
            other, oldest = self._recent.popleft()
            self._recent_bytes -= oldest.size + RECORD_BYTES * len(oldest.rows)
            if other.recent and other.recent[0] is oldest:
                other.recent.popleft()

    # -- finding ----------------------------------------------------------------------------------

    def partitions(self, topic: str) -> list[Partition]:
        """Return a topic's partitions in order."""
        try:
            return self._by_name[topic]
        except KeyError:
            raise UnknownTopicError(f"topic {topic}: unknown; create it first, there are: {self._names()}") from None

    def partition(self, topic: str, number: int) -> Partition:
        """Return one partition."""
        partitions = self.partitions(topic)
        if not 0 <= number < len(partitions):
            raise UnknownTopicError(f"topic {topic}: got partition {number}, it has 0 to {len(partitions) - 1}")
        return partitions[number]

    def _names(self) -> str:
        return ", ".join(sorted(self._by_name)) or "none"

    def offset_at(self, partition: Partition, timestamp: int) -> int:
        """Return the first offset with that timestamp or a later one, the end if there is none."""
        low, high = key_of(partition.id, 0), key_of(partition.id + 1, 0) - 1
        one = self._connection.execute
        with mapped(self._path):
            last = one("SELECT id FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", (low, high)).fetchone()
            if last is None:
                return partition.end
            # Every record before the first chunk whose peak reaches the timestamp is older.
            high = last[0]
            while low < high:
                middle = (low + high) // 2
                chunk_id, peak = one(
                    "SELECT id, peak FROM chunk WHERE id >= ? ORDER BY id LIMIT 1", (middle,)
                ).fetchone()
                if peak >= timestamp:
                    high = middle
                else:
                    low = chunk_id + 1
            row = one(
                "SELECT * FROM chunk WHERE id BETWEEN ? AND ? AND newest >= ? ORDER BY id LIMIT 1",
                (low, last[0], timestamp),
            ).fetchone()
        if row is None:
            return partition.end
        chunk = self._decoded(partition, row)
        times = zip(chunk.offsets, chunk.rows.timestamps, strict=True)
        return next((offset for offset, time in times if time >= timestamp), chunk.last + 1)

    # -- reading ----------------------------------------------------------------------------------

    def chunks(self, partition: Partition, offset: int) -> Generator[Chunk, None, None]:
        """Go through chunks from the one that covers `offset` on; may stop early, but not before the first.

        The caller closes the generator: until then it may hold a read transaction open.
        """
        recent = partition.recent
        if recent and recent[0].base <= offset <= recent[-1].last:
            start = bisect_right(recent, offset, key=_base) - 1
            for index in range(start, len(recent)):
                yield recent[index]
            return
        with mapped(self._path, partition), closing(self._connection.cursor()) as cursor:
            cursor.execute(
                "SELECT * FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id",
                (key_of(partition.id, offset), key_of(partition.id + 1, 0) - 1),
            )
            for row in cursor:
                try:
                    yield self._decoded(partition, row)
                except CorruptLogError:
                    if not self._skip_damaged:
                        raise
                    # Nothing, and where it goes on: the reader misses what lies before.
                    last = offset_of(row[0])
                    yield Chunk(last + 1, last, Rows([], [], []), range(0), 0)

    def _decoded(self, partition: Partition, row: Stored) -> Chunk:
        if is_whole(row):
            try:
                return decode(row)
            except msgspec.DecodeError as error:
                raise self._damaged(partition, row, str(error)) from error
        raise self._damaged(partition, row, "checksum does not match")

    def _damaged(self, partition: Partition, row: Stored, why: str) -> CorruptLogError:
        return CorruptLogError(
            f"{self._path}: {partition}, offsets {row[1]} to {offset_of(row[0])}: {why}; "
            "restore the file, or set `damaged: skip` on the broker to go on behind them"
        )


def _base(chunk: Chunk) -> int:
    return chunk.base
