"""The values of the contracts, and what fits them at run time."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import (
    Batch,
    Broker,
    BrokerContext,
    Codec,
    Fetched,
    PartitionRange,
    Producer,
    RecordSink,
    RecordTransform,
    Rows,
    Sink,
    TopicSpec,
    Transform,
)

VERBS = {
    Producer: {"produce"},
    Transform: {"process"},
    RecordTransform: {"process_record"},
    Sink: {"write"},
    RecordSink: {"write_record"},
    Codec: {"encode", "decode"},
    Broker: {
        *("begin", "close", "create", "delivery", "join", "offset_at", "offsets"),
        *("max_record_bytes", "open", "ranges", "reader", "shares_work", "state_items", "topics"),
    },
}


@pytest.mark.parametrize("contract", VERBS, ids=lambda contract: contract.__name__)
def test_a_class_fits_by_its_methods(contract: type[Any]) -> None:
    """Nothing is inherited: having the methods is enough, and lacking any one of them is not."""
    verbs = VERBS[contract]
    assert isinstance(type("Fits", (), dict.fromkeys(verbs, lambda *_: None))(), contract)
    for missing in verbs:
        assert not isinstance(type("Lacks", (), dict.fromkeys(verbs - {missing}, lambda *_: None))(), contract)


def test_a_topic_keeps_everything_unless_told_otherwise() -> None:
    """Without settings a topic has one partition, no bound, and the broker's replication."""
    assert attrs.asdict(TopicSpec(name="orders")) == {
        "name": "orders",
        "partitions": 1,
        "retention_ms": None,
        "retention_bytes": None,
        "cleanup": "delete",
        "replication": None,
        "settings": {},
    }


def test_topics_are_equal_by_value_and_frozen() -> None:
    """A declared topic can be compared with an existing one, and not be changed on the way."""
    spec = TopicSpec(name="orders", partitions=4)
    assert spec == TopicSpec(name="orders", partitions=4)
    assert spec != TopicSpec(name="orders", partitions=5)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.partitions = 5  # type: ignore[misc]


def test_rows_are_as_long_as_their_columns() -> None:
    """The length counts records, tombstones included; headers may be absent for all."""
    assert len(Rows([b"k", None], [b"v", None], [1, 2])) == 2
    assert len(Fetched([], [], [])) == 0
    assert Rows([None], [b"v"], [1]).headers is None


def test_fetched_rows_know_where_to_read_on() -> None:
    """What was read is rows with their place; `next_offset` may lie behind a gap."""
    fetched = Fetched([None], [b"v"], [1], topic="t", partition=3, offsets=range(7, 8), next_offset=12, lost=2)
    assert isinstance(fetched, Rows)
    assert (fetched.topic, fetched.partition, list(fetched.offsets)) == ("t", 3, [7])
    assert (fetched.next_offset, fetched.lost) == (12, 2)


def test_a_broker_is_opened_to_run_unless_it_is_for_a_tool() -> None:
    """`run` is the role of the one running pipeline, and worker 0 its first process."""
    context = BrokerContext(pipeline="demo", data_dir=Path("data"))
    assert (context.role, context.worker) == ("run", "0")


def test_small_values_have_an_order_of_arguments() -> None:
    """A range is begin, end; a batch is its records, then their place."""
    assert (PartitionRange(2, 5).begin, PartitionRange(2, 5).end) == (2, 5)
    batch = Batch([], "t", 1, 10, 19)
    assert (batch.topic, batch.partition, batch.first_offset, batch.last_offset) == ("t", 1, 10, 19)
