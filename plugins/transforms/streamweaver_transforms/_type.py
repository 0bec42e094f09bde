"""Conversions of single values to a named type."""

import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from streamweaver_transforms._field import finite, show
from streamweaver_transforms._time import from_iso, iso

TypeName: TypeAlias = Literal["int", "float", "bool", "text", "timestamp"]

# Python's own int() and float() also take `1_000` and digits of other scripts with surprising results.
_WHOLE = re.compile(r"[+-]?[0-9]{1,400}")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def to_int(value: Any) -> int:
    """Whole numbers, floats without a fraction, and their text."""
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is float and value.is_integer():
        return int(value)
    if kind is str:
        text = value.strip()
        if _WHOLE.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text) and float(text).is_integer():
            return int(float(text))
    raise ValueError(f"got {show(value)}, expected a whole number")


def to_float(value: Any) -> float:
    """Finite numbers and their text."""
    number = value
    if type(value) is str and _DECIMAL.fullmatch(text := value.strip()):
        number = float(text)
    checked = finite(number)
    if checked is None:
        raise ValueError(f"got {show(value)}, expected a number")
    return checked


def to_bool(value: Any) -> bool:
    """True and false, 1 and 0, and the words true, yes, on, false, no, off in any case."""
    kind = type(value)
    if kind is bool:
        return bool(value)
    if kind is str and (word := _WORDS.get(value.strip().lower())) is not None:
        return word
    if kind is int and value in (0, 1):
        return bool(value)
    raise ValueError(f"got {show(value)}, expected true or false")


def to_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    if type(value) is str:
        return value
    try:
        return msgspec.json.encode(value).decode()
    except TypeError as error:
        raise ValueError(f"got {type(value).__name__}, expected what can be text: {error}") from None


def to_timestamp(value: Any) -> str:
    """ISO 8601 text, as ISO 8601 in UTC."""
    return iso(from_iso(value))


CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "int": to_int,
    "float": to_float,
    "bool": to_bool,
    "text": to_text,
    "timestamp": to_timestamp,
}
