"""Each promise about what a plugin declares is one that it can break, and no other promise tells."""

from typing import Any

import attrs
import pytest

from streamweaver import Record, option, transform
from streamweaver.testing.conformance.promises.declared import DECLARED, SECRET


@attrs.define
class Stamp:
    """Put a name on every record."""

    name: str = option(help="what to put on it", default="me", example="somebody", min_length=1)
    token: str | None = option(help="what opens the ink", default=None, secret=True)

    def process_record(self, record: Record, _context: Any) -> Record:
        return record


GOOD = "{use: stamp, name: somebody}"


@transform("stamp", example=GOOD)
@attrs.define
class Silent(Stamp):
    """Put a name on every record"""  # noqa: D400, D415 - that is what is wrong with it


@transform("stamp", example="{use: stamp, nam: somebody}")
@attrs.define
class Misspelt(Stamp):
    """Put a name on every record."""


@transform("stamp", example=GOOD)
@attrs.define
class Terse(Stamp):
    """Put a name on every record."""

    size: int = option(help="", default=1)


@transform("stamp", example=GOOD)
@attrs.define
class Unbounded(Stamp):
    """Put a name on every record."""

    size: int = option(help="size of the letters", default=1, example=0, ge=1)


@transform("stamp", example=GOOD)
@attrs.define
class Lax(Stamp):
    """Put a name on every record."""

    size: Any = option(help="size of the letters", default=1)


@transform("stamp", example=GOOD, groups_by="key")
@attrs.define
class Grouped(Stamp):
    """Put a name on every record."""


@transform("stamp", example=GOOD)
@attrs.define(repr=False)
class Chatty(Stamp):
    """Put a name on every record."""

    def __repr__(self) -> str:
        return f"Chatty({self.token})"


@transform("stamp", example=GOOD)
@attrs.define
class Logging(Stamp):
    """Put a name on every record."""

    def open(self, context: Any) -> None:
        context.log("opening", token=self.token)


@transform("stamp", example=GOOD)
@attrs.define
class Blaming(Stamp):
    """Put a name on every record."""

    def process_record(self, record: Record, _context: Any) -> Record:
        if self.token is not None:
            raise ValueError(f"{self.token} does not fit")
        return record


BROKEN: dict[type, str] = {
    Silent: "says_what_it_does",
    Misspelt: "example_is_valid",
    Terse: "every_option_has_help",
    Unbounded: "option_examples_are_valid",
    Lax: "options_are_strict",
    Chatty: "secrets_do_not_show",
    Logging: "secrets_do_not_show",
    Blaming: "secrets_do_not_show",
}


@pytest.mark.parametrize("target", BROKEN)
def test_only_this_behaviour_tells(target: type, caught: Any) -> None:
    """A plugin that breaks one promise fails the behaviour of that promise, and no other."""
    found = caught(target, records=[{"n": 1}, {"n": 2}])
    assert list(found) == [BROKEN[target]], found


def test_what_it_says_of_a_secret_does_not_hold_it(caught: Any) -> None:
    """The failure tells where the secret shows, and does not show it once more."""
    found = caught(Blaming, records=[{"n": 1}])
    assert "a dead letter" in found["secrets_do_not_show"]
    assert SECRET not in str(found)


def test_grouping_by_what_is_no_option(caught: Any) -> None:
    """A transform that groups by nothing that it has cannot run at all; this behaviour tells why."""
    found = caught(Grouped, records=[{"n": 1}])
    assert found["groups_by_names_an_option"] == "groups_by='key': its options are name, token"


def test_every_behaviour_can_fail() -> None:
    """There is a broken plugin for each behaviour."""
    assert {behaviour.name for behaviour in DECLARED} == {*BROKEN.values(), "groups_by_names_an_option"}
