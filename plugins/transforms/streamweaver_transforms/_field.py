"""Fields by name: `price` is a key of the record's value, `user.name` a key in a mapping within it."""

import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import msgspec

PATH = r"^[^.]+(\.[^.]+)*$"
"""The form of a field name, as a bound of the options that take one."""

BIGGEST = 2**63
"""MessagePack, in which state is kept, holds no whole numbers from here on."""


def show(value: Any, most: int = 60) -> str:
    """Return a value as it may stand in an error text: JSON, cut when it is long."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= most else f"{text[: most - 1]}…"


def no_mapping(value: Any) -> ValueError:
    """Return the error for a value that has no fields at all."""
    return ValueError(f"got {show(value)} as the value, expected a mapping of fields")


class Field:
    """Reads and changes one field of a value.

    `read` is the fast form for hot paths: it raises KeyError or TypeError when the field is not there, and
    `explain` then says why. The other methods raise ValueError with that text.
    """

    __slots__ = ("_parts", "path", "read")

    def __init__(self, path: str) -> None:
        self.path = path
        self._parts = path.split(".")
        if not all(self._parts):
            raise ValueError(f"got field name {path!r}, expected names joined by single dots")
        self.read: Callable[[Any], Any] = itemgetter(path) if len(self._parts) == 1 else self._read_nested

    def _read_nested(self, value: Any) -> Any:
        for part in self._parts:
            value = value[part]
        return value

    def get(self, value: Any) -> Any:
        """Return the field; it must be there."""
        try:
            return self.read(value)
        except (KeyError, TypeError):
            raise self.error(value) from None

    def find(self, value: Any, default: Any = None) -> Any:
        """Return the field, or `default` when the record has none; the value must be a mapping."""
        if not isinstance(value, dict):
            raise self.error(value)
        try:
            return self.read(value)
        except (KeyError, TypeError):
            return default

    def set(self, value: Any, new: Any) -> None:
        """Set the field, and make the mappings on the way to it that are missing."""
        holder = value
        for part in self._parts[:-1]:
            if not isinstance(holder, dict):
                break
            holder = holder.setdefault(part, {})
        if not isinstance(holder, dict):
            raise self.error(value)
        holder[self._parts[-1]] = new

    def pop(self, value: Any, default: Any = None) -> Any:
        """Remove the field and return it, or `default` when the record has none."""
        holder = value
        for part in self._parts[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        return holder.pop(self._parts[-1], default) if isinstance(holder, dict) else default

    def error(self, value: Any) -> ValueError:
        """Return the error that says why the field cannot be read from this value."""
        return ValueError(self.explain(value))

    def explain(self, value: Any) -> str:
        """Say why the field cannot be read from this value."""
        holder, way = value, "the value"
        for part in self._parts:
            if not isinstance(holder, dict):
                return f"{self.path}: {way} is {show(holder)}, expected a mapping"
            if part not in holder:
                has = ", ".join(map(str, list(holder)[:8])) or "no fields"
                return f"{self.path}: missing; {way} has {has}"
            holder, way = holder[part], part
        return f"{self.path}: got {show(holder)}"


def finite(value: Any) -> float | None:
    """Return a number as float; None for what is no finite number (text, true, NaN, a number beyond float)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def is_group(value: Any) -> bool:
    """Say whether records can be grouped by this value and the group be kept in state: text or a whole number."""
    kind = type(value)
    return kind is str or (kind is int and -BIGGEST <= value < BIGGEST)
