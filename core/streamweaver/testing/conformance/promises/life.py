"""What a plugin of any running kind promises about `open` and `close`."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamweaver.runtime.plugin_life import call
from streamweaver.testing.conformance.bench import busy_threads
from streamweaver.testing.conformance.suite import Behaviours, Need, Suite

LIFE = Behaviours()

OPENS = Need("it has no open", lambda suite: hasattr(suite.build(), "open"))
CLOSES = Need("it has no close", lambda suite: hasattr(suite.build(), "close"))


class _Unwilling:
    """A context that cannot be used, so that an `open` that needs one fails half-way."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"conformance: there is no {name}")


@LIFE.promise(CLOSES)
async def close_follows_a_failed_open(suite: Suite, _folder: Path) -> None:
    """`close` does no harm, and raises nothing, after an `open` that failed."""
    if suite.prepare is not None:
        await call(suite.prepare)
    plugin = suite.build()
    if hasattr(plugin, "open"):
        try:
            await call(plugin.open, _Unwilling())
        except Exception:  # what is wanted here
            await asyncio.sleep(0)
    try:
        await call(plugin.close)
    except Exception as error:
        raise AssertionError(
            f"close raised {type(error).__name__}: {error}; it is also called when open has failed"
        ) from error


class Leftovers:
    """What runs now, to be compared with what runs when a plugin has been closed."""

    def __init__(self) -> None:
        self._threads = busy_threads()
        self._tasks = asyncio.all_tasks()

    async def gone(self, patience: float) -> None:
        """Wait until nothing more runs than before; AssertionError that names what does."""
        try:
            async with asyncio.timeout(patience):
                while self._left():  # noqa: ASYNC110 - the end of a thread is not announced
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"still running after close: {', '.join(self._left())}") from None

    def _left(self) -> list[str]:
        threads = [f"thread {thread.name}" for thread in busy_threads() - self._threads if thread.is_alive()]
        tasks = [f"task {task.get_name()}" for task in asyncio.all_tasks() - self._tasks if not task.done()]
        return threads + tasks


def same_instance(plugin: Any) -> Callable[[Any], Any]:
    """Return a wrap that puts one and the same plugin into every stage, as a restart may."""
    return lambda _fresh: plugin
