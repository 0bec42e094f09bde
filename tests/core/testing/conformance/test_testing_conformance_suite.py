"""What a suite holds, and which behaviours it asks for."""

from pathlib import Path

import attrs
import pytest

from streamweaver import option, sink
from streamweaver.errors import ConfigError
from streamweaver.plugin import plugin_of
from streamweaver.testing.conformance.suite import Behaviours, Need, Suite, numbered
from streamweaver.testing.single import as_yaml


@sink("shelf")
@attrs.define
class Shelf:
    """Keep records."""

    path: Path = option(help="where")

    def write(self, _batch: object) -> None: ...


def suite(**options: object) -> Suite:
    return Suite(plugin=plugin_of(Shelf), targets=(Shelf,), options=options)


def test_options_become_what_the_plugin_has() -> None:
    """Options are converted as those of a pipeline file are; paths may be given as such."""
    assert suite(path=Path("a/b")).chosen() == Shelf(path=Path("a/b"))
    assert suite(path="a/b").build() == Shelf(path=Path("a/b"))


def test_wrong_options_are_located() -> None:
    """A mistake in the options is the one that a pipeline file would get."""
    with pytest.raises(ConfigError, match="missing key 'path'"):
        suite().chosen()


def test_values_are_ours_where_there_are_none() -> None:
    """Without records of the author's there are some to go on with."""
    assert suite().values == [numbered(0), numbered(1), numbered(2)]
    assert attrs.evolve(suite(), records=["a"]).values == ["a"]


def test_yaml_text_is_what_a_file_may_hold() -> None:
    """Whatever a value holds, a pipeline file can hold it."""
    assert as_yaml({"a": [1, None, "ü: {"], "p": Path("x")}) == '{"a":[1,null,"ü: {"],"p":"x"}'


def test_a_behaviour_is_named_and_promised_by_its_check() -> None:
    """The name is the function's, the promise its docstring, and the first need that is not met says why not."""
    some = Behaviours()
    never, always = Need("it never is", lambda _: False), Need("it always is", lambda _: True)

    @some.promise(always, never, guards="exactly_once")
    def holds(_suite: Suite, _folder: Path) -> None:
        """It holds."""

    (behaviour,) = some
    assert (behaviour.name, behaviour.promise, behaviour.guards) == ("holds", "It holds.", "exactly_once")
    assert behaviour.check is holds
    assert behaviour.left_out(suite()) == "it never is"
    assert attrs.evolve(behaviour, needs=(always,)).left_out(suite()) is None
