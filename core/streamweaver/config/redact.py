"""Blanks the values of secrets in texts that leave the process: logs, errors, status, dead letters."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import attrs

from streamweaver.config.checks import option_info
from streamweaver.config.node import Node
from streamweaver.plugin import option_fields

MASK = "***"

_SHORT = 4
_SHORTEST_LINE = 8


class Redactor:
    """Called with a text, returns it with every secret replaced by `***`.

    A value of fewer than four characters is replaced only where it stands as a whole word, since it would otherwise
    eat parts of ordinary words. Beside the value itself its escaped forms are known (as in Python's `repr`, JSON and a
    URL), and each longer line of a value of several lines, because logs are cut at lines.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value)}
        # The longest first, so that no part of a secret is left behind by a shorter one.
        parts = [_pattern(form) for form in sorted(forms, key=lambda form: (-len(form), form))]
        self._pattern = re.compile("|".join(parts)) if parts else None

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def __repr__(self) -> str:
        return "Redactor(***)"


def redactor(*instances: Any, tree: Node | None = None) -> Redactor:
    """Make a redactor for the secret options of built instances, and for what `${file:...}` brought into a tree."""
    values = [text for instance in instances for text in _secrets(instance)]
    if tree is not None:
        values += [ref.value for node in tree.walk() for ref in node.references if ref.kind == "file"]
    return Redactor(values)


def _secrets(value: Any) -> Iterator[str]:
    """Yield the secret texts in options: attrs instances, also inside lists and mappings."""
    if attrs.has(type(value)):
        for name, field in option_fields(type(value)).items():
            inner = getattr(value, name)
            yield from _leaves(inner) if option_info(field).secret else _secrets(inner)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _secrets(item)


def _leaves(value: Any) -> Iterator[str]:
    if attrs.has(type(value)):
        for name in option_fields(type(value)):
            yield from _leaves(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _forms(value: str) -> Iterator[str]:
    lines = [line.strip() for line in value.splitlines()]
    for text in [value, value.strip(), *(line for line in lines if len(line) >= _SHORTEST_LINE)]:
        escaped = (repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
        # A text out of the environment may hold what UTF-8 cannot.
        encoded = text.encode(errors="surrogatepass")
        yield from filter(None, {text, *escaped, quote(encoded, safe=""), quote(encoded), quote_plus(encoded)})


def _pattern(form: str) -> str:
    return rf"(?<!\w){re.escape(form)}(?!\w)" if len(form) < _SHORT else re.escape(form)
