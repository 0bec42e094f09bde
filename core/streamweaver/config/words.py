"""Types and values in words, for findings and reference pages."""

import collections.abc
import json
import re
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from streamweaver.config.model import STAGE_NAME, TOPIC_NAME
from streamweaver.config.node import Node
from streamweaver.config.scalar import LONGEST_NUMBER, typed
from streamweaver.plugin import Bounds
from streamweaver.units import Seconds, Size

SETS = (set, frozenset, collections.abc.Set, collections.abc.MutableSet)
LISTS = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Collection)
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

NAMES = {
    STAGE_NAME: "lower-case words and digits joined by single underscores",
    TOPIC_NAME: "letters, digits, '.', '_' and '-', at most 200, the first neither '.' nor '-'",
}
"""Patterns of names, in words."""

_SIMPLE: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    None: "nothing",
    type(None): "nothing",
    Any: "any value",
    object: "any value",
    Seconds: "a duration (500ms, 10s, 5m, 1h, 7d, or a number of seconds)",
    Size: "a size (64KiB, 10MB, 1GiB, or a number of bytes)",
}


def bare(type_: Any) -> Any:
    """Return the type without `Annotated`, and without names that say no more than what they stand for."""
    while True:
        if typing.get_origin(type_) is typing.Annotated:
            type_ = typing.get_args(type_)[0]
        elif isinstance(type_, typing.NewType) and type_ not in (Seconds, Size):
            type_ = type_.__supertype__
        elif hasattr(type_, "__value__"):  # `type X = ...`
            type_ = type_.__value__
        else:
            return type_


def is_union(type_: Any) -> bool:
    """Whether it is `A | B`, `Union` or `Optional`."""
    return typing.get_origin(type_) in (typing.Union, types.UnionType)


def choices(type_: Any) -> list[Any] | None:
    """Return the values of a Literal or an Enum; None for other types."""
    if typing.get_origin(type_) is typing.Literal:
        return [value.value if isinstance(value, Enum) else value for value in typing.get_args(type_)]
    if isinstance(type_, type) and issubclass(type_, Enum):
        return [member.value for member in type_]
    return None


def attrs_class(type_: Any) -> type[Any] | None:
    """Return the attrs class that a type is (or is a form of, when generic); None for other types."""
    base = typing.get_origin(type_) or type_
    return base if isinstance(base, type) and attrs.has(base) else None


def expected(type_: Any) -> str:
    """Say in words which values a type takes."""
    type_ = bare(type_)
    if type_ in _SIMPLE:
        return _SIMPLE[type_]
    if (known := choices(type_)) is not None:
        return "one of " + ", ".join(map(shown, known))
    if is_union(type_):
        return _or([expected(member) for member in typing.get_args(type_)])
    origin, arguments = typing.get_origin(type_) or type_, typing.get_args(type_)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return "a list of " + " and ".join(expected(item) for item in arguments)
    if origin in (tuple, *LISTS, *SETS):
        return "a list" + (f" (each item {expected(arguments[0])})" if arguments else "")
    if origin in MAPPINGS:
        return "a mapping" + (f" (each value {expected(arguments[1])})" if arguments else "")
    return "a mapping" if attrs_class(type_) else getattr(type_, "__name__", str(type_))


def bounds_in_words(bounds: Bounds) -> str:
    """Say in words what bounds demand; nothing when there are none."""
    signs = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    parts = [f"{sign} {getattr(bounds, name)}" for name, sign in signs.items() if getattr(bounds, name) is not None]
    if bounds.choices is not None:
        parts.append("one of " + ", ".join(map(shown, bounds.choices)))
    if bounds.pattern is not None:
        parts.append(NAMES.get(bounds.pattern) or f"text that matches {bounds.pattern}")
    if bounds.min_length is not None:
        parts.append(f"a length of at least {bounds.min_length}")
    return " and ".join(parts)


def got(node: Node, *, secret: bool = False) -> str:
    """Say in words what stands at a node; never the value of a secret or of a reference."""
    if node.references:
        return f"the value of {' and '.join(reference.text for reference in node.references)} ({_noun(node)})"
    if secret:
        return f"{_noun(node)} (not shown)"
    if node.kind != "scalar" or node.value is None:
        return _noun(node)
    return f"text {shown(node.value)}" if isinstance(node.value, str) else shown(node.value)


def hint(node: Node, type_: Any) -> str:
    """Return `; ` and what to write instead, where a usual slip is seen; else nothing."""
    members = typing.get_args(type_) if is_union(bare(type_)) else (type_,)
    wanted = {bare(member) for member in members}
    value = node.value
    if node.kind == "scalar" and value is not None:
        if isinstance(value, str):
            said = _hint_for_text(value, node.plain, wanted)
        elif str in wanted or Path in wanted:
            said = "put the reference in quotes" if node.references else "put it in quotes"
        else:
            said = ""
        if said:
            return f"; {said}"
    lists = (tuple, *LISTS, *SETS)
    if node.kind == "scalar" and any((typing.get_origin(member) or member) in lists for member in wanted):
        return "; write a list as [a, b]"
    return ""


def shown(value: Any) -> str:
    """Return a value as it would stand in the file, cut when long."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 60 else f"{text[:56]}..."
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text if len(text) <= 60 else f"{text[:56]}..."


def _hint_for_text(text: str, plain: bool, wanted: set[Any]) -> str:
    if bool in wanted and text.lower() in ("yes", "on", "y"):
        return "write true"
    if bool in wanted and text.lower() in ("no", "off", "n"):
        return "write false"
    meant = {bool: (bool,), int: (int,), float: (int, float), Seconds: (int, float), Size: (int,)}
    if not plain and any(type(typed(text)) in meant.get(type_, ()) for type_ in wanted):
        return "remove the quotes"
    if wanted & {int, float} and re.fullmatch(r"[0-9][0-9_,]*", text):
        return "" if len(text) > LONGEST_NUMBER else "write the digits alone, without leading zeros"
    return ""


def _noun(node: Node) -> str:
    if node.kind != "scalar":
        return "a list" if node.kind == "sequence" else "a mapping"
    return {type(None): "nothing", bool: "true or false", int: "a whole number", float: "a number", str: "text"}[
        type(node.value)
    ]


def _or(parts: list[str]) -> str:
    parts = list(dict.fromkeys(parts))
    return " or ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
