"""Which records are meant: by fields, by a text."""

import pytest

from streamweaver.views.filter import Filter, parse_text, parse_where
from streamweaver.views.seen import Undecodable


def chosen(seen, values, where=None, text="", keys=None):
    records = seen(values, [0] * len(values), keys=keys)
    return list(Filter(where, text).choose(records).offsets)


@pytest.mark.parametrize(
    ("where", "offsets"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"a": 1}, [0]),
        ({"a": True}, [1]),
        ({"a": [1, "x"]}, [0, 2]),
        ({"a": None}, [3, 4]),
        ({"b.c": 2}, [2]),
        ({"a": "x", "b.c": 3}, []),
    ],
)
def test_fields_choose_exactly(seen, where, offsets):
    """A field equals its value, or one of a list; null means absent too, and true is not 1."""
    values = [{"a": 1}, {"a": True}, {"a": "x", "b": {"c": 2}}, {"a": None}, {}]
    assert chosen(seen, values, where) == offsets


def test_the_key_is_a_field(seen):
    """`$key` means the record's key."""
    assert chosen(seen, [{}, {}], {"$key": "b"}, keys=[b"a", b"b"]) == [1]


def test_a_text_is_found_anywhere(seen):
    """Whatever its case, in the key, in names or values, or in the bytes of what cannot be decoded."""
    values = [{"note": "Needle"}, {"needle": 1}, {"x": 1}, {"x": 2}]
    assert chosen(seen, values, text="NEEDLE", keys=[None, None, b"a needle", None]) == [0, 1, 2]
    records = seen([Undecodable("bad")], [0])
    records.raws = [b"\xffneedle"]
    assert len(Filter(text="needle").choose(records)) == 1


def test_all_of_a_batch_is_the_batch(seen):
    """When every record is meant, nothing is copied."""
    records = seen([{"a": 1}, {"a": 1}], [0, 0])
    assert Filter({"a": 1}).choose(records) is records


@pytest.mark.parametrize(
    "where",
    [[], {str(n): n for n in range(9)}, {"a" * 201: 1}, {"a": list(range(101))}, {"a": {}}],
    ids=["no object", "too many fields", "long field", "too many values", "no scalar"],
)
def test_a_wrong_filter_is_refused(where):
    """What is no filter, or one that costs too much, is a ValueError."""
    with pytest.raises(ValueError, match="where"):
        parse_where(where)
    with pytest.raises(ValueError, match="text"):
        parse_text("x" * 201)
