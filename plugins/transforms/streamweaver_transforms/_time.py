"""Timestamps: milliseconds since 1970, as text and back."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from streamweaver_transforms._field import finite, show

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SAMPLE = datetime(2024, 12, 31, 23, 59, 58, tzinfo=UTC)

UNITS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
"""Formats that are a number since 1970, with their length in milliseconds."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


def iso(ms: int) -> str:
    """Return the time as `2025-06-15T15:06:40.000Z`; ValueError outside the years 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        raise ValueError(f"got timestamp {ms} ms, expected one in the years 1 to 9999") from None
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def milliseconds(moment: datetime, zone: tzinfo = UTC) -> int:
    """Return a moment in milliseconds; one without an offset is taken to be in `zone`."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return (moment - _EPOCH) // _MILLISECOND


def from_iso(value: Any, zone: tzinfo = UTC) -> int:
    """Read ISO 8601 text; without an offset it is taken to be in `zone`."""
    if isinstance(value, str):
        try:
            return milliseconds(datetime.fromisoformat(value.strip()), zone)
        except ValueError:
            pass
    elif isinstance(value, datetime):
        return milliseconds(value, zone)
    hint = "; a number needs its unit: s, ms or us" if finite(value) is not None else ""
    raise ValueError(f"got {show(value)}, expected a time as ISO 8601 text{hint}")


def from_number(value: Any, unit: str) -> int:
    """Read a number (or its text) of seconds, milliseconds or microseconds since 1970."""
    number: int | float | None = None
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value.strip())):
        number = float(value) if match[1] else int(value)
    elif finite(value) is not None:
        number = value
    if number is None or abs(number) > 1e18:
        raise ValueError(f"got {show(value)}, expected a time as a number of {unit} since 1970")
    if isinstance(number, int):
        return number // 1000 if unit == "us" else number * int(UNITS[unit])
    return round(number * UNITS[unit])


def from_pattern(value: Any, pattern: str, zone: tzinfo = UTC) -> int:
    """Read text by a `strptime` pattern; without an offset it is taken to be in `zone`."""
    if isinstance(value, str):
        try:
            return milliseconds(datetime.strptime(value.strip(), pattern), zone)
        except ValueError:
            pass
    raise ValueError(f"got {show(value)}, expected a time like {_SAMPLE.strftime(pattern)}")


def reader(form: str, zone: tzinfo = UTC) -> Callable[[Any], int]:
    """Return the function that reads times of a format: `iso`, `s`, `ms`, `us` or a `strptime` pattern."""
    if form == "iso":
        return lambda value: from_iso(value, zone)
    if form in UNITS:
        return lambda value: from_number(value, form)
    check_format(form)
    return lambda value: from_pattern(value, form, zone)


def check_format(form: str) -> None:
    """Raise ValueError unless `reader` knows the format; a pattern must hold a whole date."""
    if form == "iso" or form in UNITS:
        return
    if "%" not in form:
        raise ValueError(f"got time format {form!r}, expected iso, s, ms, us or a pattern such as %d.%m.%Y %H:%M")
    try:
        again = datetime.strptime(_SAMPLE.strftime(form), form)
    except ValueError as error:
        raise ValueError(f"time format {form!r}: {error}") from None
    if again.date() != _SAMPLE.date():
        raise ValueError(f"time format {form!r}: expected year, month and day in it, such as %Y-%m-%d")


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name; ValueError when there is none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, LookupError, ValueError):
        raise ValueError(f"got time zone {name!r}, expected a name such as Europe/Berlin or UTC") from None
