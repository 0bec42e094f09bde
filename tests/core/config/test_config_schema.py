# ruff: noqa: E501 - a table
"""JSON Schema: what it says, and that it agrees with the converter."""

import enum
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from streamweaver import option
from streamweaver.config import Definitions, Findings, Seconds, Size, json_schema, object_schema, parse, structure
from streamweaver.errors import PluginLoadError

REFERENCE = {"$ref": "#/$defs/reference"}


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


@attrs.frozen
class Column:
    name: str
    width: int = option(default=1, help="how wide", ge=1, example=3)


@attrs.frozen
class Nested:
    inner: "list[Nested]" = attrs.field(factory=list)


@attrs.frozen
class Options:
    size: int = option(help="values to average", example=20, ge=1, lt=100)
    share: float = option(default=0.5, help="part", gt=0, le=1)
    on: bool = True
    title: str = option(default="none", help="title", min_length=2, pattern="[a-z]+")
    path: Path | None = Path("a/b")
    kind: Literal["line", "bar"] = "line"
    side: Side = Side.BUY
    unit: str = option(default="beta", help="unit", choices=["alpha", "beta"])
    tags: list[str] = option(factory=lambda: ["a"], help="tags", pattern="[a-z]+", min_length=1)
    pair: tuple[float, float] = (0.0, 1.0)
    unique: set[int] = attrs.field(factory=set)
    source: str | list[str] = "x"
    column: Column | None = None
    by_name: Mapping[str, Column] = attrs.field(factory=dict)
    nested: Nested = option(factory=Nested, help="itself")
    anything: Any = None
    every: Seconds = option(default=Seconds(1), help="pause", ge=1)
    room: Size = option(default=Size(0), help="room")
    password: str = option(default="canary", example="${env:PASSWORD}", help="password", secret=True)


def agrees(schema: Any, value: Any, root: Any) -> bool:
    """Judge a value by the keywords of JSON Schema that are in use here, by the standard's meaning of each."""
    if schema is True:
        return True
    checks = [
        "$ref" not in schema or agrees(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root),
        "anyOf" not in schema or any(agrees(member, value, root) for member in schema["anyOf"]),
        "enum" not in schema or any(type(value) is type(one) and value == one for one in schema["enum"]),
        "type" not in schema or _of_type(schema["type"], value),
    ]
    if isinstance(value, int | float) and not isinstance(value, bool):
        checks += [value >= schema.get("minimum", value), value <= schema.get("maximum", value)]
        checks += ["exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"]]
        checks += ["exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"]]
    if isinstance(value, str):
        checks += [re.search(schema.get("pattern", ""), value) is not None, len(value) >= schema.get("minLength", 0)]
    if isinstance(value, list):
        checks += [schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))]
        checks += [agrees(part, item, root) for part, item in zip(schema.get("prefixItems", []), value, strict=False)]
        checks += [agrees(schema.get("items", True), item, root) for item in value]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        more = schema.get("additionalProperties", True)
        checks += [set(schema.get("required", [])) <= set(value), len(value) >= schema.get("minProperties", 0)]
        checks += [
            agrees(known[key], item, root) if key in known else more is not False and agrees(more, item, root)
            for key, item in value.items()
        ]
    return all(checks)


def _of_type(name: str, value: Any) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "null": (type(None),), "boolean": (bool,), "integer": (int,), "number": (int, float), "string": (str,),
        "array": (list,), "object": (dict,),
    }  # fmt: skip
    return type(value) in kinds[name]


@pytest.mark.parametrize(
    "text",
    [
        "on: true", "on: yes", "size: 0", "size: 100", "size: 99", "size: 1.5", "size: '5'", "share: 0", "share: 1",
        "title: a", "title: ab", "title: Ab", "title: 5", "path: x", "path:", "path: 5", "kind: line", "kind: lime",
        "side: buy", "side: BUY", "unit: alpha", "unit: gamma", "tags: [a]", "tags: []", "tags: [A]", "tags: a", "tags: [1]",
        "pair: [1, 2]", "pair: [1]", "pair: [1, 2, 3]", "pair: [a, 1]", "unique: [1]", "unique: [a]", "source: a",
        "source: [a]", "source: [1]", "source: 1", "column: {name: a}", "column: {}", "column: {name: a, x: 1}",
        "column: {name: a, width: 0}", "column:", "by_name: {x: {name: a}}", "by_name: {x: 5}", "by_name: []",
        "nested: {inner: [{inner: []}]}", "nested: {inner: [{inner: 5}]}", "anything: [1, {a: b}]", "every: 5", "every: 0",
        "every: -1", "every: 5m", "every: 5x", "room: 5", "room: 5.5", "room: 5KiB", "room: 5Kib", "password: x",
        "password: 5", "nope: 1",
    ],
)  # fmt: skip
def test_schema_and_converter_agree(text: str) -> None:
    """What the schema accepts the converter accepts, and what one refuses the other refuses."""
    node = parse(text if text.startswith("size") else f"size: 5\n{text}", "f")
    findings = Findings()
    structure(node, Options, findings=findings)
    schema = json_schema(Options)
    assert agrees(schema, node.data(), schema) is not findings.failed


SCALARS = [
    "size",
    "share",
    "on",
    "title",
    "path",
    "kind",
    "side",
    "unit",
    "source",
    "anything",
    "every",
    "room",
    "password",
]


@pytest.mark.parametrize("reference", ["${env:X}", "a ${file:b/c} d"])
@pytest.mark.parametrize("name", SCALARS)
def test_a_scalar_may_be_a_reference(name: str, reference: str) -> None:
    """Every option that takes a scalar takes a reference, whatever its type and bounds; so do items and nested ones."""
    schema = json_schema(Options)
    assert agrees(schema, {"size": 5, name: reference}, schema)
    nested = {"tags": [reference], "column": {"name": reference, "width": reference}}
    assert agrees(schema, {"size": reference, **nested}, schema)


def test_the_schema_of_one_option_says_all_that_is_known() -> None:
    """Help, bounds, default, example and secrecy are in the schema; a secret's default is not shown."""
    schema = json_schema(Options, title="options")
    assert (schema["$schema"], schema["title"]) == ("https://json-schema.org/draft/2020-12/schema", "options")
    assert schema["required"] == ["size"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert properties["size"] == {
        "anyOf": [{"type": "integer", "minimum": 1, "exclusiveMaximum": 100}, REFERENCE],
        "description": "values to average",
        "examples": [20],
    }
    assert properties["side"] == {"anyOf": [{"enum": ["buy", "sell"]}, REFERENCE], "default": "buy"}
    assert properties["path"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": "a/b"}
    assert properties["tags"]["default"] == ["a"]
    assert properties["nested"]["default"] == {"inner": []}
    assert properties["password"] == {
        "type": "string",
        "description": "password",
        "writeOnly": True,
        "examples": ["${env:PASSWORD}"],
    }
    assert "canary" not in json.dumps(schema)


def test_an_option_with_a_unit_says_how_it_is_written() -> None:
    """Editors show the description, not the pattern: a duration and a size name their units there, optional ones too."""

    @attrs.frozen
    class Units:
        wait: Seconds | None = option(default=None, help="longest wait")
        room: Size = option(default=Size(0), help="room")

    properties = json_schema(Units)["properties"]
    assert properties["wait"]["description"] == (
        "longest wait; a duration (500ms, 10s, 5m, 1h, 7d, or a number of seconds)"
    )
    assert properties["room"]["description"] == "room; a size (64KiB, 10MB, 1GiB, or a number of bytes)"


def test_a_type_that_no_yaml_fits_has_no_schema() -> None:
    """An option of a type that cannot be written is a defect of the plugin."""
    with pytest.raises(PluginLoadError, match="no YAML value fits the type"):
        json_schema(bytes)


def test_a_stage_is_composed_of_engine_keys_and_options() -> None:
    """Own keys stand beside a plugin's options in one object, and classes of one name do not mix."""

    @attrs.frozen
    class Other:
        column: Column

    def another() -> type[Any]:
        @attrs.frozen
        class Other:
            size: int

        return attrs.make_class("Holder", {"other": attrs.field(type=Other)})

    definitions = Definitions()
    use = {"const": "other"}
    made = object_schema(Other, definitions, also={"use": use}, required=["use"])
    assert made["properties"]["use"] == use
    assert made["required"] == ["use", "column"]
    name = made["properties"]["column"]["$ref"].removeprefix("#/$defs/")
    assert definitions.schemas[name]["required"] == ["name"]
    names = [object_schema(another(), definitions)["properties"]["other"]["$ref"] for _ in range(2)]
    assert names[0] != names[1]
    assert all(definitions.schemas[name.removeprefix("#/$defs/")]["required"] == ["size"] for name in names)
