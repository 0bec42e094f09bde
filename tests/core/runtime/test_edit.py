"""Edits of values: what a path and a value may be, and what becomes of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.runtime.edit import Edit, added, apply, parse_edit

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("price=12.5", Edit(("price",), 12.5)),
        ("symbol=AAPL", Edit(("symbol",), "AAPL")),
        ('tags.0="7"', Edit(("tags", "0"), "7")),
        ("a.b=", Edit(("a", "b"), "")),
        ("a=b=c", Edit(("a",), "b=c")),
        ('.={"a": [null]}', Edit((), {"a": [None]})),
    ],
)
def test_edits_are_path_and_value(text: str, edit: Edit) -> None:
    """The value is JSON, or else the text as it stands."""
    assert parse_edit(text) == edit


@pytest.mark.parametrize("text", ["", "price", "=1", "a..b=1", ".a=1", "a.=1"])
def test_what_is_no_edit(text: str) -> None:
    """The message shows one."""
    with pytest.raises(ValueError, match="expected PATH=VALUE"):
        parse_edit(text)


@pytest.mark.parametrize(
    ("value", "edit", "result"),
    [
        ({"a": 1}, "a=2", {"a": 2}),
        ({"a": 1}, "b.c=2", {"a": 1, "b": {"c": 2}}),
        ({"a": [1, {"b": 2}]}, "a.1.b=3", {"a": [1, {"b": 3}]}),
        ([1], "0=2", [2]),
        ("text", ".=7", 7),
        (None, ".={}", {}),
    ],
)
def test_an_edit_sets_what_its_path_names(value: Any, edit: str, result: Any) -> None:
    """Keys are added where they are missing."""
    assert apply([parse_edit(edit)], value) == result


@pytest.mark.parametrize(
    ("value", "edit", "place"),
    [
        ([1], "1=2", "1: "),
        ([1], "x=2", "x: "),
        ("text", "a=1", "a: "),
        ({"a": 1}, "a.b=2", "a.b: "),
        (None, "a=1", "a: "),
    ],
)
def test_a_path_that_leads_nowhere_is_told(value: Any, edit: str, place: str) -> None:
    """The message begins with the place."""
    with pytest.raises(ValueError, match=f"^{place}got"):
        apply([parse_edit(edit)], value)


@pytest.mark.parametrize(
    ("value", "edits", "paths"),
    [
        ({"a": 1}, ["a=2"], []),
        ({"a": 1}, ["b=2", "a=1"], ["b"]),
        ({"a": {"b": 1}}, ["a.b=2", "a.c=2", "d.e=1"], ["a.c", "d.e"]),
        ({"a": [1, {"b": 2}]}, ["a.1.b=3", "a.1.c=3"], ["a.1.c"]),
        ({"a": 1}, [".=2"], []),
    ],
)
def test_what_an_edit_adds(value: Any, edits: list[str], paths: list[str]) -> None:
    """The paths at which the value has nothing, as they were given."""
    assert added([parse_edit(edit) for edit in edits], value) == paths


def test_what_is_nested_too_deep_is_not_edited() -> None:
    """It is told as a mistake, in the value as in the edit."""
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deep"):
        apply([parse_edit("a=1")], {"a": 0, "b": deep})
    assert parse_edit("a=" + "[" * 100_000).value == "[" * 100_000


@given(JSON, JSON)
def test_edits_change_a_copy(value: Any, new: Any) -> None:
    """Neither the value nor what the edit carries is shared with the result; later edits see earlier ones."""
    before = repr(value), repr(new)
    result = apply([Edit((), {"k": value}), Edit(("k",), new), Edit(("l",), 1)], value)
    assert result == {"k": new, "l": 1}
    if isinstance(result["k"], dict):
        result["k"]["zz"] = 1
    elif isinstance(result["k"], list):
        result["k"].append(1)
    assert (repr(value), repr(new)) == before
