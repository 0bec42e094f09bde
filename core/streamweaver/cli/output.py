"""Results on standard output: JSON for programs, and text that nothing in a record can turn into more than text."""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

# Control characters (C0, C1), directional marks, line separators, invisible tags and lone surrogates: what could move
# the cursor, colour, reorder or hide text on a terminal.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

_LATEST_MS = 253_402_300_800_000  # the year 10000, which datetime has not


def printable(text: str) -> str:
    r"""Escape everything that a terminal could act on, as `\uXXXX`; JSON text stays the same JSON."""
    return _UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def json_text(value: Any) -> str:
    """Return a value as one line of JSON; what JSON does not know as text of it."""
    try:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = json.dumps(ascii(value))
    return printable(text)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(json_text(value))


def text_or_base64(data: bytes | None) -> Any:
    """Return bytes for JSON: as text when they are UTF-8, else as `{"base64": "..."}`."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def time_text(timestamp_ms: int) -> str:
    """Return a time as `2025-06-15 15:06:40.123Z`, or the number when it is none."""
    if not 0 <= timestamp_ms < _LATEST_MS:
        return str(timestamp_ms)
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """Print rows in columns, the heads first; columns named in `right` are numbers and stand to the right."""
    lines = [list(heads), *([printable("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for number, line in enumerate(lines):
        cells = [
            cell.rjust(width) if head in right else cell.ljust(width)
            for cell, width, head in zip(line, widths, heads, strict=True)
        ]
        text = "  ".join(cells).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)
