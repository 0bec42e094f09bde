"""stamp: the three forms of the time, nested targets, bad records."""

from typing import Any

import pytest

from streamweaver import BadRecord, Batch, Record
from streamweaver.testing import FakeContext
from streamweaver_transforms.stamp import Stamp


@pytest.mark.parametrize(
    ("form", "expected"),
    [("iso", "2025-06-15T15:06:40.007Z"), ("ms", 1_750_000_000_007), ("s", 1_750_000_000.007)],
)
def test_formats(context: FakeContext, form: Any, expected: Any) -> None:
    """The time of the context's clock stands in the field, in the form that was asked for."""
    context.clock.advance(0.007)
    (record,) = Stamp(format=form).process(Batch([Record({"a": 1})]), context)
    assert record.value == {"a": 1, "processed_timestamp": expected}


def test_nested_field_and_replacement(context: FakeContext) -> None:
    """A dotted field is made if missing, and an old value is replaced."""
    records = Stamp(field="meta.at", format="ms").process(Batch([Record({}), Record({"meta": {"at": 1}})]), context)
    assert [record.value for record in records] == [{"meta": {"at": context.now()}}] * 2


@pytest.mark.parametrize(("field", "bad"), [("at", "text"), ("at", None), ("a.at", {"a": 1})])
def test_bad_records(context: FakeContext, field: str, bad: Any) -> None:
    """A value that cannot hold the field is a bad record, named by its index."""
    with pytest.raises(BadRecord, match="expected a mapping") as raised:
        Stamp(field=field).process(Batch([Record({}), Record(bad)]), context)
    assert raised.value.index == 1
