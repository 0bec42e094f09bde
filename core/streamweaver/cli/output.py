"""Results on standard output: JSON for programs, and text that nothing in a record can turn into more than text."""

import base64
import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from streamweaver.text import printable

_GAP = 2
_LEAST = 12
"""A last column is not cut below so many characters."""

_LATEST_MS = 253_402_300_800_000  # the year 10000, which datetime has not


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


def print_table(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = (), spare: Sequence[str] = ()
) -> None:
    """Print rows in columns, the heads first; columns named in `right` are numbers and stand to the right.

    On a terminal that is too narrow the columns in `spare` are left out, one after the other, and then the last column
    is cut. What is piped has all of it.
    """
    lines = [list(heads), *([printable("" if cell is None else str(cell)) for cell in row] for row in rows)]
    lines = _fitted(lines, spare, _terminal_width())
    heads = lines[0]
    widths = _widths(lines)
    for number, line in enumerate(lines):
        cells = [
            cell.rjust(width) if head in right else cell.ljust(width)
            for cell, width, head in zip(line, widths, heads, strict=True)
        ]
        text = (" " * _GAP).join(cells).rstrip()
        click.echo(click.style(text, bold=True) if number == 0 else text)


def _widths(lines: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _terminal_width() -> int | None:
    """Return the columns of the terminal that standard output is; None when it is none and nobody says any."""
    if not (sys.stdout.isatty() or os.environ.get("COLUMNS")):
        return None
    return shutil.get_terminal_size().columns


def _fitted(lines: list[list[str]], spare: Sequence[str], width: int | None) -> list[list[str]]:
    """Leave out columns, then cut the last one, until the lines fit."""

    def over() -> int:
        widths = _widths(lines)
        return 0 if width is None else sum(widths) + _GAP * (len(widths) - 1) - width

    for head in spare:
        if over() <= 0:
            break
        at = lines[0].index(head)
        lines = [[cell for number, cell in enumerate(line) if number != at] for line in lines]
    if (more := over()) > 0:
        most = max(_LEAST, _widths(lines)[-1] - more)
        lines = [[*line[:-1], line[-1] if len(line[-1]) <= most else f"{line[-1][: most - 1]}…"] for line in lines]
    return lines
