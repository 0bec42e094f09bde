"""Records and batches as values."""

import copy
import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Batch, Record, Rejected


def test_a_new_record_has_only_its_value() -> None:
    """Key, time and position are None, headers empty, so that the engine fills them."""
    record = Record({"a": 1})
    assert (record.value, record.key, record.timestamp, record.headers, record.position) == (
        {"a": 1},
        None,
        None,
        (),
        None,
    )


def test_a_record_may_be_changed_but_takes_no_new_fields() -> None:
    """Slots make a mistyped field an error instead of a silent nothing."""
    record = Record(1)
    record.value = 2
    assert record.value == 2
    with pytest.raises(AttributeError):
        record.vlaue = 3  # type: ignore[attr-defined]


def test_origin_is_no_part_of_a_record() -> None:
    """The engine's bookkeeping neither shows nor makes records differ."""
    assert Record(1, origin=0) == Record(1, origin=5)
    assert "origin" not in repr(Record(1, origin=5))


def test_records_can_be_copied_and_pickled() -> None:
    """A record crosses process borders, and a deep copy shares nothing."""
    record = Record({"a": [1]}, key=b"k", timestamp=5, headers=(("h", b"v"),), position=9)
    copied = copy.deepcopy(record)
    copied.value["a"].append(2)
    assert record.value == {"a": [1]}
    assert pickle.loads(pickle.dumps(record)) == record


@given(st.lists(st.integers()), st.data())
def test_a_batch_is_the_sequence_of_its_records(values: list[int], data: st.DataObject) -> None:
    """Length, order, indices, slices and membership are those of the list of records."""
    records = [Record(value) for value in values]
    batch = Batch(records)
    assert (list(batch), len(batch), list(reversed(batch))) == (records, len(records), records[::-1])
    cut = data.draw(st.slices(len(records)))
    assert batch[cut] == records[cut]
    for index, record in enumerate(records):
        assert batch[index] is record
        assert record in batch


def test_a_batch_of_the_engine_knows_each_offset() -> None:
    """By the row that a record came from, whatever is missing between them, and whatever steps made of it."""
    records = [Record("a", origin=0), Record("b", origin=2), Record("b, again", origin=2), Record("new")]
    batch = Batch(records, "t", 0, 5, 11, row_offsets=[5, 8, 9])
    assert [batch.offset(index) for index in range(4)] == [5, 9, 9, None]
    assert [attrs.evolve(batch, records=records[1:]).offset(index) for index in (0, -1)] == [9, None]
    assert "row_offsets" not in repr(batch)


def test_a_batch_made_by_hand_counts_its_offsets() -> None:
    """From the first to the last, and only where these are as many as the records."""
    whole = Batch([Record(1), Record(2)], "t", 0, 7, 8)
    assert [whole.offset(0), whole.offset(1), whole.offset(-1)] == [7, 8, 8]
    with pytest.raises(IndexError):
        whole.offset(2)
    assert Batch([Record(1), Record(2)], "t", 0, 7, 9).offset(0) is None
    assert Batch([Record(1)], "t", 0, 0, -1).offset(0) is None


def test_batches_are_compared_by_identity() -> None:
    """Two batches of equal records are two batches: comparing thousands of records is never meant."""
    assert Batch([Record(1)]) != Batch([Record(1)])


def test_rejected_keeps_the_input_as_it_came() -> None:
    """Bytes and reason are required, the rest is as for a record."""
    rejected = Rejected(b"\xff", "no UTF-8")
    assert (rejected.value, rejected.why, rejected.key, rejected.timestamp, rejected.position) == (
        b"\xff",
        "no UTF-8",
        None,
        None,
        None,
    )
