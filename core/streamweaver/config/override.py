"""Overrides from the command line: `--set producers.stocks.rate=2000`."""

import re
from typing import Any

import attrs

from streamweaver.config.node import Findings, Mark, Node, join
from streamweaver.config.scalar import typed
from streamweaver.config.source import Placing, parse
from streamweaver.errors import ConfigError

# A part in quotes, a part up to the next dot or bracket, or an index in brackets.
_PART = re.compile(r'"(?P<quoted>[^"]*)"|(?P<plain>[^."\[\]]+)|\[(?P<index>[0-9]+)\]')


@attrs.frozen
class _Part:
    text: str
    literal: bool = False  # in quotes: never joined with its neighbours, never an index


class _ImpossibleError(Exception):
    """The path leads nowhere; carries the text for the user."""


def apply(node: Node, *overrides: str, findings: Findings | None = None) -> Node:
    """Return the tree with each `PATH=VALUE` applied, in order; mistakes go to `findings`, else raise ConfigError.

    PATH is keys and list indexes joined by dots (`flows.prices.steps.0.size`, or `steps[0]` as findings write it). A
    key that holds dots needs no quotes where it exists already (`topics.app.raw.logs.partitions`), and double
    quotes where it does not. Missing keys are created; list items are not. A VALUE that begins with `[`, `{` or a
    quote is YAML; anything else is one unquoted scalar as it stands, so `#`, `: ` and commas need no care. References
    are allowed, so overrides come before `resolve`.
    """
    collector = Findings() if findings is None else findings
    for override in overrides:
        path, equals, text = override.partition("=")
        mark = Mark(f"--set {path}")
        try:
            parts = _split(path)
            if not equals:
                raise _ImpossibleError("got no value, expected PATH=VALUE")
            node = _set(node, parts, _value(text, mark), mark)
        except _ImpossibleError as error:
            collector.add(mark, str(error))
        except ConfigError as error:
            collector.items.extend(error.findings)
    if findings is None:
        collector.raise_errors()
    return node


def _split(path: str) -> list[_Part]:
    parts: list[_Part] = []
    at = 0
    while at < len(path):
        match = _PART.match(path, at)
        if match is None:
            raise _ImpossibleError(f"not a path: character {at + 1} is unexpected; expected names joined by dots")
        parts.append(_Part(match[match.lastgroup or 0], literal=match["quoted"] is not None))
        at = match.end()
        if path[at : at + 1] == ".":
            at += 1
            if at == len(path):
                raise _ImpossibleError("not a path: it ends with a dot")
    if not parts:
        raise _ImpossibleError("not a path: it is empty, expected names joined by dots")
    return parts


def _value(text: str, mark: Mark) -> Node:
    if text[:1] in ("[", "{", '"', "'"):
        return parse(text, mark.file, located=False)
    return Node("scalar", typed(text), mark, plain=True)


def _set(node: Node, parts: list[_Part], value: Node, mark: Mark) -> Node:
    """Return a copy of the node in which the value stands at the end of the parts."""
    if not parts:
        return Placing(Findings()).place(value, node.path)
    if node.kind == "sequence":
        return _set_item(node, parts, value, mark)
    if node.kind == "scalar" and node.value is None:
        node = Node("mapping", {}, mark, path=node.path)
    if node.kind != "mapping":
        raise _ImpossibleError(f"{node.path} is a single value, so it has no {parts[0].text!r}")
    key, used = _key(node, parts)
    fresh = Node("scalar", None, mark, path=join(node.path, key))
    child = _set(node.value.get(key, fresh), parts[used:], value, mark)
    keys: dict[str, Mark] = {**node.keys, key: node.keys.get(key, mark)}
    values: dict[str, Any] = {**node.value, key: child}
    return attrs.evolve(node, value=values, keys=keys)


def _set_item(node: Node, parts: list[_Part], value: Node, mark: Mark) -> Node:
    text, size = parts[0].text, len(node.value)
    if parts[0].literal or not text.isascii() or not text.isdigit():
        raise _ImpossibleError(f"{node.path} is a list, so it has no {text!r}; expected an index from 0")
    if len(text) > 9 or int(text) >= size:
        raise _ImpossibleError(f"{node.path} has {size} items, so it has no index {text[:9]}; indexes count from 0")
    items = list(node.value)
    items[int(text)] = _set(items[int(text)], parts[1:], value, mark)
    return attrs.evolve(node, value=items)


def _key(node: Node, parts: list[_Part]) -> tuple[str, int]:
    """Return the key that is meant and how many parts it took: the longest that exists, else the first part."""
    for used in range(len(parts), 1, -1):
        joined = ".".join(part.text for part in parts[:used])
        if joined in node.value and not any(part.literal for part in parts[:used]):
            return joined, used
    return parts[0].text, 1
