"""Attrs classes to JSON Schema (draft 2020-12), from the same facts that the converter checks by."""

import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from streamweaver.config.checks import option_info
from streamweaver.config.instance import option_types
from streamweaver.config.words import LISTS, MAPPINGS, SETS, attrs_class, bare, choices, expected, is_union
from streamweaver.errors import PluginLoadError
from streamweaver.plugin import Bounds, OptionInfo, option_fields
from streamweaver.units import SECONDS_PATTERN, SIZE_PATTERN, Seconds, Size

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_REFERENCE: Schema = {
    "type": "string",
    "pattern": r"^.*\$\{(env|file):.*$",
    "description": "a reference: ${env:NAME}, ${env:NAME:-default} or ${file:PATH}",
}
_SIMPLE: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    Seconds: {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{SECONDS_PATTERN}$"}]},
    Size: {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{SIZE_PATTERN}$"}]},
}


class Definitions:
    """The `$defs` of one schema document; filled while the pieces are made."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {"reference": _REFERENCE}
        self._names: dict[type[Any], str] = {}

    def name(self, cls: type[Any]) -> str:
        """Return the name of a class among the definitions, made at its first use."""
        if cls not in self._names:
            name = base = f"{cls.__module__}.{cls.__qualname__}".replace("<locals>", "local")
            number = 1
            while name in self.schemas:
                number += 1
                name = f"{base}.{number}"
            self._names[cls] = name
            self.schemas[name] = {}  # so that a class that holds itself comes to an end
            self.schemas[name] = object_schema(cls, self)
        return self._names[cls]


def json_schema(type_: Any, *, title: str = "") -> Schema:
    """Return a whole schema document for one type."""
    definitions = Definitions()
    made = object_schema(type_, definitions) if attrs_class(type_) else schema_of(type_, definitions)
    return {"$schema": DIALECT, **({"title": title} if title else {}), **made, "$defs": definitions.schemas}


def object_schema(
    cls: Any, definitions: Definitions, *, also: Mapping[str, Schema] | None = None, required: Sequence[str] = ()
) -> Schema:
    """Return the schema of an attrs class's options, in place.

    `also` are keys that the mapping holds beside the options (they win over options of the same name), and `required`
    names those of them that must be there: a stage's own keys, beside the options of its plugin.
    """
    base, kinds = attrs_class(cls) or cls, option_types(cls)
    properties: Schema = dict(also or {})
    needed = list(required)
    for name, field in option_fields(base).items():
        if name not in properties:
            properties[name] = _option(field, kinds[name], definitions)
            if field.default is attrs.NOTHING:
                needed.append(name)
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": needed} if needed else made


def schema_of(type_: Any, definitions: Definitions, bounds: Bounds | None = None) -> Schema:
    """Return the schema of one type; nested attrs classes go to the definitions, and are referred to."""
    type_, bounds = bare(type_), bounds or Bounds()
    if is_union(type_):
        return {"anyOf": [schema_of(member, definitions, bounds) for member in typing.get_args(type_)]}
    if (cls := attrs_class(type_)) is not None:
        return {"$ref": f"#/$defs/{definitions.name(cls)}"}
    origin, arguments = typing.get_origin(type_) or type_, typing.get_args(type_)
    if origin in (tuple, *LISTS, *SETS):
        return _list(origin, arguments, definitions, bounds)
    if origin in MAPPINGS:
        values = schema_of(arguments[1], definitions, attrs.evolve(bounds, min_length=None)) if arguments else True
        least = {} if bounds.min_length is None else {"minProperties": bounds.min_length}
        return {"type": "object", "additionalProperties": values, **least}
    if type_ in (Any, object):
        return {}
    known = choices(type_)
    if known is None and type_ not in _SIMPLE:
        raise PluginLoadError(f"no YAML value fits the type {type_!r} of an option")
    made = {"enum": known} if known is not None else _bounded(dict(_SIMPLE[type_]), bounds)
    if type_ in (None, type(None)) or made == {"type": "string"}:
        return made
    members = made["anyOf"] if made.keys() == {"anyOf"} else [made]
    return {"anyOf": [*members, {"$ref": "#/$defs/reference"}]}


def plain(value: Any) -> Any:
    """Return a default or an example as it would stand in a file: paths and enums as text, attrs instances as dicts."""
    if attrs.has(type(value)):
        return {name: plain(getattr(value, name)) for name in option_fields(type(value))}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=str)
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def default_of(field: "attrs.Attribute[Any]") -> Any:
    """Return a field's default as it would stand in a file; NOTHING when there is none, or when it is computed."""
    value: Any = field.default
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        value = attrs.NOTHING if value.takes_self else value.factory()
    return value if value is attrs.NOTHING else plain(value)


def _option(field: "attrs.Attribute[Any]", type_: Any, definitions: Definitions) -> Schema:
    info: OptionInfo = option_info(field)
    made = dict(schema_of(type_, definitions, info.bounds))
    if info.help:
        made["description"] = "; ".join([info.help, *_with_unit(type_)])
    if info.deprecated:
        made["deprecated"] = True
    if info.secret:
        made["writeOnly"] = True
    elif (default := default_of(field)) is not attrs.NOTHING:
        made["default"] = default
    if info.example is not None:
        made["examples"] = [plain(info.example)]
    return made


def _with_unit(type_: Any) -> list[str]:
    """Say how a value with a unit is written, which its pattern tells machines only."""
    members = typing.get_args(type_) if is_union(type_ := bare(type_)) else (type_,)
    return [expected(member) for member in map(bare, members) if member in (Seconds, Size)]


def _list(origin: Any, arguments: tuple[Any, ...], definitions: Definitions, bounds: Bounds) -> Schema:
    inner = attrs.evolve(bounds, min_length=None)
    made: Schema = {"type": "array"}
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        items = [schema_of(item, definitions, inner) for item in arguments]
        return {**made, "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if arguments:
        made["items"] = schema_of(arguments[0], definitions, inner)
    return made if bounds.min_length is None else {**made, "minItems": bounds.min_length}


def _bounded(made: Schema, bounds: Bounds) -> Schema:
    """Add the bounds to the schema of a scalar, each to the kind of value that it can hold for."""
    if bounds.choices is not None:
        return {"enum": [plain(choice) for choice in bounds.choices]}
    members = [dict(member) for member in made.get("anyOf", [made])]
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    for member in members:
        if member["type"] in ("integer", "number"):
            given = {key: getattr(bounds, name) for name, key in names.items()}
            member.update({key: value for key, value in given.items() if value is not None})
        elif member["type"] == "string" and "anyOf" not in made:
            if bounds.pattern is not None:
                member["pattern"] = f"^(?:{bounds.pattern})$"
            if bounds.min_length is not None:
                member["minLength"] = bounds.min_length
    return {"anyOf": members} if "anyOf" in made else members[0]
