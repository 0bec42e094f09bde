"""Log lines on standard error: of the engine and the plugins, and, kept quiet, of other libraries (structlog)."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import structlog

from streamweaver.runtime.context import Log
from streamweaver.text import printable

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

REPEAT_SECONDS = 10.0
"""A library's line that comes again within this time is only counted."""

KINDS = 1_000
"""So many kinds of lines are told apart; a library that fills in its texts by itself makes a kind of each."""


class Logger:
    """Writes log lines; fits `Log` of the engine. Every finished line goes through `redact`."""

    def __init__(self, level: str, form: Literal["text", "json"], redact: Callable[[str], str]) -> None:
        self._least = LEVELS[level]
        colors = form == "text" and sys.stderr.isatty()
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        self._render = _form(form, colors=colors)
        self._redact = redact

    def __call__(self, level: str, event: str, /, **fields: Any) -> None:
        """Write one line."""
        if LEVELS[level] < self._least:
            return
        line = self._render(None, level, self._stamp(None, level, {**fields, "event": event, "level": level}))
        # `sys.stderr` is looked up each time: a live table puts itself before it.
        print(self._redact(str(line)), file=sys.stderr, flush=True)  # noqa: T201 - this is where log lines are written


def _form(form: str, *, colors: bool) -> "structlog.typing.Processor":
    if form == "json":
        return structlog.processors.JSONRenderer(default=str)
    if colors:
        return _safely(structlog.dev.ConsoleRenderer(colors=True, pad_event_to=0, sort_keys=False))
    return _safely(structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False))


def _safely(render: "structlog.typing.Processor") -> "structlog.typing.Processor":
    """Escape what texts could do to a terminal, or to the line structure, before they are rendered."""

    def safe(logger: Any, name: str, line: "structlog.typing.EventDict") -> Any:
        return render(
            logger,
            name,
            {
                "_".join(key.split()) or "_": printable(value) if isinstance(value, str) else value
                for key, value in line.items()
            },
        )

    return safe


class Libraries(logging.Handler):
    """Takes what other libraries log, warnings and worse, and passes on each kind of line once in a while."""

    def __init__(self, log: Log, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._now = now
        self._last: dict[tuple[str, str], float] = {}
        self._repeated: dict[tuple[str, str], int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it as repeated."""
        # The unfilled text tells kinds of lines apart, whatever offsets and addresses they name.
        kind = (record.name, str(record.msg))
        now = self._now()
        if kind in self._last and now - self._last[kind] < REPEAT_SECONDS:
            self._repeated[kind] = self._repeated.get(kind, 0) + 1
            return
        if len(self._last) >= KINDS:
            self._last.clear()
            self._repeated.clear()
        self._last[kind] = now
        fields: dict[str, Any] = {"library": record.name}
        if repeated := self._repeated.pop(kind, 0):
            fields["repeated"] = repeated
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields["error"] = f"{type(error).__name__}: {error}"
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log(level, text.partition("\n")[0], **fields)


@contextmanager
def taken_over(log: Log) -> Iterator[None]:
    """Have everything that other libraries log in this process go through `log`."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [Libraries(log)]
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
