"""The plugin: opening, topics, groups and readers over one SQLite file."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from streamweaver import (
    BrokerContext,
    BrokerError,
    CorruptLogError,
    Delivery,
    PartitionRange,
    StorageError,
    TopicMismatchError,
    TopicSpec,
    broker,
    option,
)
from streamweaver_brokers.embedded import schema
from streamweaver_brokers.embedded.check import Damage, check
from streamweaver_brokers.embedded.failure import mapped, of_system
from streamweaver_brokers.embedded.follow import Tap
from streamweaver_brokers.embedded.lane import GroupMembership, Unit
from streamweaver_brokers.embedded.lock import RunLock, holder
from streamweaver_brokers.embedded.log import Log
from streamweaver_brokers.embedded.recent import Recent
from streamweaver_brokers.embedded.state import StateReader
from streamweaver_brokers.embedded.upkeep import Upkeep, spec_from_bytes, spec_to_bytes
from streamweaver_brokers.embedded.writer import Work, Writer

CUT_OFF_SECONDS = 1.0
"""How long a commit that is cancelled waits for the writer's answer; only a disk that hangs takes so long."""


class Session:
    """What lies between `open` and `close`: the lock, the connections and the writer's thread."""

    def __init__(self, context: BrokerContext, options: "Embedded") -> None:
        self.is_runner = context.role == "run"
        self.path = context.data_dir / schema.NAME
        self.lines: dict[str, list[GroupMembership]] = {}
        """The members of each group, in the order in which they get its lane."""
        self._closed = False
        self._read_only = False
        with contextlib.ExitStack() as undoing:
            self._lock = self._take_lock(context) if self.is_runner else None
            undoing.callback(self._unlock)
            if self.is_runner:
                mode = "rw"
                writing = schema.open_for_run(context.data_dir, options.durability)
            else:
                writing, mode = schema.open_for_tool(context.data_dir, options.durability)
            undoing.callback(writing.close)
            self._read_only = mode != "rw"
            with mapped(self.path):
                self._reading = schema.connect(self.path, mode=mode)
                undoing.callback(self._reading.close)
                recent = Recent() if self.is_runner else None
                self.state = StateReader(schema.connect(self.path, mode=mode), self.path, recent)
                undoing.callback(self.state.close)
            self._start(writing, options)
            undoing.pop_all()

    def _start(self, writing: sqlite3.Connection, options: "Embedded") -> None:
        self.log = Log(self._reading, self.path, skip_damaged=options.damaged == "skip")
        upkeep = (
            Upkeep(writing, self.path, round(options.tombstone_retention_seconds * 1000)) if self.is_runner else None
        )
        self._writer = Writer(writing, self.path, asyncio.get_running_loop(), self.log, self.state, upkeep)
        with mapped(self.path):
            self.log.changed(self._writer.start())

    @staticmethod
    def _take_lock(context: BrokerContext) -> RunLock:
        try:
            if not context.data_dir.is_dir():
                context.data_dir.mkdir(parents=True, exist_ok=True)
                _make_durable(context.data_dir)
        except OSError as error:
            raise of_system(error, context.data_dir) from error
        return RunLock(context.data_dir, context.pipeline)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    async def close(self) -> None:
        """Store what waits, then let go of everything."""
        self._closed = True
        await self._writer.stop()
        self._reading.close()
        self.state.close()
        self._unlock()

    # -- writing ----------------------------------------------------------------------------------

    async def submit(self, work: Work) -> None:
        """Have a unit stored.

        The writer cannot be called off, so a cancellation is raised only when it has answered: who then asks what is
        stored gets to know what became of the unit. Or after `CUT_OFF_SECONDS`, where the disk does not answer: then it
        may still be stored until the broker is closed.
        """
        self._check_writable()
        stored = self._writer.submit(work)
        try:
            await asyncio.wait({stored})
        except asyncio.CancelledError:
            try:
                await asyncio.wait({stored}, timeout=CUT_OFF_SECONDS)
            finally:
                if not stored.cancel():
                    stored.exception()  # looked at, so that it is not reported as one that never was
            raise
        stored.result()

    async def create(self, topics: Sequence[TopicSpec]) -> None:
        """Create or change topics, all or none."""
        self._check_writable()

        def store(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            _create(connection, topics)
            connection.execute("COMMIT")

        await self._writer.call(store)

    async def maintain(self) -> None:
        """Do all upkeep now."""
        self._check_writable()
        await self._writer.maintain()

    def _check_writable(self) -> None:
        if self._closed:
            raise BrokerError(f"{self.path}: the broker is closed")
        if self._read_only:
            raise StorageError(f"{self.path}: it is read-only; check the mount and the permissions of the folder")

    # -- reading ----------------------------------------------------------------------------------

    def topics(self) -> dict[str, TopicSpec]:
        """Return all topics as declared."""
        with mapped(self.path):
            rows = self._reading.execute("SELECT name, spec FROM topic ORDER BY name").fetchall()
        return {name: spec_from_bytes(spec) for name, spec in rows}

    def offsets(self, group: str) -> dict[tuple[str, int], int]:
        """Return the committed offsets of a group, also of partitions that another process has just made."""
        with mapped(self.path):
            found = self._reading.execute(
                "SELECT topic, number, offset FROM consumed JOIN partition ON id = partition WHERE consumer = ?",
                (group,),
            )
            return {(topic, number): offset for topic, number, offset in found.fetchall()}

    def position(self, group: str) -> bytes | None:
        """Return the committed position of a group's producer."""
        with mapped(self.path):
            row = self._reading.execute("SELECT position FROM position WHERE consumer = ?", (group,)).fetchone()
        return None if row is None else row[0]


@broker("embedded", example="use: embedded")
@attrs.define(eq=False)
class Embedded:
    """Topics, offsets and state in one SQLite file: exactly-once on one machine, with nothing to install.

    One pipeline runs on a data folder at a time; any number of tools may read it, and append, beside the pipeline.
    """

    durability: Literal["full", "process"] = option(
        default="full",
        help="`full`: what is committed survives power loss; `process`: survives a kill, not power loss; faster",
        choices=("full", "process"),
    )
    damaged: Literal["stop", "skip"] = option(
        default="stop",
        help="what a reader does at stored records that fail their checksum; skipped ones are counted as lost",
        choices=("stop", "skip"),
    )
    tombstone_retention_seconds: float = option(
        default=86_400.0, help="how long a compacted topic keeps tombstones, so that every reader sees them", ge=0
    )

    delivery: Delivery = attrs.field(default="exactly_once", init=False, repr=False)
    shares_work: bool = attrs.field(default=False, init=False, repr=False)
    max_record_bytes: int | None = attrs.field(default=None, init=False, repr=False)
    _session: Session | None = attrs.field(default=None, init=False, repr=False)

    async def open(self, context: BrokerContext, /) -> None:
        """Take the folder's lock (as a runner), open the file and start the writer."""
        if self._session is not None:
            raise BrokerError(f"{self._session.path}: the broker is open already")
        self._session = Session(context, self)

    async def close(self) -> None:
        """Store what waits and let go of the folder."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def create(self, topics: Sequence[TopicSpec], /) -> None:
        """Make sure that the topics exist as declared."""
        session = self._opened()
        if session.is_runner:
            await session.create(topics)
        elif missing := sorted({spec.name for spec in topics} - session.topics().keys()):
            raise BrokerError(f"{session.path}: no topics {', '.join(missing)} yet; the running pipeline creates them")

    async def topics(self) -> dict[str, TopicSpec]:
        """Return the topics that exist."""
        return self._opened().topics()

    async def ranges(self, topic: str, /) -> list[PartitionRange]:
        """Return what each partition holds."""
        return [PartitionRange(found.begin, found.end) for found in self._opened().log.partitions(topic)]

    async def offset_at(self, topic: str, partition: int, timestamp: int, /) -> int:
        """Return the first offset with that timestamp or a later one; the end when there is none."""
        log = self._opened().log
        return log.offset_at(log.partition(topic, partition), timestamp)

    async def offsets(self, group: str, /) -> dict[tuple[str, int], int]:
        """Return the committed offsets of a group."""
        return self._opened().offsets(group)

    async def join(self, group: str, topics: Sequence[str], /, *, single: bool = False) -> GroupMembership:  # noqa: ARG002
        """Join a group; every group has one lane here, so `single` changes nothing."""
        session = self._opened()
        if not session.is_runner:
            raise BrokerError(f"group {group}: only a running pipeline may join a group; a tool uses `reader`")
        committed = session.offsets(group)
        for partition in (found for topic in topics for found in session.log.partitions(topic)):
            if (offset := committed.get(partition.place, 0)) > partition.end:
                raise CorruptLogError(
                    f"group {group}: topic {partition.topic}, partition {partition.number}: offset {offset} is "
                    f"committed, but the partition ends at {partition.end}; restore the file, or remove the data folder"
                )
        return GroupMembership(session, group, tuple(topics))

    async def reader(self, starts: Mapping[tuple[str, int], int], /) -> Tap:
        """Open a reader at the given offsets."""
        log = self._opened().log
        return Tap(log, {log.partition(topic, number): offset for (topic, number), offset in starts.items()})

    def begin(self) -> Unit:
        """Start a unit of work outside any group."""
        return Unit(self._opened(), None)

    def state_items(self, store: str, partition: int, /) -> Iterator[tuple[bytes, bytes]]:
        """Go through the committed values of a state store."""
        return self._opened().state.items(store, partition)

    async def holder(self) -> str | None:
        """Return who runs a pipeline on the folder; None when nobody does."""
        return holder(self._opened().path.parent)

    async def maintain(self) -> None:
        """Do retention, compaction and giving back space now, instead of bit by bit."""
        await self._opened().maintain()

    @staticmethod
    def check(path: Path) -> list[Damage]:
        """Verify the log in a data folder, open or not; see `check.check`."""
        return check(path)

    def _opened(self) -> Session:
        if self._session is None:
            raise BrokerError("the embedded broker is not open")
        return self._session


def _make_durable(folder: Path) -> None:
    """Have a new folder survive power loss: SQLite syncs the folder of its file, but not the ones above."""
    for parent in folder.absolute().parents[:3]:
        descriptor = os.open(parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _create(connection: sqlite3.Connection, topics: Sequence[TopicSpec]) -> None:
    stored = {name: spec_from_bytes(spec) for name, spec in connection.execute("SELECT name, spec FROM topic")}
    wrong = []
    for spec in topics:
        known = stored.get(spec.name)
        if spec.partitions < 1:
            wrong.append(f"topic {spec.name}: got {spec.partitions} partitions, expected at least 1")
        elif known is not None and known.partitions != spec.partitions:
            wrong.append(
                f"topic {spec.name}: it has {known.partitions} partitions, declared are {spec.partitions}; order and "
                "state by key depend on the number, so take another topic name, or start with a new data folder"
            )
    if wrong:
        raise TopicMismatchError("\n".join(wrong))
    for spec in topics:
        connection.execute("INSERT OR REPLACE INTO topic VALUES (?, ?)", (spec.name, spec_to_bytes(spec)))
        for number in range(spec.partitions):
            connection.execute("INSERT OR IGNORE INTO partition (topic, number) VALUES (?, ?)", (spec.name, number))
