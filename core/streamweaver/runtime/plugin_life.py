"""Calling plugins: opening and closing those of a stage, and telling their cancellations from the engine's."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from streamweaver.errors import Retriable, StreamWeaverError
from streamweaver.plugin import ATTRIBUTE, Plugin
from streamweaver.runtime.context import Log, Threads
from streamweaver.text import classed


def stray(error: asyncio.CancelledError) -> RuntimeError:
    """Return what to raise for a cancellation that came from inside; one that the task was asked for goes on.

    A plugin (or a client library) lets one out when it awaits something of its own that was cancelled. As it stands
    it would end the engine's task as if the stage had been stopped.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error
    return RuntimeError("cancelled from inside: something that was awaited had been cancelled")


async def call(function: Any, *arguments: Any, threads: Threads | None = None) -> Any:
    """Call a plugin's method, plain or `async`; a plain one in the stage's thread, if that is given."""
    try:
        result = function(*arguments) if threads is None else await threads.run(function, *arguments)
        return await result if inspect.isawaitable(result) else result
    except asyncio.CancelledError as error:
        raise stray(error) from error


@asynccontextmanager
async def opened(plugins: Sequence[tuple[Any, Any]], log: Log) -> AsyncIterator[None]:
    """Open each (plugin, context) in order, and close in reverse order all whose `open` was begun.

    One that blocks does both in the stage's thread: so what it opens belongs to the thread that uses it, and `close`
    comes after a call that is still under way.

    An error in `open` that is none of StreamWeaver's own becomes Retriable: it may pass. One in `close` is logged.
    """
    begun: list[tuple[Any, Threads | None]] = []
    try:
        for plugin, context in plugins:
            threads = context.threads if _blocks(plugin) else None
            begun.append((plugin, threads))
            if hasattr(plugin, "open"):
                try:
                    await call(plugin.open, context, threads=threads)
                except StreamWeaverError:
                    raise
                except (Exception, SystemExit) as error:
                    why = f"cannot open {type(plugin).__name__}: {classed(error)}"
                    raise Retriable(why) from error
        yield
    finally:
        for plugin, threads in reversed(begun):
            if hasattr(plugin, "close"):
                try:
                    await call(plugin.close, threads=threads)
                except (Exception, SystemExit) as error:
                    log("error", "close failed", plugin=type(plugin).__name__, error=classed(error))


def _blocks(plugin: object) -> bool:
    described = getattr(plugin, ATTRIBUTE, None)
    return isinstance(described, Plugin) and described.blocking
