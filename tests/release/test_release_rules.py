"""The rules for versions and the changelog."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.release import rules

ROOT = Path(__file__).parents[2]


UNRELEASED = "# Changelog\n\n## Unreleased\n\n"
RELEASES = "## 0.2.0 - 2026-03-01\n\n### Fixed\n\n- A thing.\n\n## 0.1.0 - 2026-02-01\n\n### Added\n\n- All.\n"


def mistakes(text: str, version: str = "0.2.0", *, released: bool = False) -> str:
    return "; ".join(rules.changelog_mistakes(text, version, released=released))


def test_our_own_changelog_keeps_the_rules() -> None:
    """What is in the repository would pass."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert mistakes((ROOT / "CHANGELOG.md").read_text(), version) == ""


def test_a_good_changelog() -> None:
    """Before and at a release."""
    assert mistakes(UNRELEASED + RELEASES) == ""
    assert mistakes(UNRELEASED + "### Added\n\n- New.\n\n" + RELEASES) == ""
    assert mistakes(UNRELEASED + RELEASES, released=True) == ""


@pytest.mark.parametrize(
    ("text", "released", "says"),
    [
        (RELEASES, False, "expected Unreleased"),
        ("", False, "expected Unreleased"),
        (UNRELEASED + "## 0.2 - 2026-03-01\n\n### Added\n\n- x\n", False, "expected MAJOR.MINOR.PATCH"),
        (UNRELEASED + "## 0.2.0\n\n### Added\n\n- x\n", False, "expected VERSION - YYYY-MM-DD"),
        (UNRELEASED + "## 0.2.0 - 2026-13-01\n\n### Added\n\n- x\n", False, "month must be"),
        (UNRELEASED + RELEASES + RELEASES, False, "newest first"),
        (UNRELEASED + "## 0.3.0 - 2026-04-01\n\n### Added\n\n- x\n\n" + RELEASES, False, "later than version"),
        (UNRELEASED + "### News\n\n- x\n", False, "group 'News'"),
        (UNRELEASED + "### Added\n\n", False, "group 'Added' is empty"),
        (UNRELEASED + "## 0.2.0 - 2026-03-01\n", False, "says nothing"),
        (UNRELEASED + "### Added\n\n- New.\n\n" + RELEASES, True, "Unreleased is not empty"),
        (UNRELEASED + "## 0.1.0 - 2026-02-01\n\n### Added\n\n- x\n", True, "not of 0.2.0"),
    ],
)
def test_each_mistake_is_said(text: str, released: bool, says: str) -> None:
    """With what was expected."""
    assert says in mistakes(text, released=released)


def test_versions_elsewhere_must_be_the_same() -> None:
    """A place that names another version, or none, is named."""
    assert rules.version_mistakes("0.2.0", {"a": "0.2.0"}) == []
    found = rules.version_mistakes("0.2.0", {"a": "0.1.0", "b": None})
    assert found == ["a names 0.1.0, expected 0.2.0", "b names None, expected 0.2.0"]
    assert "expected MAJOR.MINOR.PATCH" in rules.version_mistakes("1.0", {})[0]


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), min_size=2, max_size=2))
def test_versions_are_ordered_as_numbers(versions: list[tuple[int, int, int]]) -> None:
    """Never as text; and what leads to a release stands before it."""
    first, second = (".".join(map(str, version)) for version in versions)
    assert (rules.order(first) < rules.order(second)) == (versions[0] < versions[1])
    assert rules.order(f"{first}a1") < rules.order(f"{first}b1") < rules.order(f"{first}rc2") < rules.order(first)
