"""Findings and paths."""

import pytest

from streamweaver.config import Findings, Mark, join, parse, suggest
from streamweaver.errors import ConfigError


def test_findings_are_raised_once_in_the_order_of_the_file() -> None:
    """Findings of several calls are raised together, sorted, warnings among them."""
    node = parse("a: {b: 1}\n", "f")
    findings = Findings()
    findings.add(node.value["a"].value["b"], "wrong")
    findings.add(node.key_mark("a"), "odd", path="a", warning=True)
    findings.add(Mark("--set x"), "strange")
    with pytest.raises(ConfigError) as caught:
        findings.raise_errors()
    assert str(caught.value).split("\n") == ["--set x: strange", "f:1:1: warning: a: odd", "f:1:8: a.b: wrong"]


def test_warnings_alone_raise_nothing() -> None:
    """A collector with warnings only has not failed."""
    findings = Findings()
    findings.add(Mark("f", 1, 1), "odd", warning=True)
    findings.raise_errors()
    assert not findings.failed


def test_paths_are_readable_and_exact() -> None:
    """Keys are joined by dots, indexes stand in brackets, and keys that would be misread are quoted."""
    assert join(join(join("", "flows"), "prices"), 0) == "flows.prices[0]"
    assert join("topics", "a.b") == 'topics."a.b"'
    assert join("", "two words\n") == '"two words\\n"'


def test_the_nearest_name_is_suggested_only_when_it_is_near() -> None:
    """A slip is met with the name that was meant; anything else with nothing."""
    assert suggest("prise", ["price", "symbol"]) == "; did you mean 'price'?"
    assert suggest("zzz", ["price", "symbol"]) == ""


def test_walk_and_get_go_through_the_tree() -> None:
    """`walk` visits everything in the order of the file; `get` answers None where there is nothing."""
    node = parse("a: [1, {b: 2}]\nc: 3", "f")
    assert [part.path for part in node.walk()] == ["", "a", "a[0]", "a[1]", "a[1].b", "c"]
    assert node.get("c") is node.value["c"]
    assert node.get("none") is None
    assert node.value["a"].get("b") is None
