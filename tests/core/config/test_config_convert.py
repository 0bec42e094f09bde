# ruff: noqa: E501 - a table of whole messages
"""Conversion: what fits which type, and the exact findings for what does not."""

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from streamweaver import option, transform
from streamweaver.config import Findings, Node, Seconds, Size, parse, resolve, structure
from streamweaver.errors import ConfigError, PluginLoadError
from streamweaver.plugin import plugin_of
from streamweaver.record import Record

T = TypeVar("T")
Name = NewType("Name", str)


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Level(enum.StrEnum):
    INFO = "info"
    WARN = "warn"


class Grade(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.frozen
class Column:
    name: str
    width: int = option(default=1, help="width", ge=1)


@attrs.frozen
class Options:
    size: int = option(default=20, help="values", ge=1, lt=100)
    share: float = option(default=0.5, help="part", gt=0, le=1)
    on: bool = True
    title: str = option(default="none", help="title", min_length=2, pattern="[a-z]+")
    path: Path | None = None
    kind: Literal["line", "bar"] = "line"
    side: Side = Side.BUY
    level: Level = Level.INFO
    grade: Grade = Grade.LOW
    unit: str = option(default="a", help="unit", choices=["alpha", "beta"])
    tags: list[str] = option(factory=list, help="tags", pattern="[a-z]+")
    pair: tuple[float, float] = (0.0, 1.0)
    many: tuple[int, ...] = ()
    unique: set[int] = option(factory=set, help="numbers", ge=0)
    source: str | list[str] = "x"
    either: str | int | None = None
    number: int | float = 0
    amount: float | int = 0
    columns: Sequence[Column] = ()
    by_name: Mapping[str, Column] = attrs.field(factory=dict)
    by_side: dict[Side, int] = attrs.field(factory=dict)
    column: Column | None = None
    anything: Any = None
    name: Name = Name("n")
    noted: Annotated[int, "what it is"] = 0
    every: Seconds = option(default=Seconds(1), help="pause", ge=1)
    room: Size = option(default=Size(0), help="room")
    password: str = option(default="", help="password", secret=True, min_length=4)
    even: int = attrs.field(default=0)
    _hidden: int = 0
    computed: int = attrs.field(default=7, init=False)

    @even.validator
    def _check_even(self, _attribute: object, value: int) -> None:
        if value % 2:
            raise ValueError(f"got {value}, expected an even number below {self.size}")


KNOWN = (
    "amount, anything, by_name, by_side, column, columns, either, even, every, grade, kind, level, many, name, noted, number, "
    "on, pair, password, path, room, share, side, size, source, tags, title, unique, unit"
)


def convert(text: str, cls: type[T], environ: Mapping[str, str] | None = None) -> tuple[T | None, list[str]]:
    findings = Findings()
    node = resolve(parse(text, "f"), environ or {}, Path("/nowhere"), findings)
    result = structure(node, cls, findings=findings)
    return result, [str(item) for item in sorted(findings.items)]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("size: 1", "size", 1),
        ("share: 1", "share", 1.0),
        ("on: false", "on", False),
        ("title: abc", "title", "abc"),
        ("path: a/b", "path", Path("a/b")),
        ("path: null", "path", None),
        ("kind: bar", "kind", "bar"),
        ("side: sell", "side", Side.SELL),
        ("level: warn", "level", Level.WARN),
        ("grade: 2", "grade", Grade.HIGH),
        ("unit: beta", "unit", "beta"),
        ("tags: [a, b]", "tags", ["a", "b"]),
        ("pair: [1, 2.5]", "pair", (1.0, 2.5)),
        ("many: [1, 2]", "many", (1, 2)),
        ("unique: [1, 2, 1]", "unique", {1, 2}),
        ("source: [a]", "source", ["a"]),
        ("source: a", "source", "a"),
        ("either: 5", "either", 5),
        ("either: '5'", "either", "5"),
        ("number: 5", "number", 5),
        ("number: 5.0", "number", 5.0),
        ("amount: 5", "amount", 5),
        ("columns: [{name: a, width: 2}]", "columns", [Column("a", width=2)]),
        ("by_name: {x.y: {name: a}}", "by_name", {"x.y": Column("a")}),
        ("by_side: {sell: 1}", "by_side", {Side.SELL: 1}),
        ("column: {name: a}", "column", Column("a")),
        ("anything: {a: [1, {b: null}]}", "anything", {"a": [1, {"b": None}]}),
        ("name: x", "name", "x"),
        ("noted: 3", "noted", 3),
        ("every: 5m", "every", 300.0),
        ("every: 2", "every", 2.0),
        ("room: 64KiB", "room", 65536),
        ("even: 2", "even", 2),
    ],
)
def test_what_fits_is_converted(text: str, name: str, value: object) -> None:
    """Each supported type takes what is written for it, as exactly that type."""
    result, findings = convert(text, Options)
    assert findings == []
    assert repr(getattr(result, name)) == repr(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('size: "5"', ['f:1:7: size: got text "5", expected a whole number; remove the quotes']),
        ("size: 5.0", ["f:1:7: size: got 5.0, expected a whole number"]),
        ("size: true", ["f:1:7: size: got true, expected a whole number"]),
        ("size:", ["f:1:6: size: got nothing, expected a whole number"]),
        ("size: 1_000", ['f:1:7: size: got text "1_000", expected a whole number; write the digits alone, without leading zeros']),
        ("size: 0", ["f:1:7: size: got 0, expected at least 1 and less than 100"]),
        ("size: 100", ["f:1:7: size: got 100, expected at least 1 and less than 100"]),
        ("size: [1]", ["f:1:7: size: got a list, expected a whole number"]),
        ("share: .nan", ["f:1:8: share: got nan, expected more than 0 and at most 1"]),
        ("on: yes", ['f:1:5: on: got text "yes", expected true or false; write true']),
        ("on: Off", ['f:1:5: on: got text "Off", expected true or false; write false']),
        ("on: 1", ["f:1:5: on: got 1, expected true or false"]),
        ("title: 5", ["f:1:8: title: got 5, expected text; put it in quotes"]),
        ("title: A", ["f:1:8: title: got a length of 1, expected a length of at least 2", 'f:1:8: title: got text "A", expected text that matches [a-z]+']),
        ("path: 5", ["f:1:7: path: got 5, expected a path or nothing; put it in quotes"]),
        ("kind: lime", ['f:1:7: kind: got text "lime", expected one of "line", "bar"; did you mean \'line\'?']),
        ("side: BUY", ['f:1:7: side: got text "BUY", expected one of "buy", "sell"']),
        ("level: wran", ['f:1:8: level: got text "wran", expected one of "info", "warn"; did you mean \'warn\'?']),
        ("grade: true", ["f:1:8: grade: got true, expected one of 1, 2"]),
        ("unit: alfa", ['f:1:7: unit: got text "alfa", expected one of "alpha", "beta"; did you mean \'alpha\'?']),
        ("tags: a", ['f:1:7: tags: got text "a", expected a list (each item text); write a list as [a, b]']),
        ("tags:\n  - a\n  - B\n  - C", ['f:3:5: tags[1]: got text "B", expected text that matches [a-z]+', 'f:4:5: tags[2]: got text "C", expected text that matches [a-z]+']),
        ("tags: [1, b, true]", ["f:1:8: tags[0]: got 1, expected text; put it in quotes", "f:1:14: tags[2]: got true, expected text; put it in quotes"]),
        ("pair: [1]", ["f:1:7: pair: got a list of 1, expected a list of a number and a number"]),
        ("unique: [1, -1]", ["f:1:13: unique[1]: got -1, expected at least 0"]),
        ("source: 5", ["f:1:9: source: got 5, expected text or a list (each item text); put it in quotes"]),
        ("source: [a, 5]", ["f:1:13: source[1]: got 5, expected text; put it in quotes"]),
        ("either: 1.5", ["f:1:9: either: got 1.5, expected text, a whole number or nothing; put it in quotes"]),
        ("columns: [{width: 0, nam: a}, 5]", ["f:1:11: columns[0]: missing key 'name', expected text", "f:1:19: columns[0].width: got 0, expected at least 1", "f:1:22: columns[0].nam: unknown key 'nam'; did you mean 'name'?", "f:1:31: columns[1]: got 5, expected a mapping"]),
        ("by_name: {x.y: {}}", ["f:1:16: by_name.\"x.y\": missing key 'name', expected text"]),
        ("by_side: {sel: x, buy: 1}", ['f:1:11: by_side.sel: got text "sel", expected one of "buy", "sell"; did you mean \'sell\'?', 'f:1:16: by_side.sel: got text "x", expected a whole number']),
        ("column: {name: 1}", ["f:1:16: column.name: got 1, expected text; put it in quotes"]),
        ("every: 5", []),
        ("every: 5x", ['f:1:8: every: got text "5x", expected a duration (500ms, 10s, 5m, 1h, 7d, or a number of seconds)']),
        ('every: "5"', ['f:1:8: every: got text "5", expected a duration (500ms, 10s, 5m, 1h, 7d, or a number of seconds); remove the quotes']),
        ("every: 10ms", ['f:1:8: every: got text "10ms", expected at least 1']),
        ("room: 1.5", ["f:1:7: room: got 1.5, expected a size (64KiB, 10MB, 1GiB, or a number of bytes)"]),
        ("password: 12", ["f:1:11: password: got a whole number (not shown), expected text; put it in quotes"]),
        ("password: abc", ["f:1:11: password: got text (not shown), expected a length of at least 4"]),
        ("even: 3", ["f:1:7: even: got 3, expected an even number below 20"]),
        ("size: 50\neven: 3", ["f:2:7: even: got 3, expected an even number below 50"]),
        ("siez: 5", ["f:1:1: siez: unknown key 'siez'; did you mean 'size'?"]),
        ("_hidden: 1\nHIDDEN: 1\nCOMPUTED: 1", [f"f:{n}:1: {key}: unknown key '{key}'; known are {KNOWN}" for n, key in [(1, "_hidden"), (2, "HIDDEN"), (3, "COMPUTED")]]),
        ("- 1", ["f:1:1: got a list, expected a mapping"]),
        ("size: x\non: no\ntitl: a\npair: 1\neven: 1", ['f:1:7: size: got text "x", expected a whole number', 'f:2:5: on: got text "no", expected true or false; write false', "f:3:1: titl: unknown key 'titl'; did you mean 'title'?", "f:4:7: pair: got 1, expected a list of a number and a number; write a list as [a, b]", "f:5:7: even: got 1, expected an even number below 20"]),
    ],
)  # fmt: skip
def test_every_mistake_is_found_at_its_place(text: str, expected: list[str]) -> None:
    """One pass tells every mistake with place, path, what was got, what was expected, and a hint."""
    result, findings = convert(text, Options)
    assert findings == expected
    assert (result is None) is bool(expected)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(SCALARS, st.sampled_from([bool, int, float, str, type(None)]))
def test_nothing_is_coerced(value: object, type_: type[Any]) -> None:
    """A scalar converts to its own type, a whole number to float too, and to nothing else."""
    findings = Findings()
    result = structure(Node("scalar", value, parse("x", "f").mark), type_, findings=findings)
    fits = type(value) is type_ or (type_ is float and type(value) is int)
    assert findings.failed is not fits
    if fits:
        assert type(result) is type_
        assert result == value


def test_only_and_ignore_let_two_classes_share_a_mapping() -> None:
    """Engine keys and a plugin's options stand side by side; a misspelt key is matched against both."""

    @attrs.frozen
    class Stage:
        use: str
        rate: int | None = None

    node = parse("use: x\nrate: a\nname: 5\nraet: 1\nnaem: 2\n", "f")
    findings = Findings()
    engine = {"use", "rate"}
    assert structure(node, Stage, only=engine, findings=findings) is None
    assert structure(node, Column, ignore=engine, findings=findings) is None
    with pytest.raises(ConfigError) as caught:
        findings.raise_errors()
    assert str(caught.value).split("\n") == [
        'f:2:7: rate: got text "a", expected a whole number or nothing',
        "f:3:7: name: got 5, expected text; put it in quotes",
        "f:4:1: raet: unknown key 'raet'; did you mean 'rate'?",
        "f:5:1: naem: unknown key 'naem'; did you mean 'name'?",
    ]


def test_an_earlier_finding_of_the_collector_does_not_spoil_the_next_call() -> None:
    """A collector that holds mistakes of other parts still lets a good part convert."""
    findings = Findings()
    assert structure(parse("name: 1", "f"), Column, findings=findings) is None
    assert structure(parse("name: a", "f"), Column, findings=findings) == Column("a")


def test_without_a_collector_all_mistakes_are_raised_together() -> None:
    """`structure` alone raises one ConfigError with every finding, and nothing hangs on it."""
    with pytest.raises(ConfigError) as caught:
        structure(parse("nam: 1\nwidth: 0", "f"), Column)
    assert len(caught.value.findings) == 3
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_post_init_and_converters_are_reported() -> None:
    """A class that refuses its values as a whole is reported at the mapping, a converter at its field."""

    def upper(value: str) -> str:
        if value == "x":
            raise ValueError("x is taken")
        return value.upper()

    @attrs.frozen
    class Range:
        low: int = 0
        high: int = attrs.field(default=9, validator=attrs.validators.le(9))
        name: str = attrs.field(default="a", converter=upper)

        def __attrs_post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError(f"low is {self.low}, expected at most high ({self.high})")

    assert convert("a: {low: 5, high: 3}", dict[str, Range])[1] == ["f:1:4: a: low is 5, expected at most high (3)"]
    assert convert("name: x\nhigh: 10", Range)[1] == ["f:1:7: name: x is taken", "f:2:7: high: 'high' must be <= 9: 10"]
    result, _ = convert("name: b", Range)
    assert result is not None
    assert result.name == "B"


def test_a_validator_that_misses_a_failed_field_is_not_blamed() -> None:
    """A validator that looks at another field is quiet while that field has a finding of its own."""

    @attrs.frozen
    class Pair:
        low: int
        high: int = attrs.field()

        @high.validator
        def _above(self, _attribute: object, value: int) -> None:
            if value < self.low:
                raise ValueError("expected at least low")

    assert convert("low: x\nhigh: 1", Pair)[1] == ['f:1:6: low: got text "x", expected a whole number']
    assert convert("low: 2\nhigh: 1", Pair)[1] == ["f:2:7: high: expected at least low"]


def test_generic_and_recursive_classes_convert() -> None:
    """A generic attrs class takes its argument, and a class may hold itself."""
    assert convert("value: 5", Box[int])[0] == Box(5)
    assert convert("value: a", Box[int])[1] == ['f:1:8: value: got text "a", expected a whole number']
    assert convert("items: [{items: []}]", Tree)[0] == Tree([Tree([])])
    assert convert("items: [{items: [5]}]", Tree)[1] == ["f:1:18: items[0].items[0]: got 5, expected a mapping"]


@attrs.frozen
class Box(Generic[T]):
    value: T


@attrs.frozen
class Tree:
    items: "list[Tree]"


def test_the_options_of_a_decorated_function_convert() -> None:
    """Keyword-only parameters of a function are options like any other."""

    @transform
    def shout(record: Record, *, field: str, times: int = 1) -> Record:
        return record

    options = plugin_of(shout).options
    assert convert("field: 5\ntimes: x", options)[1] == [
        "f:1:8: field: got 5, expected text; put it in quotes",
        'f:2:8: times: got text "x", expected a whole number',
    ]
    result: Any = convert("field: a", options)[0]
    assert (result.field, result.times) == ("a", 1)


@pytest.mark.parametrize("type_", [bytes, complex, dict[str, bytes], type, list[bytearray]])
def test_a_type_that_no_yaml_fits_is_a_defect_of_the_plugin(type_: Any) -> None:
    """An option of a type that cannot be written is a PluginLoadError, not a finding against the user."""
    with pytest.raises(PluginLoadError, match="no YAML value fits the type"):
        structure(parse("[{a: 1}]" if type_ == list[bytearray] else "{a: 1}", "f"), type_)


def test_a_set_of_lists_is_a_defect_of_the_plugin() -> None:
    """Items that cannot stand in a set are told as the plugin's defect."""
    with pytest.raises(PluginLoadError, match="no hashable items"):
        structure(parse("[[1]]", "f"), set[list[int]])


def test_an_annotation_that_names_nothing_is_a_defect_of_the_plugin() -> None:
    """A class whose annotations cannot be resolved is named."""
    cls = attrs.make_class("Broken", {"a": attrs.field(type="Nope")})  # type: ignore[call-overload]
    with pytest.raises(PluginLoadError, match="options Broken: annotation names nothing"):
        structure(parse("a: 1", "f"), cls)


def test_annotations_of_other_attributes_are_nobodys_business() -> None:
    """Only the options' types are looked up: a private attribute may name what only a type checker imports."""
    private = attrs.field(init=False, default=None, type="OnlyForTheTypeChecker")  # type: ignore[call-overload]
    cls = attrs.make_class("Lazy", {"a": attrs.field(type="int"), "_server": private})  # type: ignore[call-overload]
    assert structure(parse("a: 1", "f"), cls).a == 1


def test_a_type_alias_stands_for_its_value() -> None:
    """An option annotated with a named type takes what the name stands for."""
    alias: Any = TypeAliasType("alias", list[int])
    assert structure(parse("[1]", "f"), alias) == [1]


def test_what_cannot_be_tried_beforehand_is_reported_at_the_mapping() -> None:
    """Converters that want the instance, and factories that fail, speak at construction."""

    def scaled(value: int, instance: Any) -> int:
        if value > instance.most:
            raise ValueError("more than most")
        return value

    def fail() -> int:
        raise OSError("no disk")

    @attrs.frozen
    class Late:
        most: int = 5
        size: int = attrs.field(default=1, converter=attrs.Converter(scaled, takes_self=True))  # type: ignore[misc]

    @attrs.frozen
    class Failing:
        name: str = ""
        made: int = attrs.field(factory=fail)

    assert convert("x: {size: 9}", dict[str, Late])[1] == ["f:1:4: x: more than most"]
    assert convert("x: {size: 3}", dict[str, Late])[0] == {"x": Late(size=3)}
    assert convert("x: {name: a}", dict[str, Failing])[1] == ["f:1:4: x: OSError: no disk"]


def test_an_unresolved_reference_is_told_once_with_everything_else() -> None:
    """A missing variable has its own finding: nothing is said of its type, and all else is still checked."""
    text = "size: ${env:NONE}\non: yes\ntags: [a, '${env:NONE}']\ncolumn: {name: '${env:NONE}', width: 0}\nside: ${env:NONE}\n"
    result, findings = convert(text, Options)
    assert result is None
    missing = "environment variable NONE is not set; set it, or give a default: ${env:NONE:-...}"
    assert findings == [
        f"f:1:7: size: {missing}",
        'f:2:5: on: got text "yes", expected true or false; write true',
        f"f:3:11: tags[1]: {missing}",
        f"f:4:16: column.name: {missing}",
        "f:4:38: column.width: got 0, expected at least 1",
        f"f:5:7: side: {missing}",
    ]
    assert convert("${env:NONE}", Options)[1] == [f"f:1:1: {missing}"]
    tree = resolve(parse("size: ${env:NONE}", "f"), {}, Path("/nowhere"), Findings())
    with pytest.raises(ConfigError, match="holds a reference that could not be resolved"):
        structure(tree, Options)


CANARY = "canary-7f3a"


@attrs.frozen
class Guarded:
    """Every way in which a plugin could give a secret away."""

    password: str = option(default="", help="p", secret=True, choices=["other"], pattern="[0-9]+", min_length=50)
    checked: str = option(default="", help="c", secret=True, validator=attrs.validators.matches_re("[0-9]+"))
    inner: dict[str, list[int]] = option(factory=dict, help="i", secret=True)
    number: int = option(default=0, help="n", ge=10**9)
    side: Side | None = None
    columns: list[Column] = option(factory=list, help="c")
    plain: str = option(default="", help="p", validator=attrs.validators.max_len(3))
    whole: str = option(default="", help="w", secret=True)

    def __attrs_post_init__(self) -> None:
        if self.whole:
            raise ValueError(f"cannot use {self.whole[2:9]}")


@pytest.mark.parametrize(
    "text",
    [
        f"password: {CANARY}",
        f"password: [{CANARY}]",
        f"checked: {CANARY}",
        f"inner: {{a: [{CANARY}], b: {CANARY}}}",
        f"whole: {CANARY}",
        "number: ${env:SECRET}",
        "side: ${env:SECRET}",
        "side: 'x${env:SECRET}'",
        "columns: ${env:SECRET}",
        "columns:\n  - ${env:SECRET}",
        "columns:\n  - width: ${env:SECRET}",
        "plain: ${env:SECRET}",
        "plain: ${env:NONE:-" + CANARY + "}",
        "plain: <${env:SECRET}>",
        "number: ${env:DIGITS}",
        "password: ${env:DIGITS}",
    ],
)
def test_no_finding_shows_a_secret_or_a_referenced_value(text: str) -> None:
    """Neither the finding, nor any error, nor any repr on the way holds a secret or a part of it."""
    findings = Findings()
    environ = {"SECRET": CANARY, "DIGITS": "73317331"}
    tree = resolve(parse(text, "f"), environ, Path("/nowhere"), findings)
    with pytest.raises(ConfigError) as caught:
        structure(tree, Guarded)
    said = [str(caught.value), repr(caught.value), repr(caught.value.findings), repr(tree), *map(repr, tree.walk())]
    said += [repr(caught.value.__cause__), repr(caught.value.__context__)]
    for part in (CANARY, CANARY[2:9], "anary", "7331"):
        assert part not in "\n".join(said)


@pytest.mark.parametrize(("secret", "shown"), [("q7", False), ("zz", True), ("", True)])
def test_a_short_secret_hides_the_text_that_holds_it(secret: str, shown: bool) -> None:
    """A plugin's own text is shown only when no hidden value stands in it, however short that is."""

    @attrs.frozen
    class Picky:
        pin: str = option(help="pin", secret=True)

        def __attrs_post_init__(self) -> None:
            raise ValueError("cannot use q7")

    said = (
        "cannot use q7"
        if shown
        else "not accepted by the plugin (ValueError; its text shows a hidden value, so it is left out)"
    )
    assert convert(f"pin: '{secret}'", Picky)[1] == [f"f:1:1: {said}"]


def test_a_referenced_value_is_named_by_its_reference() -> None:
    """A wrong value from the environment is told by the reference and its type."""
    assert convert("size: ${env:X}\ntitle: ${env:X}", Options, {"X": "300"})[1] == [
        "f:1:7: size: got the value of ${env:X} (a whole number), expected at least 1 and less than 100",
        "f:2:8: title: got the value of ${env:X} (a whole number), expected text; put the reference in quotes",
    ]
    assert convert('size: "${env:X}"', Options, {"X": "5"})[1] == [
        "f:1:7: size: got the value of ${env:X} (text), expected a whole number; remove the quotes"
    ]
