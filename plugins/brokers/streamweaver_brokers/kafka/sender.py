"""Sending rows, for certain: in a transaction together with the offsets that they come from, or just once each."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from itertools import chain, zip_longest
from typing import Any, TypeAlias

from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from streamweaver import BrokerError
from streamweaver_brokers.kafka.client import Clients
from streamweaver_brokers.kafka.failure import FAILURES, mapped

Batches: TypeAlias = Mapping[TopicPartition, list[BatchBuilder]]
"""What is to be appended, by partition, in order."""

Ends: TypeAlias = dict[TopicPartition, int]
"""The offset behind what was appended to each partition, as far as the broker has said."""

Marks: TypeAlias = Mapping[TopicPartition, tuple[int, str]]
"""What a group commits of each partition: an offset, and metadata."""

LOOK_SECONDS = 0.05
"""How long to wait before asking again for a partition that the brokers have not told each other about yet."""

MOST_SENT = 2_000_000_000
"""Records of one producer to one partition: at 2**31 the client's sequence numbers go wrong."""


class Sender:
    """One producer; after any error it is used up, because its sequence numbers or its transaction are in doubt."""

    def __init__(
        self, clients: Clients, transactional_id: str | None = None, transaction_seconds: float = 60.0
    ) -> None:
        more = {}
        if transactional_id is not None:
            more = {"transactional_id": transactional_id, "transaction_timeout_ms": round(transaction_seconds * 1000)}
        self._step = clients.step_seconds
        self._clients = clients
        self._producer = clients.producer(**more)
        self._in_transaction = False
        self._sent: dict[TopicPartition, int] = {}
        self._turns: defaultdict[TopicPartition, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.broken = False

    async def start(self) -> None:
        """Connect. A transactional one fences others of its name; an open transaction of theirs is undone."""
        try:
            await self._clients.start(self._producer)
        except BaseException:
            self.broken = True
            raise

    @property
    def is_worn(self) -> bool:
        """Whether it is to be replaced soon."""
        return max(self._sent.values(), default=0) > MOST_SENT

    async def send(self, batches: Batches) -> Ends:
        """Append records, each once; returns when they are durable on all replicas."""
        with _guard(self):
            return await self._finish(await self._start_sending(batches))

    async def commit(self, batches: Batches, offsets: Marks, group: str) -> Ends:
        """Append records and commit a group's offsets, all or nothing."""
        with _guard(self):
            async with asyncio.timeout(self._step):
                await self._producer.begin_transaction()
            self._in_transaction = True
            transactions = self._producer._txn_manager  # noqa: SLF001
            # When an earlier step fails nobody gets to ask how the transaction ended.
            transactions.wait_for_transaction_end().add_done_callback(_look_at)
            # Partitions in one request and offsets before the records: as long as the transaction's membership changes,
            # leaders refuse records (as "not enough replicas", from Kafka 3.6 on) and the client waits 100 ms.
            for part in batches:
                transactions.maybe_add_partition_to_txn(part)
            if offsets:
                async with asyncio.timeout(self._step):
                    await self._producer.send_offsets_to_transaction(dict(offsets), group)
            ends = await self._finish(await self._start_sending(batches))
            async with asyncio.timeout(self._step):
                await self._producer.commit_transaction()
            self._in_transaction = False
            return ends

    async def _start_sending(self, batches: Batches) -> list[tuple[TopicPartition, int, "asyncio.Future[Any]"]]:
        await self._find(batches)
        sending = []
        # Batch by batch over all partitions: a partition's next one waits until its last one is on its way.
        for row in zip_longest(*([(part, builder) for builder in built] for part, built in batches.items())):
            for part, builder in filter(None, row):
                # One at a time: those who wait for the same partition in the client use up each other's time.
                async with self._turns[part], asyncio.timeout(self._step):
                    future = await self._producer.send_batch(builder, part.topic, partition=part.partition)
                # If a later one cannot even be sent, nobody gets to ask this one.
                future.add_done_callback(_look_at)
                count = builder.record_count()
                self._sent[part] = self._sent.get(part, 0) + count
                sending.append((part, count, future))
        return sending

    async def _find(self, parts: Iterable[TopicPartition]) -> None:
        """Wait until the client knows all partitions; for one that was added it would look within minutes only."""
        wanted: defaultdict[str, set[int]] = defaultdict(set)
        for part in parts:
            wanted[part.topic].add(part.partition)
        client = self._producer.client
        async with asyncio.timeout(self._step):
            for topic, numbers in wanted.items():
                while not numbers <= await client._wait_on_metadata(topic):  # noqa: SLF001
                    await client.force_metadata_update()
                    await asyncio.sleep(LOOK_SECONDS)

    async def _finish(self, sending: list[tuple[TopicPartition, int, "asyncio.Future[Any]"]]) -> Ends:
        # Every delivery is looked at: the client commits a transaction of which a batch was refused.
        if not sending:
            return {}
        done, pending = await asyncio.wait({future for _, _, future in sending}, timeout=self._step)
        failures = [error for future in done if (error := future.exception())]
        if failures:
            raise failures[0]
        if pending:
            raise TimeoutError
        ends: Ends = {}
        for part, count, future in sending:
            metadata = future.result()
            if metadata is not None and metadata.offset >= 0:
                ends[part] = metadata.offset + count
        return ends

    async def close(self) -> None:
        """Stop it; an open transaction is undone if that can be done quickly, else by whoever comes next."""
        producer = self._producer
        try:
            if self._in_transaction and not self._clients.is_cut_off(producer):
                self._in_transaction = False
                async with asyncio.timeout(2.0):
                    await producer.abort_transaction()
        except BaseException as error:  # a cancellation, too, leaves it in doubt
            self.broken = True
            if not isinstance(error, FAILURES):
                raise
        finally:
            await self._clients.end(producer, leave=not self.broken)
            _look_at_batches(producer)


def _look_at(future: "asyncio.Future[Any]") -> None:
    """Retrieve an exception that nobody waits for any more."""
    if not future.cancelled():
        future.exception()


def _look_at_batches(producer: Any) -> None:
    """Retrieve what the library keeps for who waits for room behind a batch that it has given up: nobody does."""
    accumulator = producer._message_accumulator  # noqa: SLF001
    for batch in chain(*accumulator._batches.values(), accumulator._pending_batches):  # noqa: SLF001
        if batch._drain_waiter.done():  # noqa: SLF001
            _look_at(batch._drain_waiter)  # noqa: SLF001


class _guard:  # noqa: N801 - reads as the statement that it is
    """Marks a sender as used up when anything, a cancellation too, ends its work."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def __enter__(self) -> None:
        if self._sender.broken:
            raise RuntimeError("this producer is used up")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._sender.broken = True


class Shared:
    """One sender for everybody in the process; it is replaced when it breaks, and whoever used it is told."""

    def __init__(self, make: Callable[[], Sender], *, alone: bool = False) -> None:
        self._make = make
        self._sender: Sender | None = None
        self._starting = asyncio.Lock()
        self._turn = asyncio.Semaphore(1 if alone else 1_000)
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._closed = False

    async def use(self, work: Callable[[Sender], Coroutine[Any, Any, Ends]], doing: str) -> Ends:
        """Do something with the sender; failures come as errors of ours."""
        if self._closed:
            raise BrokerError("the kafka broker is closed")
        self._users += 1
        self._unused.clear()
        try:
            async with self._turn:
                sender = await self._ready()
                try:
                    return await work(sender)
                finally:
                    if sender.broken:
                        # Now, or it goes on trying to deliver what its user is told has failed.
                        await self._retire(sender)
        except FAILURES as error:
            raise mapped(error, doing) from error
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def _ready(self) -> Sender:
        async with self._starting:
            if self._sender is not None and self._sender.is_worn:
                await self._retire(self._sender)
            if self._sender is None:
                sender = self._make()
                await sender.start()
                self._sender = sender
            return self._sender

    async def _retire(self, sender: Sender) -> None:
        """Have the next one begin with a new sender."""
        if self._sender is sender:
            self._sender = None
            await sender.close()

    async def close(self) -> None:
        """Let what has begun come to its end, then stop."""
        self._closed = True
        try:
            async with asyncio.timeout(10.0):
                await self._unused.wait()
        except TimeoutError:
            pass
        if self._sender is not None:
            await self._sender.close()
