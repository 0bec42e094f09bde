"""YAML text to a tree of nodes with their places; safe, bounded, nothing resolved and nothing converted yet."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import yaml

from streamweaver.config.node import Findings, Mark, Node, join
from streamweaver.config.scalar import typed
from streamweaver.errors import ConfigError, Finding

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 64

# libyaml where it is there: ten times as fast, with the same marks.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_TAGGED_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}
_HINTS = {
    "mapping values are not allowed in this context": "; text that holds ': ' must be in quotes, and a key's colon "
    "needs a space behind it, also on the line before",
    "did not find expected key": "; look at the indentation: what belongs together begins in the same column",
}
"""What to do about what the parser says."""
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def load(path: Path, findings: Findings | None = None) -> Node:
    """Read a file; see `parse`."""
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _failed(Mark(name), f"cannot be read: {(error.strerror or 'unknown error').lower()}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Without the cause, since that holds the whole file.
        line, start = raw.count(b"\n", 0, error.start) + 1, raw.rfind(b"\n", 0, error.start) + 1
        column = len(raw[start : error.start].decode(errors="replace")) + 1
        raise _failed(Mark(name, line, column), "is no UTF-8 from here on; save the file as UTF-8") from None
    return parse(text, name, findings=findings)


def parse(text: str, name: str, *, located: bool = True, findings: Findings | None = None) -> Node:
    """Parse YAML text; `name` stands for the file in findings. Without `located` no place but the name is given.

    ConfigError with everything that is wrong. With `findings`, what is YAML but not allowed here (a key that is no
    text, a tag) is only noted there: what can be read goes on, and the rest is `unresolved`.
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise _failed(Mark(name), f"is larger than {MAX_BYTES >> 10} KiB")
    composer = _Composer(text, name, located)
    bad = _UNPRINTABLE.search(text)
    if bad:
        line, column = text.count("\n", 0, bad.start()), bad.start() - text.rfind("\n", 0, bad.start()) - 1
        raise _failed(composer.place(line, column), f"character U+{ord(bad[0]):04X} is not allowed in YAML")
    root = composer.document()
    if root is None or findings is None:
        composer.findings.raise_errors()
    else:
        findings.items += composer.findings.items
    if root is None or (root.kind == "scalar" and root.value is None):
        raise _failed(Mark(name), "is empty")
    return Placing(composer.findings).place(root)


class Placing:
    """Gives every node of a tree its path; a value that is used by alias becomes a copy at each place of use."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.count = 0

    def place(self, root: Node, path: str = "") -> Node:
        """Return the tree as it stands below `path`; ConfigError when aliases blow it up."""
        return self._place(root, path, 1)

    def _place(self, node: Node, path: str, depth: int) -> Node:
        self.count += 1
        if self.count > MAX_NODES or depth > MAX_DEPTH:
            what = f"more than {MAX_NODES} values" if self.count > MAX_NODES else f"more than {MAX_DEPTH} levels"
            self.findings.add(node.mark, f"too large: {what}, aliases counted as often as they are used")
            raise ConfigError(self.findings.items)
        value = node.value
        if node.kind == "mapping":
            value = {key: self._place(child, join(path, key), depth + 1) for key, child in value.items()}
        elif node.kind == "sequence":
            value = [self._place(child, join(path, index), depth + 1) for index, child in enumerate(value)]
        return attrs.evolve(node, value=value, path=path)


class _Composer:
    """Turns the parser's events into nodes, noting what is not allowed and going on where that is possible."""

    def __init__(self, text: str, name: str, located: bool) -> None:
        self.text, self.name, self.located = text, name, located
        self.findings = Findings()
        self.anchors: dict[str, Node | None] = {}
        self.events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)

    def place(self, line: int, column: int) -> Mark:
        """Return the mark of a place that counts from 0."""
        return Mark(self.name, line + 1, column + 1) if self.located else Mark(self.name)

    def document(self) -> Node | None:
        """Return the only document; None when there is none."""
        try:
            next(self.events)  # the start of the stream
            if isinstance(next(self.events), yaml.StreamEndEvent):
                return None
            root = self.node(next(self.events), 1)
            next(self.events)  # the end of the document
            after = next(self.events)
            if not isinstance(after, yaml.StreamEndEvent):
                self.findings.add(self._mark(after), "a second document begins here; a file holds one")
        except yaml.MarkedYAMLError as error:
            at = error.problem_mark or error.context_mark
            mark = self.place(at.line, at.column) if at else Mark(self.name)
            began, context = error.context_mark, error.context or ""
            if self.located and at and began and began.line < at.line:
                context += f" that begins on line {began.line + 1}"
            context = f" ({context})" if context else ""
            self.findings.add(mark, f"not valid YAML: {error.problem}{context}{self._hint(at, error.problem or '')}")
            return None
        return root

    def node(self, event: Any, depth: int) -> Node:
        """Return the node that begins with an event; takes the events that belong to it."""
        mark = self._mark(event)
        if depth > MAX_DEPTH:
            self.findings.add(mark, f"too large: more than {MAX_DEPTH} levels")
            raise ConfigError(self.findings.items)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            made = self._mapping(event, mark, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            made = self._sequence(event, mark, depth)
        else:
            made = self._scalar(event, mark)
        if event.anchor is not None:
            self.anchors[event.anchor] = made
        return made

    def _alias(self, event: Any, mark: Mark) -> Node:
        found = self.anchors.get(event.anchor)
        if found is not None:
            return found
        why = "stands inside the value that it names" if event.anchor in self.anchors else "names no earlier anchor"
        self.findings.add(mark, f"alias *{event.anchor} {why}")
        return Node("scalar", None, mark, unresolved=True)

    def _scalar(self, event: Any, mark: Mark) -> Node:
        text, tag, plain = event.value, event.tag, event.tag is None and event.implicit[0]
        value = typed(text) if plain else text
        if tag is not None and tag.removeprefix(_TAG) in _TAGGED_TYPES and tag.startswith(_TAG):
            value = typed(text)
            if type(value) not in _TAGGED_TYPES[tag.removeprefix(_TAG)]:
                self.findings.add(mark, f"tag !!{tag.removeprefix(_TAG)} does not fit the value")
                return Node("scalar", None, mark, unresolved=True)
        elif not self._tag(event, mark, "str"):
            return Node("scalar", None, mark, unresolved=True)
        return Node("scalar", value, mark, plain=plain)

    def _sequence(self, event: Any, mark: Mark, depth: int) -> Node:
        self._tag(event, mark, "seq")
        items = []
        while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(inner, depth + 1))
        return Node("sequence", items, mark)

    def _mapping(self, event: Any, mark: Mark, depth: int) -> Node:
        self._tag(event, mark, "map")
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        whole = True
        while not isinstance(inner := next(self.events), yaml.MappingEndEvent):
            key, at = self._key(inner, depth), self._mark(inner)
            value = self.node(next(self.events), depth + 1)
            if key is None:
                # What is to be merged is not known, so nothing can be said to be missing.
                whole = whole and not (isinstance(inner, yaml.ScalarEvent) and inner.value == "<<")
                continue
            if key in values:
                first = f"; first on line {keys[key].line}" if self.located else ""
                self.findings.add(at, f"key {key!r} is given twice{first}")
                continue
            values[key], keys[key] = value, at
        return Node("mapping", values, mark, keys=keys, unresolved=not whole)

    def _key(self, event: Any, depth: int) -> str | None:
        """Return the text of a key; None (and a finding) for one that is not allowed."""
        mark = self._mark(event)
        if not isinstance(event, yaml.ScalarEvent):
            self.node(event, depth + 1)
            got = "an alias" if isinstance(event, yaml.AliasEvent) else "a list or mapping"
            self.findings.add(mark, f"key is no text: got {got}, expected text")
            return None
        node = self.node(event, depth + 1)
        if node.plain and node.value == "<<":
            self.findings.add(mark, "merge key << is not supported; repeat the keys, or use an alias for a whole value")
            return None
        if not isinstance(node.value, str):
            shown = f"{event.value!r}" if event.value else "nothing"
            self.findings.add(mark, f"key is no text: got {shown}, expected text; put it in quotes")
            return None
        return node.value

    def _tag(self, event: Any, mark: Mark, allowed: str) -> bool:
        """Refuse explicit tags, other than YAML's own for this kind of value; returns whether it is allowed."""
        if event.tag in (None, "!", _TAG + allowed):
            return True
        shown = event.tag.replace(_TAG, "!!")
        self.findings.add(mark, f"tag {shown} is not allowed; values are plain YAML")
        return False

    def _mark(self, event: Any) -> Mark:
        return self.place(event.start_mark.line, event.start_mark.column)

    def _hint(self, at: Any, problem: str) -> str:
        lines = self.text.splitlines()
        line = lines[at.line] if at and at.line < len(lines) else ""
        first = line[at.column : at.column + 1] if at else ""
        if first == "\t":
            return "; indent with spaces, not with tabs"
        if "${" in line:
            return "; a reference inside [ ] or { } must be in quotes, or the list or mapping in block style"
        if first and first in "@`%":
            return f"; text that begins with {first} must be in quotes"
        return _HINTS.get(problem, "")


def _failed(mark: Mark, message: str) -> ConfigError:
    return ConfigError([Finding(mark.file, mark.line, mark.column, message)])
