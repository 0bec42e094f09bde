"""Ctrl-C and SIGTERM while a pipeline runs: the first drains, the second stops at once, the third ends the process."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from streamweaver.cli.failure import NOT_DRAINED

ABORT_SECONDS = 3.0
"""How long stopping at once may take, until the process is ended: a plugin may block, and nothing is lost by it."""


class Stopper:
    """Counts the signals of one run."""

    def __init__(
        self, drain: Callable[[], None], abort: Callable[[], None], end: Callable[[], NoReturn] | None = None
    ) -> None:
        self._steps = (drain, abort)
        self._end = end or _end
        self._count = 0
        self._watchdog: threading.Timer | None = None

    def asked(self) -> None:
        """Take one signal."""
        self._count += 1
        if self._count > len(self._steps):
            self._end()
        if self._count == len(self._steps):
            # A thread, since the event loop may be what is blocked.
            self._watchdog = threading.Timer(ABORT_SECONDS, self._end)
            self._watchdog.daemon = True
            self._watchdog.start()
        self._steps[self._count - 1]()

    def done(self) -> None:
        """The run has ended by itself."""
        if self._watchdog is not None:
            self._watchdog.cancel()


@contextmanager
def handled(stopper: Stopper) -> Iterator[None]:
    """Have a stopper take the signals.

    Plain handlers and not the event loop's: they are called also while a plugin keeps the loop busy.
    """
    before = {number: signal.signal(number, lambda *_: stopper.asked()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        stopper.done()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def impatient(status: int, most_seconds: float | None = None) -> Iterator[None]:
    """While the last results are printed, end the process at once on a signal, and after that time if it is given.

    Whoever does not read what we print must not keep us: what is still to be written to a stalled pipe would hold up
    the interpreter's own end as well.
    """

    def leave(*_: object) -> NoReturn:
        os._exit(status)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    timer = None
    if most_seconds is not None:
        timer = threading.Timer(most_seconds, leave)
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end() -> NoReturn:
    # A live table hides the cursor.
    os.write(
        2,
        (b"\x1b[?25h" if os.isatty(2) else b"")
        + b"stopped before everything was drained; nothing is lost, the next start goes on from there\n",
    )
    os._exit(NOT_DRAINED)
