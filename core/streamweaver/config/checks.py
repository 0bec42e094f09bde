"""Bounds and validators of one option, run on the converted value and reported at the option's place."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from streamweaver.config.node import Findings, Node, suggest
from streamweaver.config.words import bounds_in_words, got
from streamweaver.errors import StreamWeaverError
from streamweaver.plugin import Bounds, OptionInfo


def option_info(field: "attrs.Attribute[Any]") -> OptionInfo:
    """Return what `option` noted on a field; nothing in particular for a field of attrs' own."""
    found = field.metadata.get(OptionInfo.KEY)
    return found if isinstance(found, OptionInfo) else OptionInfo("")


def hidden_values(node: Node, *, secret: bool) -> list[str]:
    """Return the texts at and below a node that must not be shown: all of a secret's, else those of references."""
    found = [reference.value for part in node.walk() for reference in part.references]
    if secret:
        found += [str(part.value) for part in node.walk() if part.kind == "scalar" and part.value is not None]
    return found


def check_bounds(bounds: Bounds, node: Node, value: Any, findings: Findings, *, secret: bool) -> None:
    """Report every value (or item of a list) that is out of bounds, each at its place."""
    if value is None:
        return
    if bounds.min_length is not None and hasattr(value, "__len__") and len(value) < bounds.min_length:
        hidden = secret or node.references
        said = got(node, secret=secret) if hidden else f"a length of {len(value)}"
        findings.add(node, f"got {said}, expected a length of at least {bounds.min_length}")
    bounds = attrs.evolve(bounds, min_length=None)
    for at, item in _items(node, value):
        if not _within(bounds, item):
            says = isinstance(item, str) and not secret and not at.references
            near = suggest(item, [c for c in bounds.choices or () if isinstance(c, str)]) if says else ""
            findings.add(at, f"got {got(at, secret=secret)}, expected {bounds_in_words(bounds)}{near}")


def check_validator(
    field: "attrs.Attribute[Any]", draft: Any, complete: bool, node: Node, findings: Findings, *, secret: bool
) -> None:
    """Run a field's attrs validator and report what it says.

    `draft` is an instance that holds every value that did convert. Unless it is `complete`, a validator that misses
    another field on it is not blamed: that field has a finding of its own.
    """
    if field.validator is None:
        return
    try:
        field.validator(draft, field, getattr(draft, field.name))
    except Exception as error:  # the plugin's code: whatever it raises is its way to refuse
        if complete or not isinstance(error, AttributeError):
            findings.add(node, refusal(error, hidden_values(node, secret=secret)))


def refusal(error: Exception, hidden: list[str]) -> str:
    """Return the text of an error that a plugin's class raised over its options, unless a hidden value shows in it."""
    # The validators of attrs put the field, its type and the value behind the text.
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    if any(_shows(text.lower(), value.lower()) for value in hidden):
        return f"not accepted by the plugin ({type(error).__name__}; its text shows a hidden value, so it is left out)"
    usual = isinstance(error, ValueError | TypeError | StreamWeaverError)
    return text if usual and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def _shows(text: str, value: str) -> bool:
    """Whether a text holds a value or a part of it: parsers like to quote the part that they choked on."""
    if len(value) < 4:
        return bool(value) and value in text
    return any(text[at : at + 4] in value for at in range(len(text) - 3))


def _items(node: Node, value: Any) -> Iterator[tuple[Node, Any]]:
    if node.kind == "scalar":
        yield node, value
    elif node.kind == "sequence" and isinstance(value, list | tuple):
        yield from zip(node.value, value, strict=True)
    elif node.kind == "sequence" and isinstance(value, Iterable):
        # A set has lost the order of the file.
        for item in value:
            yield next((child for child in node.value if child.value == item), node), item


def _within(bounds: Bounds, value: Any) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Written so that "not a number", for which every comparison is false, is out of any bounds.
        tests = (
            bounds.ge is None or value >= bounds.ge,
            bounds.gt is None or value > bounds.gt,
            bounds.le is None or value <= bounds.le,
            bounds.lt is None or value < bounds.lt,
        )
        if not all(tests):
            return False
    if bounds.choices is not None and not any(type(c) is type(value) and c == value for c in bounds.choices):
        return False
    return bounds.pattern is None or not isinstance(value, str) or re.fullmatch(bounds.pattern, value) is not None
