"""filter: the plugin around conditions."""

import time
from typing import Any

import attrs
import pytest

from streamweaver import BadRecord, Batch, Record
from streamweaver.testing import FakeContext
from streamweaver_transforms.filter import Filter


def test_keeps_what_meets_the_condition(context: FakeContext) -> None:
    """Records for which the condition is true go on, in order and unchanged."""
    step = Filter(where="price > 100 and symbol in ['AAPL', 'MSFT'] and not (level == 'DEBUG')")
    records = [
        Record({"price": 101, "symbol": "AAPL", "level": "INFO"}),
        Record({"price": 99, "symbol": "AAPL", "level": "INFO"}),
        Record({"price": 101, "symbol": "IBM", "level": "INFO"}),
        Record({"price": 101, "symbol": "MSFT", "level": "DEBUG"}),
        Record({"price": 100.5, "symbol": "MSFT", "level": "WARN"}),
        Record({"price": 101, "symbol": "MSFT"}),
    ]
    assert step.process(Batch(records), context) == [records[0], records[4]]


@pytest.mark.parametrize("bad", [[1], None, "text"])
def test_a_value_without_fields_is_a_bad_record(context: FakeContext, bad: Any) -> None:
    """A value that is no mapping is blamed by its index."""
    with pytest.raises(BadRecord, match="expected a mapping of fields") as raised:
        Filter(where="price > 1").process(Batch([Record({"price": 2}), Record(bad)]), context)
    assert raised.value.index == 1


def test_conditions_on_the_record_itself(context: FakeContext) -> None:
    """A condition that asks for no field takes values of any kind."""
    step = Filter(where="contains(record_value, 'ERROR') and record_key == 'web'")
    records = [
        Record("an ERROR", key=b"web"),
        Record("an ERROR", key=b"db"),
        Record("fine", key=b"web"),
        Record("x ERROR"),
    ]
    assert step.process(Batch(records), context) == records[:1]


def test_a_mistake_is_found_when_the_file_is_read() -> None:
    """The validator of the option refuses what does not compile, with the place."""
    with pytest.raises(ValueError, match=r"line 1, column 9: got function open, expected one of lower"):
        Filter(where="x == 1 +open('f')")
    validator = attrs.fields(Filter).where.validator
    assert validator is not None
    with pytest.raises(ValueError, match="line 1, column 8: invalid syntax"):
        validator(None, attrs.fields(Filter).where, "price >")


def test_speed(context: FakeContext) -> None:
    """Prints the cost of a record; a hundred times the expected cost would fail."""
    step = Filter(where="price > 105 and symbol in ['A', 'B'] and not (quantity == 3)")
    batch = Batch([Record({"symbol": "ABCDE"[i % 5], "price": 100 + i % 97 / 7, "quantity": i}) for i in range(10_000)])
    start = time.perf_counter()
    step.process(batch, context)
    cost = (time.perf_counter() - start) / 10_000
    print(f"filter: {cost * 1e6:.2f} us a record")
    assert cost < 100e-6
