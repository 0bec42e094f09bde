"""What a command's error means to its user: lines on standard error, and an exit status. Never a traceback."""

import errno
import os
import sys
import traceback
from collections.abc import Callable

import click

from streamweaver.errors import ConfigError, StreamWeaverError
from streamweaver.text import printable, said

FAILED = 1
INVALID = 2
NOT_DRAINED = 3

TRACEBACK = "STREAMWEAVER_TRACEBACK"
"""Environment variable: show the traceback of an internal error."""

UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)
"""What the system answers where standard output cannot be written."""

_REDACT = "streamweaver.redact"


def redact_with(ctx: click.Context, redact: Callable[[str], str]) -> None:
    """Have every later error text of this command go through `redact`."""
    ctx.meta[_REDACT] = redact


def status_of(error: BaseException, ctx: click.Context) -> int:
    """Tell the user about an error, and return the exit status that it means."""
    redact: Callable[[str], str] = ctx.meta.get(_REDACT, str)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
        status = status_of_output(error)
        quietly()
        return status
    if isinstance(error, KeyboardInterrupt):
        say("stopped")
        return NOT_DRAINED
    if isinstance(error, ConfigError):
        for finding in error.findings:
            say(redact(str(finding)))
        return INVALID
    if isinstance(error, StreamWeaverError):
        say("error: " + "; ".join(redact(said(error)).splitlines()))
        return FAILED
    if os.environ.get(TRACEBACK):
        say(redact("".join(traceback.format_exception(error)).rstrip()))
        return FAILED
    text = " ".join(redact(str(error)).split())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    say(f"internal error: {what}; run with {TRACEBACK}=1 for the traceback")
    return FAILED


def status_of_output(error: OSError) -> int:
    """Tell the user that standard output cannot be written; returns the exit status that it means."""
    if isinstance(error, BrokenPipeError):
        # Whoever reads our output has enough of it.
        return 0
    say(f"error: standard output cannot be written: {(error.strerror or 'unknown error').lower()}")
    return FAILED


def quietly() -> None:
    """Have what is still to be printed go nowhere: it could only fail again, at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Print lines on standard error; what an error quotes, of a record say, does nothing to a terminal."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=True)
