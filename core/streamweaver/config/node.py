"""The tree of a configuration file, in which every value knows its place, and the collector of findings."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import attrs

from streamweaver.errors import ConfigError, Finding

Kind = Literal["mapping", "sequence", "scalar"]

_PLAIN_PART = re.compile(r"[^.\[\]\"\s]+")


@attrs.frozen
class Mark:
    """A place in a source; line and column count from 1, 0 means that the source has none (`--set`)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@attrs.frozen
class Reference:
    """A `${...}` that was replaced: `text` names it (without the default), `value` is what came in its place."""

    text: str
    kind: Literal["env", "file"]
    value: str = attrs.field(repr=False)


@attrs.frozen(eq=False)
class Node:
    """One value of the file.

    `value` is a dict of nodes for a mapping, a list of nodes for a sequence, else None, bool, int, float or str.
    `path` is the way to it from the top (`flows.prices.steps[0].size`), `keys` the places of a mapping's keys. A
    scalar is `plain` when it was written without quotes. A value that came from `references` is never shown; one that
    is `unresolved` has its finding already, and is not judged further.
    """

    kind: Kind
    value: Any = attrs.field(repr=False)
    mark: Mark
    path: str = ""
    keys: dict[str, Mark] = attrs.field(factory=dict, repr=False)
    plain: bool = False
    references: tuple[Reference, ...] = ()
    unresolved: bool = False

    def get(self, key: str) -> "Node | None":
        """Return the node at a key; None when there is none, or when this is no mapping."""
        found: Node | None = self.value.get(key) if self.kind == "mapping" else None
        return found

    def key_mark(self, key: str) -> Mark:
        """Return the place of a key."""
        return self.keys.get(key, self.mark)

    def children(self) -> Iterable["Node"]:
        """Return the values of a mapping or the items of a sequence."""
        if self.kind == "mapping":
            values: Iterable[Node] = self.value.values()
            return values
        return list(self.value) if self.kind == "sequence" else ()

    def walk(self) -> "Iterator[Node]":
        """Go through this node and all below it, in the order of the file."""
        yield self
        for child in self.children():
            yield from child.walk()

    def data(self) -> Any:
        """Return the plain Python value: dict, list, str, int, float, bool or None."""
        if self.kind == "mapping":
            return {key: child.data() for key, child in self.value.items()}
        if self.kind == "sequence":
            return [child.data() for child in self.value]
        return self.value


class Findings:
    """Collects the findings of one pass, to be raised together."""

    def __init__(self) -> None:
        self.items: list[Finding] = []

    def add(self, at: Node | Mark, message: str, *, path: str | None = None, warning: bool = False) -> None:
        """Note a mistake (or a warning) at a node or a mark; a node's path goes before the message."""
        mark = at.mark if isinstance(at, Node) else at
        path = at.path if path is None and isinstance(at, Node) else path
        text = f"{path}: {message}" if path else message
        self.items.append(Finding(mark.file, mark.line, mark.column, text, warning))

    @property
    def mistakes(self) -> int:
        """How many mistakes there are; warnings are none."""
        return sum(not item.warning for item in self.items)

    @property
    def failed(self) -> bool:
        """Whether there is any mistake."""
        return self.mistakes > 0

    def raise_errors(self) -> None:
        """Raise ConfigError with everything noted, if there is any mistake."""
        if self.failed:
            raise ConfigError(self.items)


def join(path: str, part: str | int) -> str:
    """Extend a path by a key or a list index; a key that would be misread is quoted."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    shown = part if _PLAIN_PART.fullmatch(part) else json.dumps(part, ensure_ascii=False)
    return f"{path}.{shown}" if path else shown


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
