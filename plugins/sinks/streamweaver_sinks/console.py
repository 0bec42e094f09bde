"""The console sink: records on standard output, to look at or to pipe."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import attrs
import msgspec

from streamweaver import Batch, Fatal, Record, SinkContext, option, printable, sink

TERMINAL_LIMIT = 100
"""Records a second that a terminal gets by default."""

PRETTY_CHARACTERS = 2000
"""A longer value is cut in the pretty format."""

_encode = msgspec.json.Encoder(enc_hook=str).encode


def text_of(value: Any) -> str:
    """Return a value as JSON text; what JSON cannot hold as its `ascii` form."""
    try:
        return _encode(value).decode()
    except Exception:  # shown as well as it can be
        return json.dumps(ascii(value))


@sink(
    "console",
    delivery="best_effort",
    blocking=True,
    example="""\
use: console
from: stock_prices
format: pretty
limit: 20
""",
)
@attrs.define(eq=False)
class Console:
    """Print records to standard output, one line each.

    Characters that a terminal could act on are escaped, so nothing in a record can colour, move or forge a line.
    """

    format: Literal["json", "pretty", "value"] = option(
        default="json",
        help="json: an object with topic, partition, timestamp, key and value; value: the value alone, text as it is; "
        "pretty: for reading, coloured on a terminal",
        example="pretty",
    )
    limit: int | None = option(
        default=None,
        help="records shown a second, the rest only counted; 0 is no limit; by default 100 on a terminal, else none",
        example=20,
        ge=0,
    )

    _context: SinkContext | None = attrs.field(default=None, init=False, repr=False)
    _line: Callable[..., str] = attrs.field(default=str, init=False, repr=False)
    _most: int = attrs.field(default=0, init=False, repr=False)
    _second: int = attrs.field(default=0, init=False, repr=False)
    _shown: int = attrs.field(default=0, init=False, repr=False)
    _hidden: int = attrs.field(default=0, init=False, repr=False)

    def open(self, context: SinkContext) -> None:
        """Look at what standard output is."""
        terminal = sys.stdout.isatty()
        self._context = context
        self._most = self.limit if self.limit is not None else TERMINAL_LIMIT if terminal else 0
        self._second = self._shown = self._hidden = 0
        if self.format == "pretty":
            self._line = _colour() if terminal else _plain
        else:
            self._line = _json if self.format == "json" else _value

    def write(self, batch: Batch) -> None:
        """Print the records, as many as the limit allows."""
        context = self._context
        if context is None:
            raise Fatal("console: written before it was opened")
        second = context.now() // 1000
        if second != self._second:
            self._tell_hidden()
            self._second, self._shown = second, 0
        records = batch.records[: self._most - self._shown] if self._most else batch.records
        self._shown += len(records)
        if hidden := len(batch) - len(records):
            self._hidden += hidden
            context.count("hidden", hidden)
        if records:
            _print("".join([self._line(batch, record) + "\n" for record in records]))

    def close(self) -> None:
        """Say how many records were not shown last."""
        if self._context is not None:
            self._tell_hidden()
            self._context = None

    def _tell_hidden(self) -> None:
        """Say on standard error what was not shown: standard output is for records alone."""
        if self._hidden:
            sys.stderr.write(f"({self._hidden} more records not shown: limit {self._most} a second)\n")
            sys.stderr.flush()
            self._hidden = 0


def _print(text: str) -> None:
    out = sys.stdout
    encoding = out.encoding or "utf-8"
    try:
        # A terminal that is not UTF-8 shows escapes for what it lacks.
        out.write(text.encode(encoding, "backslashreplace").decode(encoding))
        out.flush()
    except (BrokenPipeError, ValueError) as error:
        raise Fatal("console: standard output was closed by its reader") from error


def _key(record: Record) -> str | None:
    key = record.key
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else key


def _json(batch: Batch, record: Record) -> str:
    about = {"topic": batch.topic, "partition": batch.partition, "timestamp": record.timestamp}
    try:
        line = _encode({**about, "key": _key(record), "value": record.value}).decode()
    except Exception:  # shown as well as it can be
        line = json.dumps({**about, "key": _key(record), "value": ascii(record.value)})
    return printable(line)


def _value(_batch: Batch, record: Record) -> str:
    value = record.value
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    return printable(value if isinstance(value, str) else text_of(value))


def _pretty_parts(batch: Batch, record: Record) -> tuple[str, str, str, str]:
    stamp = record.timestamp or 0
    time = datetime.fromtimestamp(stamp / 1000, UTC).strftime("%H:%M:%S.%f")[:-3] if 0 <= stamp < 1e14 else str(stamp)
    value = _value(batch, record)
    if len(value) > PRETTY_CHARACTERS:
        value = f"{value[:PRETTY_CHARACTERS]}… (+{len(value) - PRETTY_CHARACTERS} characters)"
    return time, printable(batch.topic), printable(_key(record) or "-"), value


def _plain(batch: Batch, record: Record) -> str:
    return "  ".join(_pretty_parts(batch, record))


def _colour() -> Callable[[Batch, Record], str]:
    """Make the coloured form; Rich is imported only here, and knows what the terminal can do (and NO_COLOR)."""
    from rich.console import Console as Terminal
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    terminal = Terminal(file=sys.stdout, highlight=False, soft_wrap=True)
    highlight = JSONHighlighter()

    def line(batch: Batch, record: Record) -> str:
        time, topic, key, value = _pretty_parts(batch, record)
        text = Text.assemble((time, "dim"), "  ", (topic, "cyan"), "  ", (key, "bold"), "  ", highlight(value))
        with terminal.capture() as captured:
            terminal.print(text, end="")
        return captured.get()

    return line
