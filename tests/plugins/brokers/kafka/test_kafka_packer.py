"""Packing rows the quick way gives the batches that the client's own way gives."""

from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Rows
from streamweaver_brokers.kafka.packer import pack

BATCH_BYTES = 200

record_of = st.tuples(
    st.none() | st.binary(max_size=10),
    st.binary(max_size=120) | st.binary(min_size=300, max_size=300),
    st.integers(0, 1 << 41),
)
headers_of = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2).map(tuple)


def new_batch() -> BatchBuilder:
    """Begin a batch as the client does."""
    return BatchBuilder(BATCH_BYTES, 0, is_transactional=0)


def pack_slowly(parts: list[Rows]) -> list[Any]:
    """Put rows into batches with nothing but the client's public methods."""
    batches = [new_batch()]
    for rows in parts:
        for index in range(len(rows)):
            record = {
                "timestamp": rows.timestamps[index],
                "key": rows.keys[index],
                "value": rows.values[index],
                "headers": list(rows.headers[index]) if rows.headers else [],
            }
            if batches[-1].append(**record) is None:
                batches.append(new_batch())
                batches[-1].append(**record)
    return batches


@given(st.lists(st.tuples(st.lists(record_of, min_size=1, max_size=6), st.none() | headers_of), min_size=1, max_size=4))
def test_batches_are_those_of_the_client(parts: list[Any]) -> None:
    """However rows fall into parts, with headers and without: the same batches, byte for byte, each closed."""
    given_rows = [
        Rows(*(list(column) for column in zip(*rows, strict=True)), None if headers is None else [headers] * len(rows))
        for rows, headers in parts
    ]
    slow, quick = pack_slowly(given_rows), pack(new_batch, given_rows)
    assert [batch.record_count() for batch in quick] == [batch.record_count() for batch in slow]
    assert all(batch.closed() and batch.append(timestamp=0, key=b"k", value=b"v") is None for batch in quick)
    assert [bytes(batch._build()) for batch in quick] == [bytes(batch._build()) for batch in slow]
