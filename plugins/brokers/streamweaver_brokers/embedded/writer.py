"""The one thread that writes: it stores all units of work that wait in one transaction (group commit)."""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import attrs

from streamweaver import BrokerError, ConflictError, Rows
from streamweaver_brokers.embedded import changes
from streamweaver_brokers.embedded.changes import Changes, Row
from streamweaver_brokers.embedded.failure import of_sqlite
from streamweaver_brokers.embedded.fold import Fold
from streamweaver_brokers.embedded.rows import Chunk, checksum, joined, key_of, offset_of, payloads
from streamweaver_brokers.embedded.state import StateReader
from streamweaver_brokers.embedded.upkeep import Upkeep

WATCH_SECONDS = 0.045
"""How often an idle writer looks for what other processes have appended."""

QUIET_TICKS = 10

CHECKPOINT_BYTES = 8 << 20
"""A write-ahead log that has grown by about as much is copied into the database, after its units are answered."""

CHECKPOINT_IDLE_SECONDS = 2.0

TRANSACTION_BYTES = 16 << 10
"""What a transaction adds to the write-ahead log beside its payloads: some pages, each written as a whole."""

PAGE_BYTES = 4096

log = logging.getLogger("streamweaver.broker")


@attrs.define(slots=True, eq=False)
class Work:
    """What one unit of work wants stored."""

    consumer: str | None
    appends: list[tuple[int, Rows]] = attrs.field(factory=list)
    marks: dict[int, int] = attrs.field(factory=dict)
    state: Changes = attrs.field(factory=dict)
    position: bytes | None = None
    expected: dict[int, int] = attrs.field(factory=dict)
    """Partition ids, and where they must end for the unit to be stored."""
    done: "asyncio.Future[None] | None" = None


@attrs.define(slots=True, eq=False)
class Call:
    """A function to run in the writer's thread, between two transactions."""

    function: Callable[[sqlite3.Connection], Any]
    done: "asyncio.Future[Any]"


@attrs.define(slots=True)
class Tail:
    """Where the next chunk of a partition goes, as the writer knows it."""

    end: int
    peak: int
    total: int


Listing: TypeAlias = list[tuple[int, str, int, int, int]]
"""All partitions: id, topic, number, begin, end."""


class Listener(Protocol):
    """Whom the writer tells, in the event loop's thread, what has become durable."""

    def stored(self, chunks: list[tuple[int, Chunk]]) -> None:
        """Take in the chunks of one transaction, by partition id."""

    def changed(self, listing: Listing) -> None:
        """Take in that another process has written, or that upkeep has moved where partitions begin."""


class Writer:
    """Owns the writing connection and its thread, from `start` to the end of `stop`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        state: StateReader,
        upkeep: Upkeep | None,
    ) -> None:
        """With `upkeep` this is the runner's, which also folds its state; a tool leaves both to it."""
        self._connection = connection
        self._path = path
        self._loop = loop
        self._listener = listener
        self._state = state
        self._upkeep = upkeep
        self._fold = None if state.recent is None else Fold(connection, state.recent, state.let_go)
        self._queue: queue.SimpleQueue[Work | Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="streamweaver-log", daemon=True)
        self._tails: dict[int, Tail] = {}
        self._data_version = -1
        self._unsaved = 0
        self._stopped: asyncio.Future[None] = loop.create_future()

    def start(self) -> Listing:
        """Start the thread; return all partitions as they are."""
        self._catch_up()
        listing = self._reload()
        self._data_version = self._read_data_version()
        self._thread.start()
        return listing

    def submit(self, work: Work) -> "asyncio.Future[None]":
        """Have a unit stored; the future is done when it is durable, or raises why it cannot be."""
        work.done = self._loop.create_future()
        self._queue.put(work)
        return work.done

    def call(self, function: Callable[[sqlite3.Connection], Any]) -> "asyncio.Future[Any]":
        """Run a function between two transactions; what it changes in the partitions is told to the listener."""
        call = Call(function, self._loop.create_future())
        self._queue.put(call)
        return call.done

    def maintain(self) -> "asyncio.Future[Any]":
        """Do all the upkeep that is due, or would be due soon, now."""
        return self.call(lambda _: self._whole_round())

    async def stop(self) -> None:
        """Store what waits, then end the thread and close the connection."""
        self._queue.put(None)
        await self._stopped
        self._thread.join()

    # -- in the thread from here on ---------------------------------------------------------------

    def _run(self) -> None:
        try:
            busy = False
            idle_since = time.monotonic()
            ticks = 0
            while True:
                units, calls, stop = self._collect(0.0 if busy else WATCH_SECONDS)
                if units:
                    self._store(units)
                for call in calls:
                    self._do(call)
                if stop:
                    break
                if not units:
                    self._watch()
                    ticks += 1
                    if not calls and not busy and ticks % QUIET_TICKS:
                        continue  # nothing happens: the rest can wait some ticks, which keeps an idle writer cheap
                busy = self._maintain()
                if units or calls or busy:
                    idle_since = time.monotonic()
                if self._unsaved >= CHECKPOINT_BYTES or (
                    self._unsaved and time.monotonic() - idle_since > CHECKPOINT_IDLE_SECONDS
                ):
                    self._checkpoint()
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._tell(_resolve, self._stopped, None)

    def _collect(self, timeout: float) -> tuple[list[Work], list[Call], bool]:
        """Wait for the first item, then take all that wait."""
        units: list[Work] = []
        calls: list[Call] = []
        try:
            item = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
            while item is not None:
                if isinstance(item, Work):
                    units.append(item)
                else:
                    calls.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return units, calls, False
        return units, calls, True

    def _store(self, units: list[Work]) -> None:
        connection = self._connection
        if self._fold is not None and (failure := self._fold.failure) is not None:
            self._tell(_refuse, [unit.done for unit in units if unit.state], failure)
            units = [unit for unit in units if not unit.state]
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._follow()
            if any(unit.expected for unit in units):
                units = self._expected(units)
            chunks, tails = self._append(units)
            self._put(units)
            state = changes.merged(unit.state for unit in units)
            rows = self._change(state)
            connection.execute("COMMIT")
        except Exception as error:  # whatever it is, the units must be answered and the thread must live
            failure = self._failed(error)
            self._tell(_refuse, [unit.done for unit in units], failure)
            return
        self._tails.update(tails)
        logged = sum(len(payload) for _, _, payload in rows)
        if rows and self._state.recent is not None:
            # Before anybody is told: who has been reads nothing older.
            self._state.recent.add(state, rows[-1][0], logged)
        pages = len(chunks) + len(rows) + sum(len(unit.marks) for unit in units)
        self._unsaved += TRANSACTION_BYTES + sum(chunk.size for _, chunk in chunks) + logged + pages * PAGE_BYTES
        self._tell(self._settle, units, chunks)

    def _expected(self, units: list[Work]) -> list[Work]:
        """Return the units whose partitions end where they expect; the others are refused, each by itself."""
        ends: dict[int, int] = {}
        kept = []
        for unit in units:
            moved = [
                f"partition {partition_id} ends at {end}, expected {offset}"
                for partition_id, offset in unit.expected.items()
                if (end := ends.get(partition_id, self._tails[partition_id].end)) != offset
            ]
            if moved:
                error = ConflictError(f"{self._path}: somebody else has appended: {'; '.join(moved)}")
                self._tell(_refuse, [unit.done], error)
                continue
            kept.append(unit)
            for partition_id, rows in unit.appends:
                ends[partition_id] = ends.get(partition_id, self._tails[partition_id].end) + len(rows)
        return kept

    def _append(self, units: list[Work]) -> tuple[list[tuple[int, Chunk]], dict[int, Tail]]:
        """Insert the rows of all units, those of one partition together."""
        by_partition: dict[int, list[Rows]] = {}
        for unit in units:
            for partition_id, rows in unit.appends:
                by_partition.setdefault(partition_id, []).append(rows)
        chunks: list[tuple[int, Chunk]] = []
        tails: dict[int, Tail] = {}
        inserts = []
        now = time.time_ns() // 1_000_000
        for partition_id, parts in by_partition.items():
            tail = self._tails[partition_id]
            end, peak, total = tail.end, tail.peak, tail.total
            for rows, payload in payloads(joined(parts)):
                base, end = end, end + len(rows)
                newest = max(rows.timestamps)
                peak = max(peak, newest)
                total += len(payload)
                chunk_id = key_of(partition_id, end - 1)
                crc = checksum(chunk_id, base, newest, peak, now, total, payload)
                inserts.append((chunk_id, base, newest, peak, now, total, crc, payload))
                chunks.append((partition_id, Chunk(base, end - 1, rows, range(base, end), len(payload))))
            tails[partition_id] = Tail(end, peak, total)
        if inserts:
            self._connection.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?)", inserts)
        return chunks, tails

    def _put(self, units: list[Work]) -> None:
        """Write offsets and positions, of each only the last."""
        marks: dict[tuple[str, int], int] = {}
        positions: dict[str, bytes] = {}
        for unit in units:
            if unit.consumer is not None:
                for partition_id, offset in unit.marks.items():
                    marks[unit.consumer, partition_id] = offset
                if unit.position is not None:
                    positions[unit.consumer] = unit.position
        many = self._connection.executemany
        if marks:
            many("INSERT OR REPLACE INTO consumed VALUES (?, ?, ?)", [(*key, offset) for key, offset in marks.items()])
        if positions:
            many("INSERT OR REPLACE INTO position VALUES (?, ?)", positions.items())

    def _change(self, state: Changes) -> list[Row]:
        """Write what has changed in the state behind what has changed before."""
        if not state:
            return []
        recent = self._state.recent
        rows = changes.rows_of(state, 1 + (changes.newest(self._connection) if recent is None else recent.last))
        self._connection.executemany("INSERT INTO change VALUES (?, ?, ?)", rows)
        return rows

    def _settle(self, units: list[Work], chunks: list[tuple[int, Chunk]]) -> None:
        """Answer the units of a transaction, in the event loop, after its rows can be read."""
        if chunks:
            self._listener.stored(chunks)
        for unit in units:
            if unit.done is not None and not unit.done.done():
                unit.done.set_result(None)

    def _do(self, call: Call) -> None:
        try:
            result = call.function(self._connection)
            self._tell(self._listener.changed, self._reload())
        except Exception as error:  # whoever asked gets it
            self._tell(_refuse, [call.done], self._failed(error))
        else:
            self._tell(_resolve, call.done, result)

    def _watch(self) -> None:
        """See whether another process has appended."""
        try:
            self._follow()
        except Exception as error:  # what others do can wait, the thread must live: units come to it
            log.debug("cannot look for what others appended: %s", error)

    def _maintain(self) -> bool:
        """Do a small piece of folding and one of upkeep; return whether more is due at once."""
        folding = self._fold is not None and self._fold_some(self._fold)
        return (self._upkeep is not None and self._keep_up(self._upkeep)) or folding

    def _fold_some(self, fold: Fold) -> bool:
        """Fold a piece, and as many more as the next unit would have to wait for."""
        try:
            more, written = fold.step()
            self._wrote(written)
            while fold.is_late:
                more, written = fold.step()
                self._wrote(written)
            return more
        except Exception as error:  # it can wait, the units that come cannot
            failure = self._failed(error)
            log.warning("folding of state put off: %s", failure)
            fold.put_off(failure)
            return False

    def _keep_up(self, upkeep: Upkeep) -> bool:
        try:
            more, written = upkeep.step()
            self._wrote(written)
            if written:
                self._tell(self._listener.changed, self._reload())
            return more
        except Exception as error:  # as for folding
            log.warning("upkeep put off: %s", self._failed(error))
            upkeep.put_off()
            return False

    def _whole_round(self) -> None:
        for pieces in (self._fold and self._fold.whole(), self._upkeep and self._upkeep.whole_round()):
            for written in pieces or ():
                self._wrote(written)

    def _wrote(self, size: int) -> None:
        self._unsaved += size
        if self._unsaved >= CHECKPOINT_BYTES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Copy the write-ahead log into the database; it then starts anew."""
        self._unsaved = 0
        if self._upkeep is None:
            return  # a tool: the runner does it, or the last one to leave
        try:
            # Who has a snapshot open keeps what is newer from being copied; who opens one meanwhile, the log from
            # starting anew.
            self._state.let_go()
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._state.let_go()
        except Exception as error:  # as for upkeep
            log.warning("checkpoint put off: %s", self._failed(error))

    def _follow(self) -> None:
        """Take in what another process has written, if any has."""
        if (version := self._read_data_version()) != self._data_version:
            self._catch_up()
            self._tell(self._listener.changed, self._reload())
            self._data_version = version

    def _catch_up(self) -> None:
        """Take the changes of state into memory that are stored and not there yet."""
        if (recent := self._state.recent) is not None:
            for last, size, found in changes.read(self._connection, self._path, recent.last):
                recent.add(found, last, size)

    def _read_data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _reload(self) -> Listing:
        listing: Listing = []
        for partition_id, topic, number, begin in self._connection.execute(
            "SELECT id, topic, number, begin FROM partition ORDER BY id"
        ).fetchall():
            tail = self._tail(partition_id, begin)
            self._tails[partition_id] = tail
            listing.append((partition_id, topic, number, begin, tail.end))
        return listing

    def _tail(self, partition_id: int, begin: int) -> Tail:
        row = self._connection.execute(
            "SELECT id, peak, total FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
            (key_of(partition_id, 0), key_of(partition_id + 1, 0) - 1),
        ).fetchone()
        return Tail(offset_of(row[0]) + 1, row[1], row[2]) if row else Tail(begin, 0, 0)

    def _failed(self, error: Exception) -> BrokerError:
        """Undo the open transaction and return the error for those who asked."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as worse:
            log.warning("cannot roll back: %s", worse)
        if isinstance(error, sqlite3.Error):
            return of_sqlite(error, self._path)
        if isinstance(error, BrokerError):
            return error
        failure = BrokerError(f"{self._path}: defect of the broker: {error!r}")
        failure.__cause__ = error
        return failure

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed without closing the broker
            self._loop.call_soon_threadsafe(function, *arguments)


def _resolve(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def _refuse(futures: "Iterable[asyncio.Future[Any] | None]", error: BrokerError) -> None:
    """Fail each with an error of its own: one that is raised twice would gather tracebacks."""
    for future in futures:
        if future is not None and not future.done():
            own = type(error)(*error.args)
            own.__cause__ = error.__cause__
            future.set_exception(own)
