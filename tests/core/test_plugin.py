"""Options, and the description of a plugin."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import API_VERSION, PluginError, option, sink
from streamweaver.errors import PluginLoadError
from streamweaver.plugin import NAME, Bounds, OptionInfo, option_fields, plugin_of


@sink("store")
@attrs.define
class Store:
    """A class with every kind of field."""

    path: Path = option(help="where", example="out.db")
    size: int = option(help="how many", default=3, ge=1, lt=10)
    tags: list[str] = option(help="words", factory=list, choices=["a", "b"], min_length=1)
    password: str = option(help="secret word", default="", secret=True, pattern=r"\w*")
    _handle: Any = attrs.field(default=None)
    opened: bool = attrs.field(default=False, init=False)

    def write(self, batch: object) -> None:
        """Take a batch."""


def info(name: str) -> OptionInfo:
    found = option_fields(Store)[name].metadata[OptionInfo.KEY]
    assert isinstance(found, OptionInfo)
    return found


def test_options_are_the_public_fields_of_init() -> None:
    """Private fields and those that `__init__` does not take cannot be set in YAML."""
    assert list(option_fields(Store)) == ["path", "size", "tags", "password"]


def test_an_option_without_default_is_required() -> None:
    """Without it the plugin cannot be made."""
    with pytest.raises(TypeError, match="path"):
        Store()


def test_options_are_keyword_only() -> None:
    """The order of fields is no part of a plugin's interface."""

    @attrs.define
    class Size:
        size: int = option(help="how many", default=3)

    with pytest.raises(TypeError, match="positional"):
        Size(1)


def test_a_factory_makes_a_value_for_each_instance() -> None:
    """Two plugins never share a list."""
    assert Store(path=Path("x")).tags is not Store(path=Path("x")).tags


def test_a_secret_does_not_show() -> None:
    """`repr` blanks the value of a secret option, and no other."""
    assert repr(Store(path=Path("x"), password="hush")).startswith(
        "Store(path=PosixPath('x'), size=3, tags=[], password=***"
    )


def test_help_example_and_bounds_are_kept_as_data() -> None:
    """What `option` was told is what validation, schema and pages read."""
    assert info("path") == OptionInfo("where", "out.db", False, Bounds())
    assert info("size").bounds == Bounds(ge=1, lt=10)
    assert info("tags").bounds == Bounds(choices=("a", "b"), min_length=1)
    assert info("password") == OptionInfo("secret word", None, True, Bounds(pattern=r"\w*"))


def test_bounds_are_not_applied_by_attrs() -> None:
    """They are checked where the file is read, so that every violation is found and located; not here, one by one."""
    assert Store(path=Path("x"), size=99).size == 99


def test_a_validator_is_attrs_own() -> None:
    """A validator of the author's runs when the object is made."""

    def even(_instance: Any, _attribute: Any, value: int) -> None:
        if value % 2:
            raise ValueError(f"got {value}, expected an even number")

    @attrs.define
    class Pair:
        count: int = option(help="even", validator=even)

    assert Pair(count=2).count == 2
    with pytest.raises(ValueError, match="got 3, expected an even number"):
        Pair(count=3)


def test_plugin_of_returns_the_description() -> None:
    """The decorator's description is found on the class, which builds itself from itself."""
    described = plugin_of(Store)
    chosen = Store(path=Path("x"))
    assert (described.kind, described.name, described.options, described.api) == ("sink", "store", Store, API_VERSION)
    assert described.summary == described.doc == "A class with every kind of field."
    assert described.build(chosen) is chosen


@pytest.mark.parametrize(
    ("target", "what"), [(dict, "dict"), (5, "5"), (len, "len")], ids=["class", "value", "function"]
)
def test_plugin_of_refuses_what_is_not_decorated(target: object, what: str) -> None:
    """The error names the thing, and what to put on it."""
    with pytest.raises(PluginLoadError) as caught:
        plugin_of(target)
    assert str(caught.value) == f"{what} is no plugin: decorate it with @producer, @transform, @sink, @broker or @codec"
    assert isinstance(caught.value, PluginError)


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a", True),
        ("a_b", True),
        ("s3_file2", True),
        ("", False),
        ("A", False),
        ("_a", False),
        ("a_", False),
        ("a__b", False),
        ("a-b", False),
        ("ä", False),
    ],
)
def test_names(name: str, fits: bool) -> None:
    """A plugin's name is lower-case words joined by single underscores."""
    assert bool(NAME.fullmatch(name)) is fits
