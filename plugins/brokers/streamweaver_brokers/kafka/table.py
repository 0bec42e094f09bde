"""The state of a lane: a table in memory, rebuilt from a compacted topic that is written in the same transactions."""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

import attrs
from aiokafka import TopicPartition

from streamweaver import Rows
from streamweaver_brokers.kafka.client import Clients
from streamweaver_brokers.kafka.cluster import Cluster
from streamweaver_brokers.kafka.failure import named
from streamweaver_brokers.kafka.store import Store

SEPARATOR = b"\0"
"""Between the name of a store and the key, in the key of a stored record."""

POSITION = b"\0position"
"""Key of a producer's position: in a store without a name."""

REUSE_SECONDS = 12 * 3600.0
"""A table is brought up to date rather than read anew for so long: afterwards tombstones may have been compacted."""

REPORT_SECONDS = 5.0

FETCH_BYTES = 8 << 20
"""How much is fetched of a partition at once: the client pauses (0.1 s) before it fetches more."""

PIECE_RECORDS = 1_000
"""How many records are taken over at once: other lanes of this process go on between two pieces."""


class Last(NamedTuple):
    """A record of the topic, by what tells it from any other."""

    offset: int
    time: int
    key: bytes


@attrs.define(eq=False)
class Table:
    """The values of one partition of the state topic, by store and key."""

    next_offset: int = 0
    """Where the topic is to be read on; everything before it is in the table."""
    fresh_at: float = -math.inf
    """When that was the end of the topic, or when it was begun to be read from its beginning (`time.monotonic`).

    Tombstones that came later cannot have been compacted away yet, if it is not long ago.
    """
    stores: dict[str, Store] = attrs.field(factory=dict)
    last: Last | None = None
    """The last record in the table, if it is known."""
    is_verified: bool = True
    """False for a local copy, until the topic is seen to hold the copy's last record."""
    copied: Last | None = None
    """The last record in the local copy."""
    replaced: dict[bytes, bytes | None] | None = None
    """While a copy is made, piece by piece: what keys that changed meanwhile had when it was begun.

    None when no copy is made, or the one that is made is void.
    """

    def clear(self) -> None:
        """Forget everything; the topic is to be read anew, from now on. A copy that is being made is void."""
        self.replaced = None
        self.stores.clear()
        self.next_offset = 0
        self.last = self.copied = None
        self.is_verified = True
        self.fresh_at = monotonic()

    def wrote(self, changes: Mapping[bytes, bytes | None], time: int, end: int | None) -> None:
        """Take over what has just been committed, in this order, up to the offset `end` if that is known."""
        self.fresh_at = monotonic()
        for key, value in changes.items():
            self.set(key, value)
        if end is not None and end > self.next_offset:
            self.next_offset = end
            self.last = Last(end - 1, time, key)

    def set(self, key: bytes, value: bytes | None) -> None:
        """Take over one record of the topic."""
        name, _, own = key.partition(SEPARATOR)
        named = name.decode()
        store = self.stores.get(named)
        if store is None:
            store = self.stores[named] = Store()
        if self.replaced is not None:
            self.replaced.setdefault(key, store.get(own))
        store.set(own, value)

    def read(self, records: Sequence[Any], position: int) -> None:
        """Take over what was read of the topic, up to a position."""
        for record in records:
            if record.key is not None:
                self.set(record.key, record.value)
                self.last = Last(record.offset, record.timestamp, record.key)
        self.next_offset = max(self.next_offset, position)

    def get(self, store: str, key: bytes) -> bytes | None:
        """Return a value."""
        found = self.stores.get(store)
        return None if found is None else found.get(key)

    def items(self, store: str) -> Iterator[tuple[bytes, bytes]]:
        """Go through a store as it is now, whatever changes meanwhile."""
        yield from self.stores[store].items() if store in self.stores else ()

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

    To be called when the lane has been claimed: before that, the end of what may be read (the first open
    transaction) may lie before what the predecessor has committed.
    """
    now = monotonic()
    ends = await cluster.ends(list(tables))
    begins = await cluster.begins(list(tables))
    behind = {}
    for part, table in tables.items():
        is_old = now - table.fresh_at > REUSE_SECONDS
        if is_old or table.next_offset > ends[part] or (not table.is_verified and _start(table) < begins[part]):
            table.clear()
        table.next_offset = max(table.next_offset, begins[part])
        if table.next_offset < ends[part] or not table.is_verified:
            behind[part] = table
    if behind:
        await _read(clients, behind, begins, ends, log)
    for table in tables.values():
        # Not before it is so: an old table whose reading fails would pass for a fresh one at the next try.
        table.fresh_at = now


def _start(table: Table) -> int:
    """Return where reading begins: a copy's last record is read again, to see whether it is there."""
    return table.next_offset if table.is_verified or table.last is None else table.last.offset


def _verify(table: Table, records: Sequence[Any]) -> bool:
    """Say whether what is read first is the last record of a copy."""
    found = records[0] if records else None
    table.is_verified = found is not None and (found.offset, found.timestamp, found.key) == table.last
    return table.is_verified


async def _read(
    clients: Clients,
    tables: dict[TopicPartition, Table],
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    log: Callable[..., None],
) -> None:
    loop = asyncio.get_running_loop()
    consumer = clients.consumer(max_partition_fetch_bytes=FETCH_BYTES)
    started = reported = moved = loop.time()
    count = 0
    at = {part: _start(table) for part, table in tables.items()}
    try:
        consumer.assign(list(tables))
        await clients.start(consumer)
        for part, start in at.items():
            consumer.seek(part, start)
        while tables:
            # The client gives what it has fetched without ever waiting.
            await asyncio.sleep(0)
            found: dict[TopicPartition, Sequence[Any]] = await consumer.getmany(
                timeout_ms=200, max_records=PIECE_RECORDS
            )
            for part in list(tables):
                table, records = tables[part], found.get(part, ())
                # The position, not the last record: it moves over the marks of transactions as well.
                position = await consumer.position(part)
                if position > at[part]:
                    at[part] = position
                    moved = loop.time()
                if not table.is_verified and position > _start(table):
                    if _verify(table, records):
                        log("info", "local copy of the state is used", part=named(part), values=table.size)
                    else:
                        log("info", "local copy of the state is of another topic, or too old", part=named(part))
                        table.clear()
                        table.next_offset = at[part] = begins[part]
                        consumer.seek(part, begins[part])
                        continue
                table.read(records, position)
                count += len(records)
                if position >= ends[part]:
                    del tables[part]
                    consumer.pause(part)
            if tables and loop.time() - moved > clients.step_seconds:
                raise TimeoutError(f"reading state of {named(next(iter(tables)))}")
            if loop.time() - reported > REPORT_SECONDS:
                reported = loop.time()
                left = sum(ends[part] - table.next_offset for part, table in tables.items())
                log("info", "restoring state", records=count, left_at_most=left, seconds=round(reported - started, 1))
    finally:
        await clients.end(consumer)
    if loop.time() - started > REPORT_SECONDS:
        log("info", "state restored", records=count, seconds=round(loop.time() - started, 1))
