"""A mapping to an instance of an attrs class: its keys, its bounds and its validators."""

import inspect
import sys
import typing
from collections.abc import Callable, Collection
from functools import cache
from types import SimpleNamespace
from typing import Any, NoReturn, TypeAlias

import attrs

from streamweaver.config.checks import check_bounds, check_validator, hidden_values, option_info, refusal
from streamweaver.config.node import Findings, Node, join, suggest
from streamweaver.config.words import attrs_class, expected, got, hint
from streamweaver.errors import PluginLoadError
from streamweaver.plugin import option_fields


class RefusedError(Exception):
    """There is no value; the finding that says why has been added."""


@attrs.frozen
class Given:
    """What goes through the converter: a node, and where its mistakes go."""

    node: Node
    findings: Findings
    secret: bool = False

    def below(self, node: Node) -> "Given":
        """Return the same for a node inside this one."""
        return Given(node, self.findings, self.secret)

    def refuse(self, type_: Any, *, near: str = "") -> NoReturn:
        """Say what was got and which type was expected, and leave."""
        said = got(self.node, secret=self.secret)
        self.findings.add(self.node, f"got {said}, expected {expected(type_)}{near or hint(self.node, type_)}")
        raise RefusedError


Convert: TypeAlias = Callable[[Given, Any], Any]
"""Turns what is given into a value of a type, or raises RefusedError."""


def option_types(cls: Any) -> dict[str, Any]:
    """Return the type of each option of an attrs class; PluginLoadError when an annotation names nothing."""
    base: Any = attrs_class(cls) or cls
    try:
        hints = _hints(base)
    except NameError as error:
        raise PluginLoadError(f"options {base.__qualname__}: annotation names nothing: {error}") from error
    parameters = dict(zip(getattr(base, "__parameters__", ()), typing.get_args(cls), strict=False))
    found = {}
    for name, field in option_fields(base).items():
        # What a field with a converter takes is the annotation of the converter's parameter.
        kind = hints.get(name) if field.converter is None else base.__init__.__annotations__.get(field.alias, Any)
        found[name] = Any if kind is None else parameters.get(kind, kind)
    return found


@cache
def _hints(base: type[Any]) -> dict[str, Any]:
    """Return what the options' annotations name; those of other attributes may name what only a type checker knows."""
    options = option_fields(base)
    found: dict[str, Any] = {}
    for cls in reversed(base.__mro__):
        written = {name: kind for name, kind in inspect.get_annotations(cls).items() if name in options}
        names = vars(sys.modules[cls.__module__])
        some = SimpleNamespace(__annotations__=written)
        found |= typing.get_type_hints(some, names, dict(vars(cls)), include_extras=True)
    return found


def build(
    given: Given, cls: Any, convert: Convert, *, only: Collection[str] | None = None, ignore: Collection[str] = ()
) -> Any:
    """Return an instance of an attrs class from a mapping; `only` and `ignore` as in `structure`."""
    node, findings = given.node, given.findings
    if node.kind != "mapping":
        given.refuse(cls)
    base = attrs_class(cls) or cls
    fields, kinds = option_fields(base), option_types(cls)
    before = findings.mistakes
    read = {key: child for key, child in node.value.items() if (only is None or key in only) and key not in ignore}
    known = [*fields, *(name for name in ignore if name not in fields)]
    for key in read:
        if key not in fields:
            near = suggest(key, known) or (f"; known are {', '.join(sorted(known))}" if known else "")
            findings.add(node.key_mark(key), f"unknown key {key!r}{near}", path=join(node.path, key))
    for name, field in fields.items():
        if name not in read and field.default is attrs.NOTHING and not node.unresolved:
            findings.add(node, f"missing key {name!r}, expected {expected(kinds[name])}")
    values = _values(given, fields, kinds, read, convert)
    _check(given, base, fields, read, values)
    if node.unresolved or findings.mistakes > before or len(values) < len(read):
        raise RefusedError
    for name, child in read.items():
        if instead := option_info(fields[name]).deprecated:
            findings.add(child, f"deprecated: {instead}", warning=True)
    try:
        return base(**{str(fields[name].alias): value for name, value in values.items()})
    except Exception as error:  # the plugin's code: whatever it raises is its way to refuse
        hidden = [
            value for name, child in read.items() for value in hidden_values(child, secret=_secret(given, fields[name]))
        ]
        findings.add(node, refusal(error, hidden))
    raise RefusedError


def _values(
    given: Given, fields: dict[str, Any], kinds: dict[str, Any], read: dict[str, Node], convert: Convert
) -> dict[str, Any]:
    """Convert every key that is an option; those that fail are left out."""
    values = {}
    for name in filter(fields.__contains__, read):
        try:
            values[name] = convert(Given(read[name], given.findings, _secret(given, fields[name])), kinds[name])
        except RefusedError:
            continue
    return values


def _check(given: Given, base: Any, fields: dict[str, Any], read: dict[str, Node], values: dict[str, Any]) -> None:
    """Run bounds and validators of every value that converted: attrs would stop at the first, and lose its place."""
    checked = dict(values)
    for name, value in values.items():
        field, secret = fields[name], _secret(given, fields[name])
        check_bounds(option_info(field).bounds, read[name], value, given.findings, secret=secret)
        if isinstance(field.converter, attrs.Converter):
            del checked[name]  # it wants the instance; what it says is reported at the mapping
        elif field.converter is not None:
            try:
                checked[name] = field.converter(value)
            except Exception as error:
                given.findings.add(read[name], refusal(error, hidden_values(read[name], secret=secret)))
                del checked[name]
    draft, complete = _draft(base, checked)
    for name in checked:
        secret = _secret(given, fields[name])
        check_validator(fields[name], draft, complete, read[name], given.findings, secret=secret)


def _draft(base: Any, values: dict[str, Any]) -> tuple[Any, bool]:
    """Return an instance made without `__init__`, for validators that look at other fields, and whether it is whole."""
    draft, complete = object.__new__(base), True
    for field in attrs.fields(base):
        value = values.get(field.name, field.default)
        if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
            try:
                value = value.factory(draft) if value.takes_self else value.factory()
            except Exception:  # `__init__` will fail in the same way, and that is reported
                value = attrs.NOTHING
        if value is attrs.NOTHING:
            complete = False
        else:
            object.__setattr__(draft, field.name, value)
    return draft, complete


def _secret(given: Given, field: Any) -> bool:
    return given.secret or option_info(field).secret
