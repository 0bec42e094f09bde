"""Running a pipeline's event loop, and ending a process in which plugins have left something behind."""

import asyncio
import contextlib
import gc
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import attrs

from streamweaver.runtime.context import THREAD_NAME

T = TypeVar("T")

LEFT_SECONDS = 2.0
"""How long tasks that plugins have left behind may take to end."""


@attrs.define(eq=False)
class Leftovers:
    """What plugins leave behind after a run: tasks and threads that do not end, so that the process cannot either."""

    tasks: list[asyncio.Task[Any]] = attrs.field(factory=list)
    _not_ours: frozenset[threading.Thread] = attrs.field(init=False, factory=lambda: frozenset(threading.enumerate()))
    """Threads that were there before the run."""

    def threads(self) -> list[threading.Thread]:
        """Return the threads of stages that have not ended yet."""
        began = (thread for thread in threading.enumerate() if thread not in self._not_ours)
        return [thread for thread in began if thread.name.startswith(THREAD_NAME)]


def soon(loop: asyncio.AbstractEventLoop, call: Any) -> None:
    """Call something in an event loop, from a signal handler or another thread."""
    # A signal that comes when the loop has just been closed finds nothing to stop.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


def run_loop(coroutine: Coroutine[Any, Any, T]) -> tuple[T, Leftovers]:
    """Run a coroutine on uvloop where it is installed, else on asyncio's own loop; returns also what is left of it."""
    left = Leftovers()
    # A batch makes thousands of objects that live for milliseconds and form no cycles: looking through them at every
    # 700th, as is the default, takes a tenth of the processor time (5.9 against 5.3 s for 300,000 records, in turn).
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    loop: asyncio.AbstractEventLoop
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(coroutine), left
    finally:
        # Not asyncio's runner: it waits without end for a plugin's task that ignores its cancellation.
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=LEFT_SECONDS))
        left.tasks.extend(task for task in tasks if not task.done())
        if not left.tasks:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def leave(status: int, left: Leftovers, *, aborted: bool) -> int:
    """Return the exit status; end the process with it where a plugin's task or thread would keep it from ending."""
    if not aborted:
        for thread in left.threads():
            thread.join(LEFT_SECONDS)
    if aborted or left.tasks or left.threads():
        # What it still does is not acknowledged.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status
