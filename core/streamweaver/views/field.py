"""Fields of records by path, as numbers and as labels. Pure."""

import math
from collections.abc import Callable
from typing import Any

from streamweaver.text import clean

KEY = "$key"
"""The path that means the record's key."""

ABSENT = object()

LABEL_LENGTH = 100
BIGGEST = 2**63


def getter(path: str) -> Callable[[Any], Any]:
    """Return a function that reads a field of a value; ABSENT where there is none."""
    parts = path.split(".")

    def simple(value: Any) -> Any:
        return value.get(path, ABSENT) if type(value) is dict else ABSENT

    def nested(value: Any) -> Any:
        if type(value) is dict and path in value:
            return value[path]
        for part in parts:
            if type(value) is not dict or part not in value:
                return ABSENT
            value = value[part]
        return value

    return simple if len(parts) == 1 else nested


def number(value: Any) -> float | None:
    """Return a finite number that can be summed and sent, or None for anything else."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    return value if type(value) is int and -BIGGEST < value < BIGGEST else None


def label(value: Any) -> str | None:
    """Return a value as a text that tells it apart from others; None for what is absent, null, or no scalar."""
    if type(value) is str:
        shown = value if value.isascii() else clean(value)
        return shown if len(shown) <= LABEL_LENGTH else shown[: LABEL_LENGTH - 1] + "…"
    if type(value) is bool:
        return "true" if value else "false"
    return None if number(value) is None else repr(value)


def key_text(key: bytes | None) -> str | None:
    """Return a record's key as text."""
    return None if key is None else key.decode(errors="backslashreplace")
