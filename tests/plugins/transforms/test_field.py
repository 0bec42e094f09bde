"""Fields by name: reading, setting, removing, and why one cannot be read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver_transforms._field import Field, finite, is_group, show

names = st.text("abc", min_size=1, max_size=2)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [("a", {"a": 1}, 1), ("a.b", {"a": {"b": None}}, None), ("a.b.c", {"a": {"b": {"c": 3}}}, 3)],
)
def test_get(path: str, value: Any, expected: Any) -> None:
    """A dot leads into a mapping."""
    assert Field(path).get(value) == expected


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("price", {"a": 1, "b": 2}, "price: missing; the value has a, b"),
        ("price", {}, "price: missing; the value has no fields"),
        ("price", [1], "price: the value is [1], expected a mapping"),
        ("price", None, "price: the value is null, expected a mapping"),
        ("price", "text", 'price: the value is "text", expected a mapping'),
        ("user.name", {"user": "me"}, 'user.name: user is "me", expected a mapping'),
        ("user.name", {"user": {"id": 1}}, "user.name: missing; user has id"),
    ],
)
def test_errors_say_what_is_there(path: str, value: Any, text: str) -> None:
    """A field that cannot be read is explained by what is in its place."""
    with pytest.raises(ValueError) as raised:
        Field(path).get(value)
    assert str(raised.value) == text


@given(
    path=st.lists(names, min_size=1, max_size=3), value=st.dictionaries(names, st.dictionaries(names, st.integers()))
)
def test_set_get_pop(path: list[str], value: dict[str, Any]) -> None:
    """What was set can be read and removed, or setting is refused because the way is no mapping."""
    field = Field(".".join(path))
    try:
        field.set(value, "new")
    except ValueError:
        # Refused only where something that is no mapping is in the way.
        assert not isinstance(value[path[0]].get(path[1]), dict)
        return
    assert field.get(value) == field.find(value) == "new"
    assert field.pop(value) == "new"
    assert field.find(value, "gone") == "gone"
    assert field.pop(value, "gone") == "gone"


def test_find_wants_a_mapping() -> None:
    """A missing field may be left out, a value without any fields is an error."""
    assert Field("a.b").find({"a": 1}, 7) == 7
    with pytest.raises(ValueError, match="expected a mapping"):
        Field("a").find([1])


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b"])
def test_bad_names(path: str) -> None:
    """Empty parts of a name are refused."""
    with pytest.raises(ValueError, match="expected names joined by single dots"):
        Field(path)


def test_show_is_short_and_never_fails() -> None:
    """Any value can stand in an error text."""
    assert show("ä") == '"ä"'
    assert len(show("x" * 1000)) == 60
    assert show(object()) == "object"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (-2.5, -2.5),
        (True, None),
        ("1", None),
        (None, None),
        (float("nan"), None),
        (float("-inf"), None),
        (10**400, None),
    ],
)
def test_finite(value: Any, expected: float | None) -> None:
    """Only finite numbers are numbers."""
    assert finite(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", True), (0, True), (-(2**63), True), (2**63, False), (True, False), (1.0, False), (None, False)],
)
def test_is_group(value: Any, expected: bool) -> None:
    """Text and whole numbers that state can hold are groups."""
    assert is_group(value) is expected
