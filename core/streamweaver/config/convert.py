"""Nodes to values of the types that options have: strict, and with every mistake of a pass located."""

import contextlib
import functools
import typing
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NoReturn, TypeVar, overload

from streamweaver.config.instance import Given, RefusedError, build
from streamweaver.config.node import Findings, Node, join, suggest
from streamweaver.config.words import LISTS, MAPPINGS, SETS, attrs_class, bare, choices, expected, is_union
from streamweaver.errors import PluginLoadError
from streamweaver.units import Seconds, Size, to_seconds, to_size

T = TypeVar("T")


@overload
def structure(
    node: Node, type_: type[T], *, only: Collection[str] | None = None, ignore: Collection[str] = ()
) -> T: ...
@overload
def structure(
    node: Node, type_: type[T], *, only: Collection[str] | None = None, ignore: Collection[str] = (), findings: Findings
) -> T | None: ...
def structure(
    node: Node,
    type_: type[T],
    *,
    only: Collection[str] | None = None,
    ignore: Collection[str] = (),
    findings: Findings | None = None,
) -> T | None:
    """Convert a node to an attrs class (or any other type that an option may have).

    Nothing is coerced, except that a whole number will do for a float. Mistakes go to `findings`, and the result is
    None; without `findings` they are raised together as ConfigError. For a mapping that holds the options of two
    classes: keys outside `only`, and keys in `ignore`, are neither read nor reported; those in `ignore` are still
    suggested for a misspelt key.
    """
    collector = Findings() if findings is None else findings
    given, kind = Given(node, collector), bare(type_)
    result: T | None = None
    refused = True
    with contextlib.suppress(RefusedError):
        if attrs_class(kind) and (node.kind == "mapping" or not node.unresolved):
            result = build(given, kind, _convert, only=only, ignore=ignore)
        else:
            result = _convert(given, kind)
        refused = False
    # Not inside an `except`: what a plugin raised may show a secret, and must not hang on this error.
    if findings is None:
        if refused and not collector.failed:
            collector.add(node, "holds a reference that could not be resolved")
        collector.raise_errors()
    return result


# -- other types: hooks of the converter ----------------------------------------------------------


@functools.cache
def _converter() -> Any:
    """Return the converter; made at first use, since cattrs takes its time to import.

    The choice of the hook for a type is cattrs' work, every hook is ours: those of cattrs coerce (`"false"` is True to
    them) and know no places, so the first rule keeps them out. A class that has a hook of its own comes before all
    rules in cattrs, subclasses included: so an Enum of text arrives at the hook for `str`.
    """
    from cattrs import Converter

    converter = Converter()
    for simple in (bool, int, float, str, Path, bytes):
        converter.register_structure_hook(simple, _scalar)
    rules: list[tuple[Callable[[Any], bool], Callable[[Given, Any], Any]]] = [
        (lambda _: True, _unsupported),
        (lambda t: t in (Any, object), _anything),
        (lambda t: t in (None, type(None)), _nothing),
        (lambda t: choices(t) is not None, _choice),
        (is_union, _union),
        (lambda t: (typing.get_origin(t) or t) in (tuple, *LISTS, *SETS), _sequence),
        (lambda t: (typing.get_origin(t) or t) in MAPPINGS, _mapping),
        (lambda t: attrs_class(t) is not None, lambda given, cls: build(given, cls, _convert)),
        (lambda t: t in (Seconds, Size), _with_unit),
    ]
    for predicate, hook in rules:
        converter.register_structure_hook_func(predicate, hook)
    return converter


def _convert(given: Given, type_: Any) -> Any:
    # Of a mapping that is not known as a whole, what is there is still judged.
    if given.node.unresolved and given.node.kind != "mapping":
        raise RefusedError
    type_ = bare(type_)
    return _converter().get_structure_hook(type_)(given, type_)


def _unsupported(given: Given, type_: Any) -> NoReturn:
    raise PluginLoadError(f"{given.node.path or 'the whole'}: no YAML value fits the type {type_!r}; it is no option's")


def _scalar(given: Given, type_: Any) -> Any:
    value = given.node.value
    if choices(type_) is not None:
        return _choice(given, type_)
    if type_ not in (bool, int, float, str, Path):
        _unsupported(given, type_)
    if given.node.kind == "scalar":
        if type_ is float and type(value) is int:
            return float(value)
        if type_ is Path and type(value) is str:
            if not value.strip():
                # It would be taken for the folder that the command is started in.
                given.findings.add(given.node, "got an empty path, expected a file or folder")
                raise RefusedError
            return Path(value)
        if type(value) is type_:
            return value
    return given.refuse(type_)


def _anything(given: Given, _: Any) -> Any:
    if given.node.unresolved:
        raise RefusedError
    return given.node.data()


def _nothing(given: Given, type_: Any) -> None:
    if given.node.kind != "scalar" or given.node.value is not None:
        given.refuse(type_)


def _choice(given: Given, type_: Any) -> Any:
    value, known = given.node.value, choices(type_) or []
    if given.node.kind == "scalar":
        for index, choice in enumerate(known):
            if type(choice) is type(value) and choice == value:
                members = typing.get_args(type_) or tuple(type_)
                return members[index]
    shows = isinstance(value, str) and not given.secret and not given.node.references
    near = suggest(value, [choice for choice in known if isinstance(choice, str)]) if shows else ""
    return given.refuse(type_, near=near)


def _with_unit(given: Given, type_: Any) -> Any:
    value = None
    if given.node.kind == "scalar":
        value = to_seconds(given.node.value) if type_ is Seconds else to_size(given.node.value)
    return given.refuse(type_) if value is None else value


def _union(given: Given, type_: Any) -> Any:
    """Take the first member that fits; when none does, say what is wrong inside the only one of that shape."""
    members = typing.get_args(type_)
    # A whole number is one before it is a float, in whatever order the two are written.
    tried = [(member, Findings()) for member in sorted(members, key=lambda member: bare(member) is float)]
    for member, findings in tried:
        try:
            return _convert(Given(given.node, findings, given.secret), member)
        except RefusedError:
            continue
    inside = [findings for member, findings in tried if _shape(member) == given.node.kind]
    if len(inside) == 1 and given.node.kind != "scalar":
        given.findings.items.extend(inside[0].items)
        raise RefusedError
    return given.refuse(type_)


def _shape(type_: Any) -> str:
    type_ = bare(type_)
    origin = typing.get_origin(type_) or type_
    if origin in (tuple, *LISTS, *SETS):
        return "sequence"
    return "mapping" if origin in MAPPINGS or attrs_class(type_) else "scalar"


def _sequence(given: Given, type_: Any) -> Any:
    origin, arguments = typing.get_origin(type_) or type_, typing.get_args(type_)
    if given.node.kind != "sequence":
        given.refuse(type_)
    nodes = given.node.value
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(nodes) != len(arguments):
            given.findings.add(given.node, f"got a list of {len(nodes)}, expected {expected(type_)}")
            raise RefusedError
        kinds = list(arguments)
    else:
        kinds = [arguments[0] if arguments else Any] * len(nodes)
    items = _each(given, zip(range(len(nodes)), nodes, kinds, strict=True))
    if origin in SETS:
        try:
            return set(items.values()) if origin is set else frozenset(items.values())
        except TypeError:
            raise PluginLoadError(
                f"{given.node.path}: no YAML value fits the type {type_!r}: no hashable items"
            ) from None
    return tuple(items.values()) if origin is tuple else list(items.values())


def _mapping(given: Given, type_: Any) -> dict[Any, Any]:
    if given.node.kind != "mapping":
        given.refuse(type_)
    key_type, value_type = typing.get_args(type_) or (str, Any)
    keys = {
        key: Node("scalar", key, given.node.key_mark(key), path=join(given.node.path, key)) for key in given.node.value
    }
    names = _each(given, ((key, node, key_type) for key, node in keys.items()), fail=False)
    values = _each(given, ((key, node, value_type) for key, node in given.node.value.items()), fail=False)
    if given.node.unresolved or len(names) < len(keys) or len(values) < len(keys):
        raise RefusedError
    return {names[key]: value for key, value in values.items()}


def _each(given: Given, parts: Any, *, fail: bool = True) -> dict[Any, Any]:
    """Convert each (name, node, type); when any failed, and all have been tried, refuse."""
    done, refused = {}, False
    for name, node, kind in parts:
        try:
            done[name] = _convert(given.below(node), kind)
        except RefusedError:
            refused = True
    if refused and fail:
        raise RefusedError
    return done
