"""Keeping records as they are while something is tried with them."""

import decimal
from typing import Any

import pytest

from streamweaver import Record
from streamweaver.runtime.keep import copier, restorer

VALUES = [{"a": [1, {"b": 2}]}, {"a": [decimal.Decimal(1)]}]


def test_copies_keep_their_types() -> None:
    """A step sees the same types when a record is tried again."""
    plain: list[Any] = [{"n": 1, "t": (1, 2), "b": b"x", "f": 1.5, "s": {1}}, [True, None], "text"]
    odd: list[Any] = [decimal.Decimal("1.5"), {"d": decimal.Decimal(2)}]
    for values in (plain, odd):
        records = [Record(value, "k", 1, (("h", b""),), 5, index) for index, value in enumerate(values)]
        again = copier(records)
        first, second = again(), again()
        assert first == second == records
        assert [type(r.value) for r in first] == [type(v) for v in values]
        assert all(
            a.value is not b.value for a, b in zip(first, second, strict=True) if isinstance(a.value, dict | list)
        )
        assert [r.origin for r in first] == list(range(len(values)))


@pytest.mark.parametrize("value", VALUES, ids=["plain", "any type"])
def test_a_record_is_brought_back(value: Any) -> None:
    """The record itself, so that who compares identities is not misled; as often as asked."""
    record = Record(value, b"k", 5, (("h", b"x"),))
    before = repr(record)
    restore = restorer(record)
    for _ in range(2):
        record.value["a"].clear()
        record.value, record.key, record.timestamp, record.headers, record.origin = "lost", "", None, (), 9
        restore()
        assert repr(record) == before
        assert record.origin == -1
