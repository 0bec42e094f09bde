"""Fetching in columns gives what the client's own way of fetching gives."""

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.testing.broker import topic
from streamweaver_brokers.kafka.fetcher import BUSY_WAIT_MS, fetch_in_columns, fetched, unpacked

PART = TopicPartition("topic", 3)
CONTROL = 0x20

rows_of = st.lists(
    st.tuples(
        st.none() | st.binary(max_size=5),
        st.none() | st.binary(max_size=20),
        st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2),
    ).filter(lambda row: row[0] is not None or row[1] is not None),
    min_size=1,
    max_size=5,
)
batches_of = st.lists(
    st.fixed_dictionaries(
        {
            "rows": rows_of,
            "producer": st.sampled_from([-1, 7, 8]),
            "ends": st.sampled_from([None, None, "abort", "commit"]),
            "gap": st.integers(0, 3),
            "compression": st.sampled_from([0, 1]),
        }
    ),
    max_size=6,
)


def batch_of(
    rows: list[Any], base: int, producer: int, compression: int = 0, *, control: bool = False
) -> tuple[bytes, int]:
    """Return a batch as a broker stores it, and the offset behind it."""
    builder = DefaultRecordBatchBuilder(2, compression, int(producer >= 0), producer, 0, 0, 1 << 20)
    for number, (key, value, headers) in enumerate(rows):
        builder.append(number, 1_750_000_000_000 + base + number, key, value, headers)
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base)
    if control:
        struct.pack_into(">h", data, 21, struct.unpack_from(">h", data, 21)[0] | CONTROL)
        struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    return bytes(data), base + len(rows)


def log_of(batches: list[dict[str, Any]]) -> tuple[bytes, list[tuple[int, int]], int]:
    """Return a stored log, the undone transactions in it (producer, first offset), and its end."""
    data, undone, at = b"", [], 0
    for batch in batches:
        at += batch["gap"]
        first, producer = at, batch["producer"]
        more, at = batch_of(batch["rows"], at, producer, batch["compression"])
        data += more
        if batch["ends"] and producer >= 0:
            mark = struct.pack(">hh", 0, batch["ends"] == "commit")
            more, at = batch_of([(mark, b"", [])], at, producer, control=True)
            data += more
            if batch["ends"] == "abort":
                undone.append((producer, first))
    return data, undone, at


def records(data: bytes, undone: list[tuple[int, int]], start: int, level: int = READ_COMMITTED) -> PartitionRecords:
    """Return what the client has fetched, before anything is taken out of it."""
    return PartitionRecords(PART, MemoryRecords(data), list(undone), start, None, None, True, level)


@given(batches_of, st.integers(0, 12), st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]))
def test_columns_are_what_the_client_hands_out(batches: list[dict[str, Any]], start: int, level: int) -> None:
    """Over batches, gaps, compression, transactions done and undone, and from any offset: the same, and as far."""
    data, undone, end = log_of(batches)
    start = min(start, end)
    slow = records(data, undone, start, level)
    wanted = fetched(PART, list(slow), slow.next_fetch_offset)
    quick = records(data, undone, start, level)
    found = list(unpacked(quick))
    assert quick.next_fetch_offset == slow.next_fetch_offset
    assert found == ([wanted] if wanted.values else [])


def test_a_damaged_batch_is_refused() -> None:
    """A byte that has changed on its way is noticed, as the client notices it."""
    data, _ = batch_of([(b"k", b"value", [])], 0, -1)
    damaged = records(data[:-2] + b"!" + data[-1:], [], 0)
    with pytest.raises(CorruptRecordException):
        list(unpacked(damaged))


def test_columns_take_what_others_may_write() -> None:
    """Offsets without gaps become a range; a header without a value, as other clients may write it, an empty one."""

    def record(offset: int, headers: Any = ()) -> Any:
        return SimpleNamespace(offset=offset, key=None, value=b"v", timestamp=0, headers=headers)

    item = fetched(PART, [record(4, (("a", None),)), record(5)], 6)
    assert item.offsets == range(4, 6)
    assert item.headers == [(("a", b""),), ()]
    assert list(fetched(PART, [record(4), record(6)], 7).offsets) == [4, 6]
    assert fetched(PART, [record(4)], 5).headers is None


async def test_a_paused_partition_makes_fetches_short(launch: Any) -> None:
    """While a partition waits for room, a fetch of others that have nothing does not hold it up for long."""
    broker = await launch()
    name = await topic(broker, 2)
    one, other = TopicPartition(name, 0), TopicPartition(name, 1)
    consumer = broker._session.clients.consumer()
    await consumer.start()
    try:
        consumer.assign([one, other])
        fetch_in_columns(consumer)
        fetcher, assignment = consumer._fetcher, consumer._subscription.subscription.assignment
        fetcher._get_actions_per_node(assignment)
        assert fetcher._fetch_max_wait_ms == 500
        consumer.pause(one)
        fetcher._get_actions_per_node(assignment)
        assert fetcher._fetch_max_wait_ms == BUSY_WAIT_MS
        consumer.resume(one)
        fetcher._get_actions_per_node(assignment)
        assert fetcher._fetch_max_wait_ms == 500
    finally:
        await broker._session.clients.end(consumer)
