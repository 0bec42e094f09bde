"""The state of a lane: a table in memory, rebuilt from a compacted topic that is written in the same transactions."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
from aiokafka import TopicPartition

from streamweaver import Rows
from streamweaver_brokers.kafka.client import Clients, end
from streamweaver_brokers.kafka.cluster import Cluster

SEPARATOR = b"\0"
"""Between the name of a store and the key, in the key of a stored record."""

POSITION = b"\0position"
"""Key of a producer's position: in a store without a name."""

REUSE_SECONDS = 12 * 3600.0
"""A table is brought up to date rather than read anew for so long: afterwards tombstones may have been compacted."""

REPORT_SECONDS = 5.0


@attrs.define(eq=False)
class Table:
    """The values of one partition of the state topic, by store and key."""

    next_offset: int = 0
    """Where the topic is to be read on; everything before it is in the table."""
    fresh_at: float = 0.0
    stores: dict[str, dict[bytes, bytes]] = attrs.field(factory=dict)

    def set(self, key: bytes, value: bytes | None) -> None:
        """Take over one record of the topic."""
        name, _, own = key.partition(SEPARATOR)
        store = self.stores.setdefault(name.decode(), {})
        if value is None:
            store.pop(own, None)
        else:
            store[own] = value

    def get(self, store: str, key: bytes) -> bytes | None:
        """Return a value."""
        return self.stores.get(store, {}).get(key)

    def items(self, store: str) -> Iterator[tuple[bytes, bytes]]:
        """Go through a store as it is now, whatever changes meanwhile."""
        yield from list(self.stores.get(store, {}).items())

    @property
    def size(self) -> int:
        """How many values it holds."""
        return sum(map(len, self.stores.values()))


def stored_key(store: str, key: bytes) -> bytes:
    """Return the key under which a value is stored."""
    return store.encode() + SEPARATOR + key


def state_rows(changes: Mapping[bytes, bytes | None], now: int) -> Rows:
    """Put changes into columns."""
    return Rows(list(changes), list(changes.values()), [now] * len(changes))


async def restore(
    clients: Clients,
    cluster: Cluster,
    tables: Mapping[TopicPartition, Table],
    log: Callable[..., None],
) -> None:
    """Read tables on to the end of their partitions, as it is now.

    To be called when the lane's new producer has started: before that, the end of what may be read (the first open
    transaction) may lie before what the predecessor has committed.
    """
    loop = asyncio.get_running_loop()
    ends = await cluster.ends(list(tables))
    begins = await cluster.begins(list(tables))
    behind = {}
    for part, table in tables.items():
        if loop.time() - table.fresh_at > REUSE_SECONDS or table.next_offset > ends[part]:
            table.stores.clear()
            table.next_offset = 0
        table.next_offset = max(table.next_offset, begins[part])
        if table.next_offset < ends[part]:
            behind[part] = table
        table.fresh_at = loop.time()
    if behind:
        await _read(clients, behind, ends, log)


async def _read(
    clients: Clients, tables: dict[TopicPartition, Table], ends: dict[TopicPartition, int], log: Callable[..., None]
) -> None:
    loop = asyncio.get_running_loop()
    consumer = clients.consumer()
    started = reported = moved = loop.time()
    count = 0
    try:
        consumer.assign(list(tables))
        await clients.start(consumer)
        for part, table in tables.items():
            consumer.seek(part, table.next_offset)
        while tables:
            found: dict[TopicPartition, Sequence[Any]] = await consumer.getmany(timeout_ms=200)
            for part, records in found.items():
                table = tables[part]
                for record in records:
                    if record.key is not None:
                        table.set(record.key, record.value)
                count += len(records)
            # The position, not the last record: it moves over the marks of transactions as well.
            for part in list(tables):
                position = await consumer.position(part)
                if position > tables[part].next_offset:
                    tables[part].next_offset = position
                    moved = loop.time()
                if position >= ends[part]:
                    del tables[part]
                    consumer.pause(part)
            if loop.time() - moved > clients.step_seconds:
                raise TimeoutError(f"reading state of {next(iter(tables))}")
            if loop.time() - reported > REPORT_SECONDS:
                reported = loop.time()
                left = sum(ends[part] - table.next_offset for part, table in tables.items())
                log("info", "restoring state", records=count, left_at_most=left, seconds=round(reported - started, 1))
    finally:
        await end(consumer)
    if loop.time() - started > REPORT_SECONDS:
        log("info", "state restored", records=count, seconds=round(loop.time() - started, 1))
