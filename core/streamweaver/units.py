"""Durations and sizes: the types of options that are written with a unit."""

import math
import re
from fractions import Fraction
from typing import NewType

Seconds = NewType("Seconds", float)
"""A duration: `500ms`, `10s`, `5m`, `1h`, `7d`, or a number of seconds; a float of seconds for the plugin."""

Size = NewType("Size", int)
"""A size in bytes: `64KiB`, `10MB`, `1GiB`, or a whole number of bytes; an int for the plugin."""

SECONDS_PATTERN = r"[0-9]+(\.[0-9]+)?(ms|s|m|h|d)"
SIZE_PATTERN = r"[0-9]+(\.[0-9]+)?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)"

_SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600), "d": Fraction(86400)}
_BYTES = {unit: 1000**power for power, unit in enumerate(["B", "kB", "MB", "GB", "TB"])}
_BYTES |= {"KB": 1000} | {unit: 1024**power for power, unit in enumerate(["B", "KiB", "MiB", "GiB", "TiB"])}
_LONGEST = 40


def to_seconds(value: object) -> Seconds | None:
    """Return the duration that a value means; None when it means none (negative, infinite, no unit)."""
    if type(value) in (int, float):
        number = float(value)  # type: ignore[arg-type]
        return Seconds(number) if number >= 0 and math.isfinite(number) else None
    if isinstance(value, str) and len(value) <= _LONGEST and (match := re.fullmatch(SECONDS_PATTERN, value)):
        return Seconds(float(Fraction(value.removesuffix(match[2])) * _SECONDS[match[2]]))
    return None


def to_size(value: object) -> Size | None:
    """Return the number of bytes that a value means; None when it means none (negative, a part of a byte)."""
    if type(value) is int and value >= 0:
        return Size(value)
    if isinstance(value, str) and len(value) <= _LONGEST and (match := re.fullmatch(SIZE_PATTERN, value)):
        size = Fraction(value.removesuffix(match[2])) * _BYTES[match[2]]
        return Size(int(size)) if size.denominator == 1 else None
    return None
