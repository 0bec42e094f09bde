# ruff: noqa: E501 - tables of whole messages
"""Overrides: where a value goes, what type it has, and which paths lead nowhere."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.config import Findings, apply, parse, structure
from streamweaver.config.scalar import typed
from streamweaver.errors import ConfigError

FILE = """\
name: demo
topics: {app.raw.logs: {partitions: 1}, empty: }
flows:
  prices:
    steps:
      - {use: a, size: 1}
      - {use: b}
"""


@pytest.mark.parametrize(
    ("override", "way", "value"),
    [
        ("name=other", ["name"], "other"),
        ("name=5", ["name"], 5),
        ('name="5"', ["name"], "5"),
        ("name=yes", ["name"], "yes"),
        ("name=true", ["name"], True),
        ("name=", ["name"], None),
        ("name=a=b", ["name"], "a=b"),
        ("name=#fff", ["name"], "#fff"),
        ("name=a: b # c", ["name"], "a: b # c"),
        ("name=- a", ["name"], "- a"),
        ("name=&a *b !c", ["name"], "&a *b !c"),
        ("name=[1, x, {y: z}]", ["name"], [1, "x", {"y": "z"}]),
        ("flows.prices.steps.0.size=5", ["flows", "prices", "steps", 0, "size"], 5),
        ("flows.prices.steps[1].size=5", ["flows", "prices", "steps", 1, "size"], 5),
        ("flows.prices.steps.1={use: c}", ["flows", "prices", "steps", 1], {"use": "c"}),
        ("producers.new.rate=2000", ["producers", "new", "rate"], 2000),
        ("topics.app.raw.logs.partitions=4", ["topics", "app.raw.logs", "partitions"], 4),
        ('topics."app.new".partitions=4', ["topics", "app.new", "partitions"], 4),
        ("topics.empty.partitions=4", ["topics", "empty", "partitions"], 4),
        ("topics.0=x", ["topics", "0"], "x"),
    ],
)
def test_a_value_goes_where_the_path_leads(override: str, way: list[Any], value: object) -> None:
    """An override sets one value, making missing keys, and leaves the rest of the tree and the original alone."""
    original = parse(FILE, "f")
    before = original.data()
    found: Any = apply(original, override).data()
    for part in way:
        found = found[part]
    assert repr(found) == repr(value)
    assert original.data() == before


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("name", "--set name: got no value, expected PATH=VALUE"),
        ("=5", "--set : not a path: it is empty, expected names joined by dots"),
        ("name.=5", "--set name.: not a path: it ends with a dot"),
        ("a..b=5", "--set a..b: not a path: character 3 is unexpected; expected names joined by dots"),
        ("name.x=5", "--set name.x: name is a single value, so it has no 'x'"),
        ("flows.prices.steps.x=5", "--set flows.prices.steps.x: flows.prices.steps is a list, so it has no 'x'; expected an index from 0"),
        ("flows.prices.steps.2=5", "--set flows.prices.steps.2: flows.prices.steps has 2 items, so it has no index 2; indexes count from 0"),
        ("name=[1", "--set name: not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence)"),
        ("name={a: 1, a: 2}", "--set name: key 'a' is given twice"),
        ("name=[!!python/name:os.system ]", "--set name: tag !!python/name:os.system is not allowed; values are plain YAML"),
    ],
)  # fmt: skip
def test_a_path_or_value_that_cannot_be_is_a_finding(override: str, expected: str) -> None:
    """What is wrong with an override is told under its own name, without a line."""
    with pytest.raises(ConfigError) as caught:
        apply(parse(FILE, "f"), override)
    assert str(caught.value) == expected


def test_a_quoted_part_stands_for_itself() -> None:
    """Quotes keep a part from being joined with its neighbours to a key that holds dots, and from being an index."""
    tree = apply(parse("t: {a.b: 1}\nl: [1]", "f"), 't."a".b=2')
    assert tree.data()["t"] == {"a.b": 1, "a": {"b": 2}}
    with pytest.raises(ConfigError, match="l is a list, so it has no '0'"):
        apply(tree, 'l."0"=2')


def test_the_last_override_wins_and_all_mistakes_are_told() -> None:
    """Overrides apply in order; a failing one does not keep the next from being tried."""
    findings = Findings()
    tree = apply(parse(FILE, "f"), "name=a", "name.x=1", "flows.prices.steps.9=1", "name=b", findings=findings)
    assert tree.data()["name"] == "b"
    assert [item.file for item in findings.items] == ["--set name.x", "--set flows.prices.steps.9"]


def test_an_overridden_value_is_checked_like_the_file() -> None:
    """A wrong value from the command line is found at its path, under the name of the override."""

    @attrs.frozen
    class Step:
        use: str
        size: int = 1

    tree = apply(parse(FILE, "f"), "flows.prices.steps.0.size=large", "flows.prices.steps.1={size: 2}")
    with pytest.raises(ConfigError) as caught:
        structure(tree.value["flows"].value["prices"].value["steps"], list[Step])
    assert str(caught.value).split("\n") == [
        '--set flows.prices.steps.0.size: flows.prices.steps[0].size: got text "large", expected a whole number',
        "--set flows.prices.steps.1: flows.prices.steps[1]: missing key 'use', expected text",
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text[:1] not in ("[", "{", '"', "'")))
def test_any_other_value_is_one_scalar(text: str) -> None:
    """A value that does not begin with a bracket or quote is one unquoted scalar, whatever it holds."""
    assert repr(apply(parse(FILE, "f"), f"a.b={text}").data()["a"]["b"]) == repr(typed(text))
