"""convert: names, defaults, types, times, what stays, and the order of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Record
from streamweaver.testing import FakeContext
from streamweaver_transforms.convert import Convert


def convert(value: Any, **options: Any) -> Any:
    record = Convert(**options).process_record(Record(value), FakeContext())
    return record.value


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int", 5, 5),
        ("int", " -12 ", -12),
        ("int", 3.0, 3),
        ("int", "3.0", 3),
        ("int", "1e3", 1000),
        ("int", 2**70, 2**70),
        ("float", 5, 5.0),
        ("float", "1.5e3", 1500.0),
        ("float", ".5", 0.5),
        ("bool", True, True),
        ("bool", "Yes", True),
        ("bool", "OFF", False),
        ("bool", 0, False),
        ("text", "a", "a"),
        ("text", 1.5, "1.5"),
        ("text", True, "true"),
        ("text", {"a": [1]}, '{"a":[1]}'),
        ("timestamp", "2025-06-15T17:06:40+02:00", "2025-06-15T15:06:40.000Z"),
    ],
)
def test_types(kind: Any, value: Any, expected: Any) -> None:
    """Each type takes what means the same, and gives exactly its type."""
    got = convert({"x": value}, types={"x": kind})["x"]
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("float", "abc", 'x: got "abc", expected a number'),
        ("float", True, "x: got true, expected a number"),
        ("float", "nan", 'x: got "nan", expected a number'),
        ("float", "1e999", 'x: got "1e999", expected a number'),
        ("float", "1_000", 'x: got "1_000", expected a number'),
        ("int", "3.5", 'x: got "3.5", expected a whole number'),
        ("int", 3.5, "x: got 3.5, expected a whole number"),
        ("int", True, "x: got true, expected a whole number"),
        ("int", "1e999", 'x: got "1e999", expected a whole number'),
        ("int", "٣", 'x: got "٣", expected a whole number'),
        ("int", [], "x: got [], expected a whole number"),
        ("bool", "maybe", 'x: got "maybe", expected true or false'),
        ("bool", 2, "x: got 2, expected true or false"),
        ("text", object(), "x: got object, expected what can be text"),
        ("timestamp", "soon", 'x: got "soon", expected a time as ISO 8601 text'),
        ("int", None, "x: got null"),
    ],
)
def test_type_errors(kind: Any, value: Any, text: str) -> None:
    """What does not fit is an error that names the field, what was got and what was expected."""
    with pytest.raises(ValueError) as raised:
        convert({"x": value}, types={"x": kind})
    assert text in str(raised.value)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_being_text(number: float) -> None:
    """A number made text and read again is the same number."""
    kind = "int" if isinstance(number, int) else "float"
    text = convert({"x": number}, types={"x": "text"})["x"]
    assert convert({"x": text}, types={"x": kind})["x"] == number


def test_the_order() -> None:
    """Rename, defaults, types, the record's time, keep, drop: each sees what the one before left."""
    record = Convert(
        rename={"px": "price", "t": "at"},
        defaults={"quantity": "7"},
        types={"price": "float", "quantity": "int"},
        timestamps={"at": "s"},
        timestamp="at",
        keep=["price", "quantity", "at", "absent"],
        drop=["at"],
    ).process_record(Record({"px": "1.5", "t": 1_750_000_000, "other": 1, "quantity": None}), FakeContext())
    assert record.value == {"price": 1.5, "quantity": 7}
    assert record.timestamp == 1_750_000_000_000


def test_names_can_be_swapped_and_nested() -> None:
    """Renames happen at once, and move fields in and out of mappings."""
    assert convert({"a": 1, "b": 2}, rename={"a": "b", "b": "a"}) == {"b": 1, "a": 2}
    assert convert({"user": {"name": "x", "id": 1}}, rename={"user.name": "name"}) == {"user": {"id": 1}, "name": "x"}
    assert convert({"name": "x"}, rename={"name": "user.name"}) == {"user": {"name": "x"}}


def test_keep_and_drop_nested() -> None:
    """Nested fields can be kept and dropped alone."""
    value = {"user": {"name": "x", "id": 1}, "b": 2}
    assert convert(dict(value), keep=["user.name"]) == {"user": {"name": "x"}}
    assert convert(dict(value), drop=["user.id", "b", "absent.too"]) == {"user": {"name": "x"}}


@pytest.mark.parametrize(
    ("form", "value"),
    [("ms", 1_750_000_000_000), ("us", "1750000000000000"), ("%d.%m.%Y %H:%M:%S", "15.06.2025 15:06:40")],
)
def test_time_formats(form: str, value: Any) -> None:
    """A time of any format becomes ISO 8601 text and, if asked, the record's own time."""
    record = Convert(timestamps={"at": form}, timestamp="at").process_record(Record({"at": value}), FakeContext())
    assert record.value == {"at": "2025-06-15T15:06:40.000Z"}
    assert record.timestamp == 1_750_000_000_000


def test_missing_fields() -> None:
    """A missing field is an error or left out, as `on_missing` says, and never stops at a default."""
    options: dict[str, Any] = {
        "rename": {"px": "price"},
        "types": {"price": "float"},
        "timestamps": {"at": "s"},
        "timestamp": "at",
    }
    with pytest.raises(ValueError, match="px: missing; the value has a"):
        convert({"a": 1}, **options)
    with pytest.raises(ValueError, match="price: missing"):
        convert({"a": 1}, types={"price": "float"})
    with pytest.raises(ValueError, match="at: missing"):
        convert({"a": 1}, timestamp="at")
    assert convert({"a": 1, "price": None}, on_missing="ignore", **options) == {"a": 1, "price": None}


def test_defaults_are_not_shared() -> None:
    """Each record gets a list of its own."""
    step = Convert(defaults={"tags": []})
    first = step.process_record(Record({}), FakeContext()).value
    first["tags"].append(1)
    assert step.process_record(Record({}), FakeContext()).value == {"tags": []}


@pytest.mark.parametrize("bad", [None, [1], "text", 5])
def test_a_value_without_fields_is_bad(bad: Any) -> None:
    """A value that is no mapping is an error."""
    with pytest.raises(ValueError, match="as the value, expected a mapping of fields"):
        convert(bad, drop=["a"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"types": {"x": "number"}}, "x: got type 'number', expected one of int, float, bool, text, timestamp"),
        ({"types": {"a..b": "int"}}, "expected names joined by single dots"),
        ({"timestamps": {"x": "%H"}}, "expected year, month and day"),
        ({"timestamps": {"x": "s"}, "types": {"x": "int"}}, "x: got type 'int' and a time format"),
        ({"rename": {"a": "c", "b": "c"}}, "got several fields renamed to c"),
        ({"keep": [""]}, "expected names joined by single dots"),
    ],
)
def test_mistakes_in_the_options(options: dict[str, Any], text: str) -> None:
    """Options that cannot work are refused when the plugin is made."""
    with pytest.raises(ValueError) as raised:
        Convert(**options)
    assert text in str(raised.value)
