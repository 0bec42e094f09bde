"""Every transform as the configuration sees it: examples that work, help for each option, mistakes with their place."""

from importlib.metadata import entry_points
from typing import Any

import msgspec
import pytest

from streamweaver.config.convert import structure
from streamweaver.config.source import parse
from streamweaver.errors import ConfigError
from streamweaver.plugin import OptionInfo, Plugin, option_fields, plugin_of

NAMES = ["convert", "count_by", "filter", "keywords", "moving_average", "parse_log", "stamp"]

NEEDED: dict[str, dict[str, Any]] = {
    "count_by": {"by": "level"},
    "filter": {"where": "price > 1"},
    "keywords": {"field": "content", "words": ["AI"]},
    "moving_average": {"field": "price", "by": "symbol"},
}
"""What a plugin cannot do without, to try out the other options."""


def plugin(name: str) -> Plugin:
    (found,) = entry_points(group="streamweaver.transforms", name=name)
    return plugin_of(found.load())


def read(text: str, kind: type[Any]) -> Any:
    return structure(parse(text, "test.yaml"), kind, ignore=["use"])


@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_a_step(name: str) -> None:
    """The example of the decorator is a step that the configuration takes."""
    described = plugin(name)
    step = parse(described.example, "example").data()
    assert step["use"] == name == described.name
    assert isinstance(read(described.example, described.options), described.options)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_explained_and_its_example_works(name: str) -> None:
    """Each option has a help and an example that is accepted."""
    options = plugin(name).options
    for key, field in option_fields(options).items():
        info = field.metadata[OptionInfo.KEY]
        assert info.help
        assert info.example is not None
        text = msgspec.json.encode(NEEDED.get(name, {}) | {key: info.example}).decode()
        assert getattr(read(text, options), key) == info.example


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("filter", "use: filter\nwhere: price > open(1)", "test.yaml:2:8: where: line 1, column 9: got function open"),
        ("moving_average", "field: price\nby: symbol\nsize: 0", "test.yaml:3:7: "),
        ("moving_average", "field: a..b\nby: symbol", "test.yaml:1:8: "),
        ("moving_average", "field: price\nby: symbol\nsize: 3\nspan_seconds: 5", "got both size and span_seconds"),
        ("convert", "types: {price: number}", "test.yaml:1:16: "),
        ("convert", "timestamps:\n  at: '%H'", "test.yaml:2:3: "),
        ("keywords", "field: a\nwords: {AI: 0}", "test.yaml:2:8: words: AI: got weight 0"),
        ("keywords", "field: a\nwords: AI", "test.yaml:2:8: "),
        ("parse_log", "format: [dpkg, apache]", "test.yaml:1:9: format: got format 'apache'"),
        ("parse_log", "pattern: '('", "test.yaml:1:10: "),
        ("count_by", "by: []", "test.yaml:1:5: by: got no fields"),
        ("count_by", "by: level\nspan_seconds: 0", "test.yaml:2:15: "),
        ("stamp", "format: epoch", "test.yaml:1:9: "),
    ],
)
def test_mistakes_are_located(name: str, text: str, place: str) -> None:
    """A mistake in an option is reported at its line and column."""
    with pytest.raises(ConfigError) as raised:
        read(text, plugin(name).options)
    assert place in str(raised.value)
