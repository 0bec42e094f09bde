"""What lies between a broker's `open` and `close`: the connections, and who uses them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from aiokafka import TopicPartition

from streamweaver import BrokerContext, BrokerError, ConflictError, Rows, TopicSpec, UnknownTopicError
from streamweaver_brokers.kafka.client import Clients
from streamweaver_brokers.kafka.cluster import OVERHEAD_BYTES, Cluster
from streamweaver_brokers.kafka.failure import FAILURES, FENCED, mapped, named, root, text
from streamweaver_brokers.kafka.group import Membership
from streamweaver_brokers.kafka.packer import pack
from streamweaver_brokers.kafka.quiet import Quieter, Spare
from streamweaver_brokers.kafka.reader import Reader
from streamweaver_brokers.kafka.sender import Batches, Ends, Sender, Shared

RowsOf: TypeAlias = Mapping[TopicPartition, Sequence[Rows]]
"""Rows by partition, in order."""

RESTORES = 4
"""Lanes that restore their state at the same time."""


class Session:
    """One open broker."""

    def __init__(
        self,
        context: BrokerContext,
        clients: Clients,
        *,
        instance: str | None,
        session_seconds: float,
        transaction_seconds: float,
        pause_seconds: float,
        max_record_bytes: int,
        unique: str,
    ) -> None:
        self.clients = clients
        self.cluster = Cluster(clients)
        self.is_runner = context.role == "run"
        self.transactional = context.delivery == "exactly_once"
        self.log = context.log
        self._quieter = Quieter(context.log)
        self._spare = Spare()
        self.data_dir = context.data_dir
        self.instance = instance
        self.worker = instance or unique
        """A name that no other process has, unless two were given the same instance name."""
        self.session_seconds = session_seconds
        self.heartbeat_seconds = session_seconds / 6
        self.fenced_seconds = 2.5 * self.heartbeat_seconds
        self.transaction_seconds = transaction_seconds
        self.pause_seconds = pause_seconds if self.transactional else 0.0
        self.max_record_bytes = max_record_bytes
        self.step = clients.step_seconds
        self.restoring = asyncio.Semaphore(RESTORES)
        self.members: set[Membership] = set()
        self.readers: set[Reader] = set()
        self._once = Shared(lambda: Sender(clients))
        # A name of its own: it must fence nobody. Nobody will fence it either, so its transactions are short.
        transactional_id = f"{context.pipeline}.outside.{unique}"
        self._short_seconds = min(10.0, transaction_seconds)
        self._whole = Shared(lambda: Sender(clients, transactional_id, self._short_seconds), alone=True)
        self._pipeline = context.pipeline
        self._committed: dict[str, dict[tuple[str, int], int]] = {}

    async def open(self) -> None:
        """Connect."""
        self._quieter.begin()
        try:
            await self.cluster.open()
        except BaseException:
            self._quieter.end()
            raise

    async def close(self) -> None:
        """Let what is being stored come to its end, then let go of everything."""
        try:
            for member in list(self.members):
                await member.leave()
            for reader in list(self.readers):
                await reader.close()
            await self._once.close()
            await self._whole.close()
            await self.cluster.close()
        finally:
            self._quieter.end()

    async def create(self, topics: Sequence[TopicSpec], *, may_alter: bool) -> None:
        """Make sure that topics exist; then it is known what the one takes that takes least."""
        await self.cluster.create(topics, may_create=self.is_runner, may_alter=may_alter and self.is_runner)
        limit = await self.cluster.max_message_bytes([spec.name for spec in topics])
        if limit is not None:
            self.max_record_bytes = max(1, min(self.max_record_bytes, limit - OVERHEAD_BYTES))
            self.clients.limit_batches(limit)

    async def widen_state(self, topic: str, width: int) -> None:
        """Make sure that a state topic exists and has so many partitions."""
        try:
            have = await self.cluster.partitions(topic)
        except UnknownTopicError:
            have = 0
        if have < width:
            await self.cluster.create([TopicSpec(name=topic, partitions=width, cleanup="compact")], may_alter=True)

    async def check_parts(self, parts: Iterable[TopicPartition]) -> None:
        """Raise UnknownTopicError for a topic or partition that does not exist; the client would wait for it."""
        for part in parts:
            count = await self.cluster.partitions(part.topic)
            if part.partition >= count:
                raise UnknownTopicError(f"topic {part.topic} has {count} partitions, got number {part.partition}")

    async def send(self, batches: Batches) -> Ends:
        """Append records, each once."""
        return await self._once.use(lambda sender: sender.send(batches), "appending")

    async def append(self, parts: RowsOf) -> None:
        """Append rows outside of any group: a single batch is whole by itself, more need a transaction."""
        batches = self._packed(parts, transactional=False)
        if not self.transactional or sum(map(len, batches.values())) == 1:
            await self.send(batches)
        else:
            batches = self._packed(parts, transactional=True)
            await self._whole.use(lambda sender: sender.commit(batches, {}, ""), "appending")

    def _packed(self, parts: RowsOf, *, transactional: bool) -> Batches:
        make = partial(self.clients.batch, transactional=transactional)
        return {part: pack(make, rows) for part, rows in parts.items()}

    async def append_behind(self, expected: TopicPartition, offset: int, parts: RowsOf) -> None:
        """Append rows if a partition still ends at an offset; ConflictError when somebody has been quicker.

        One producer a partition: a new one fences the one before it, so that nobody else who goes this way can commit
        between the look at the end and our own commit.
        """
        name = f"{self._pipeline}.behind.{expected.topic}.{expected.partition}"
        sender = Sender(self.clients, name, self._short_seconds)
        try:
            await sender.start()
            end = (await self.cluster.ends([expected]))[expected]
            if end != offset:
                raise ConflictError(f"somebody else has appended: {named(expected)} ends at {end}, expected {offset}")
            await sender.commit(self._packed(parts, transactional=True), {}, "")
        except FENCED as error:
            raise ConflictError(f"somebody else is about to append to {expected.topic}") from error
        except FAILURES as error:
            raise mapped(error, "appending") from error
        finally:
            await sender.close()

    async def join(self, group: str, topics: Sequence[str], *, single: bool) -> Membership:
        """Join a group."""
        if not self.is_runner:
            raise BrokerError(f"group {group}: only a running pipeline may join a group; a tool uses `reader`")
        member = Membership(self, group, topics, single=single)
        await member.begin()
        self.members.add(member)
        return member

    async def reader(self, starts: Mapping[TopicPartition, int]) -> Reader:
        """Open a reader."""
        await self.check_parts(starts)
        reader = Reader(self, starts)
        await reader.begin()
        self.readers.add(reader)
        return reader

    def trouble(self, event: str, error: BaseException, **fields: Any) -> None:
        """Log a failure that may pass: one line in ten seconds stands for all lanes and groups that have the same."""
        more = self._spare.due((event, type(root(error))))
        if more is not None:
            self.log("warning", event, **{"reason": text(error), **fields}, **more)

    def note(self, group: str, marks: Mapping[TopicPartition, int]) -> None:
        """Remember what this process has committed: the cluster may say so a little later."""
        noted = self._committed.setdefault(group, {})
        noted.update({(part.topic, part.partition): offset for part, offset in marks.items()})

    async def offsets(self, group: str) -> dict[tuple[str, int], int]:
        """Return the committed offsets of a group."""
        found = await self.cluster.committed(group)
        for place, offset in self._committed.get(group, {}).items():
            found[place] = max(offset, found.get(place, 0))
        return found

    def state_items(self, store: str, partition: int) -> Any:
        """Go through a store that a lane of this process holds."""
        for member in self.members:
            table = member.table(partition, store)
            if table is not None:
                return table.items(store)
        raise BrokerError(f"store {store}, partition {partition}: no lane of this process holds it")
