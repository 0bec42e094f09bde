"""Retention, compaction and giving space back, in small pieces so that no commit waits for long.

Runs in the writer's thread. A round goes over all partitions; each piece is one short transaction.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import msgspec

from streamweaver import Rows, TopicSpec
from streamweaver_brokers.embedded.failure import of_sqlite
from streamweaver_brokers.embedded.rows import (
    CHUNK_BYTES,
    CHUNK_RECORDS,
    Chunk,
    Stored,
    checksum,
    decode,
    encode,
    is_whole,
    joined,
    key_of,
    offset_of,
)
from streamweaver_brokers.embedded.schema import transaction

ROUND_SECONDS = 5.0
PIECE_BYTES = 1 << 20
PIECE_CHUNKS = 500
VACUUM_PAGES = 256
MERGED_CHUNKS = 100
LEAST_DIRTY = 1_000
"""Records that a compaction must have before it, at least, to be worth a pass."""
MAP_BYTES = 64 << 20
"""Bytes of keys that one pass of compaction keeps in memory; more keys take more passes."""

log = logging.getLogger("streamweaver.broker")

_decode_spec = msgspec.msgpack.Decoder(dict).decode


def spec_to_bytes(spec: TopicSpec) -> bytes:
    """Return a topic's declaration as it is stored."""
    return msgspec.msgpack.encode(attrs.asdict(spec) | {"settings": dict(spec.settings)})


def spec_from_bytes(data: bytes) -> TopicSpec:
    """Return a stored declaration."""
    return TopicSpec(**_decode_spec(data))


@attrs.frozen
class _Partition:
    id: int
    begin: int
    clean: int
    kept: int
    tombstone: int | None
    spec: TopicSpec


class Upkeep:
    """Does the next piece of work each time it is asked; keeps no more than a place in the round."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, tombstone_ms: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._connection = connection
        self._path = path
        self._tombstone_ms = tombstone_ms
        self._clock = clock
        self._round: Iterator[int] | None = None
        self._due = time.monotonic() + ROUND_SECONDS

    def step(self) -> tuple[bool, int]:
        """Do one piece if any is due; return whether more waits, and about how many bytes were written."""
        if self._round is None:
            if time.monotonic() < self._due:
                return False, 0
            self._round = self._pieces(eager=False)
        written = next(self._round, None)
        if written is None:
            self.put_off()
            return False, 0
        return True, written

    def put_off(self) -> None:
        """Give the round up (the disk is full, say) and start another one later."""
        self._round = None
        self._due = time.monotonic() + ROUND_SECONDS

    def whole_round(self) -> Iterator[int]:
        """Do a whole round at once, and compact also where there is little to gain; yields as bytes are written."""
        self._round = None
        yield from self._pieces(eager=True)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _pieces(self, *, eager: bool) -> Iterator[int]:
        """Go over all partitions; yields after each transaction the bytes written."""
        rows = self._connection.execute(
            "SELECT id, begin, clean, kept, tombstone, spec FROM partition JOIN topic ON name = topic"
        ).fetchall()
        for partition_id, begin, clean, kept, tombstone, spec in rows:
            partition = _Partition(partition_id, begin, clean, kept, tombstone, spec_from_bytes(spec))
            try:
                if partition.spec.cleanup != "compact":
                    yield from self._retain(partition)
                if partition.spec.cleanup != "delete" and self._wants_compaction(partition, eager=eager):
                    yield from self._compact(partition)
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
                    raise
                self._roll_back()
                log.warning("no upkeep of %s: %s", partition.spec.name, of_sqlite(error, self._path))
        yield from self._give_back()

    # -- retention --------------------------------------------------------------------------------

    def _retain(self, partition: _Partition) -> Iterator[int]:
        spec = partition.spec
        if spec.retention_ms is None and spec.retention_bytes is None:
            return
        while True:
            cut = self._first_kept(partition)
            if cut is None:
                return
            first, last, begin = cut
            with transaction(self._connection):
                self._connection.execute("DELETE FROM chunk WHERE id BETWEEN ? AND ?", (first, last))
                self._connection.execute("UPDATE partition SET begin = ? WHERE id = ?", (begin, partition.id))
            yield PIECE_BYTES // 8

    def _first_kept(self, partition: _Partition) -> tuple[int, int, int] | None:
        """Return the ids of the first and the last chunk to remove now, and the first offset that stays."""
        spec = partition.spec
        low, high = key_of(partition.id, 0), key_of(partition.id + 1, 0) - 1
        newest = self._connection.execute(
            "SELECT id, total FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", (low, high)
        ).fetchone()
        if newest is None:
            return None
        oldest = self._now() - spec.retention_ms if spec.retention_ms is not None else None
        surplus = 0
        if spec.retention_bytes is not None:
            surplus = self._size(partition, newest[1]) - spec.retention_bytes
        first = last = None
        size = 0
        for chunk_id, stored, length in self._connection.execute(
            "SELECT id, stored, length(payload) FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
            (low, high, PIECE_CHUNKS),
        ).fetchall():
            too_old = oldest is not None and stored < oldest
            too_much = surplus > 0 and chunk_id != newest[0]
            if not (too_old or too_much) or size > PIECE_BYTES:
                break
            first, last = first or chunk_id, chunk_id
            size += length
            surplus -= length
        if first is None or last is None:
            return None
        return first, last, offset_of(last) + 1

    def _size(self, partition: _Partition, total: int) -> int:
        low, high = key_of(partition.id, 0), key_of(partition.id + 1, 0) - 1
        if partition.spec.cleanup == "delete":
            before = self._connection.execute(
                "SELECT total - length(payload) FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", (low, high)
            ).fetchone()
            return int(total - before[0])
        # A compaction leaves few and big chunks, whose running total also counts what it removed.
        found = self._connection.execute("SELECT sum(length(payload)) FROM chunk WHERE id BETWEEN ? AND ?", (low, high))
        return int(found.fetchone()[0])

    # -- compaction -------------------------------------------------------------------------------

    def _wants_compaction(self, partition: _Partition, *, eager: bool) -> bool:
        row = self._connection.execute(
            "SELECT id FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
            (key_of(partition.id, 0), key_of(partition.id + 1, 0) - 1),
        ).fetchone()
        if row is None:
            return False
        dirty = offset_of(row[0]) + 1 - max(partition.clean, partition.begin)
        expired = partition.tombstone is not None and partition.tombstone + self._tombstone_ms < self._now()
        return expired or (eager and dirty > 0) or dirty >= max(LEAST_DIRTY, partition.kept // 2)

    def _compact(self, partition: _Partition) -> Iterator[int]:
        """Remove superseded records. Broken off anywhere it has done no harm, and starts again at `clean`.

        The first pass learns the newest offset of each key in what came since the last compaction; the second goes
        over everything up to there and rewrites the chunks that hold older ones.
        """
        newest: dict[bytes, int] = {}
        room = MAP_BYTES
        until = partition.clean
        for row in self._chunks(partition.id, partition.clean):
            yield 0
            if row is None:
                continue
            chunk = decode(row)
            for key, offset in zip(chunk.rows.keys, chunk.offsets, strict=True):
                if key is not None and offset >= partition.clean:
                    room -= 0 if key in newest else len(key) + 100
                    newest[key] = offset
            until = chunk.last + 1
            if room < 0:
                break
        kept = 0
        tombstone: int | None = None
        grain = self._grain(partition.spec)
        waiting: list[tuple[Stored, Rows, list[int]]] = []
        for row in self._chunks(partition.id, partition.begin):
            if row is None:  # damaged: it stays as it is
                yield self._rewrite(waiting)
                waiting = []
                continue
            if offset_of(row[0]) >= until:
                break
            rows, offsets, oldest = self._survivors(row, newest)
            kept += len(offsets)
            if oldest is not None:
                tombstone = min(tombstone or oldest, oldest)
            written = 0
            if waiting and not _fits(waiting, row, rows, grain):
                written = self._rewrite(waiting)
                waiting = []
            waiting.append((row, rows, offsets))
            yield written
        written = self._rewrite(waiting)
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE partition SET clean = ?, kept = ?, tombstone = ? WHERE id = ?",
                (until, kept, tombstone, partition.id),
            )
        yield written + 1

    def _grain(self, spec: TopicSpec) -> int:
        """Return within how many ms chunks must have been stored to become one: else none would ever grow old."""
        return max(1, min(self._tombstone_ms, spec.retention_ms or self._tombstone_ms) // 8)

    def _survivors(self, row: Stored, newest: dict[bytes, int]) -> tuple[Rows, list[int], int | None]:
        """Return what stays of a chunk, with the offsets, and when it was stored if a tombstone stays."""
        chunk = decode(row)
        rows = chunk.rows
        expired = row[4] + self._tombstone_ms < self._now()
        stay = [
            index
            for index, (key, value, offset) in enumerate(zip(rows.keys, rows.values, chunk.offsets, strict=True))
            if key is None or (newest.get(key, offset) <= offset and not (value is None and expired))
        ]
        if len(stay) == len(rows):
            left = rows
        else:
            left = Rows(
                [rows.keys[index] for index in stay],
                [rows.values[index] for index in stay],
                [rows.timestamps[index] for index in stay],
                [rows.headers[index] for index in stay] if rows.headers else None,
            )
        holds = any(value is None and key is not None for key, value in zip(left.keys, left.values, strict=True))
        return left, [chunk.offsets[index] for index in stay], row[4] if holds else None

    def _rewrite(self, waiting: list[tuple[Stored, Rows, list[int]]]) -> int:
        """Store what stays of neighbouring chunks as one, which covers all of their offsets; return bytes written."""
        if not waiting or (len(waiting) == 1 and len(waiting[0][1]) == decode_count(waiting[0][0])):
            return 0
        first, last = waiting[0][0], waiting[-1][0]
        chunk_id, base, peak, total = last[0], first[1], last[3], last[5]
        rows = joined([rows for _, rows, _ in waiting])
        offsets = [offset for _, _, some in waiting for offset in some]
        newest = max(rows.timestamps, default=-(1 << 62))
        stored = max(row[4] for row, _, _ in waiting)
        whole = len(offsets) == offset_of(chunk_id) + 1 - base
        payload = encode(rows, None if whole else [offset - base for offset in offsets])
        crc = checksum(chunk_id, base, newest, peak, stored, total, payload)
        with transaction(self._connection):
            self._connection.execute("DELETE FROM chunk WHERE id BETWEEN ? AND ?", (first[0], last[0]))
            self._connection.execute(
                "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (chunk_id, base, newest, peak, stored, total, crc, payload),
            )
        return len(payload) + PIECE_BYTES // 8

    def _chunks(self, partition_id: int, offset: int) -> Iterator[Stored | None]:
        """Go through the chunks from the one that covers `offset` on; None stands for one that is damaged."""
        next_id, high = key_of(partition_id, offset), key_of(partition_id + 1, 0) - 1
        while True:
            # One at a time: nothing may be open while the writer stores between two pieces.
            row: Stored | None = self._connection.execute(
                "SELECT * FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", (next_id, high)
            ).fetchone()
            if row is None:
                return
            yield row if is_whole(row) else None
            next_id = row[0] + 1

    # -- space ------------------------------------------------------------------------------------

    def _give_back(self) -> Iterator[int]:
        """Shrink the file while much of it is unused; some is left, for what comes next."""
        while True:
            (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            if free <= max(16 * VACUUM_PAGES, pages // 4):
                return
            self._connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
            yield VACUUM_PAGES * 4096

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def decode_count(row: Stored) -> int:
    """Return how many records a stored chunk holds."""
    chunk: Chunk = decode(row)
    return len(chunk.rows)


def _fits(waiting: list[tuple[Stored, Rows, list[int]]], row: Stored, rows: Rows, grain: int) -> bool:
    """Whether a chunk may become one with those that wait."""
    size = sum(len(other[7]) for other, _, _ in waiting) + len(row[7])
    count = sum(len(other) for _, other, _ in waiting) + len(rows)
    small = size <= CHUNK_BYTES and count <= CHUNK_RECORDS and len(waiting) < MERGED_CHUNKS
    return small and row[4] // grain == waiting[0][0][4] // grain
