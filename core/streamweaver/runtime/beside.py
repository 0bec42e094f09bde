"""What observers run beside the stages of a pipeline: started, watched, ended."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from streamweaver.runtime.context import Log
from streamweaver.text import classed, said

PATIENCE_SECONDS = 5.0
"""How long one that is cancelled may take to end."""


class Beside:
    """The coroutines that observers started. One that fails is logged and done with.

    With `last_is_raised` the failure that ends the last of them is only kept: whoever waits raises it.
    """

    def __init__(self, log: Log, *, last_is_raised: bool = False) -> None:
        self._last_is_raised = last_is_raised
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self.failures: list[str] = []

    def start(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task of its own."""
        self._tasks.add(asyncio.create_task(self._guarded(name, coroutine), name=name))

    async def _guarded(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except (Exception, SystemExit) as error:
            self.failures.append(f"{name}: {said(error)}")
            others = [task for task in self._tasks if not task.done() and task is not asyncio.current_task()]
            if others or not self._last_is_raised:
                self._log("error", f"{name} ended", error=classed(error))

    async def wait(self) -> None:
        """Return when everything that was started has ended by itself."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def end(self) -> None:
        """Cancel everything and wait for it, though not for ever."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=PATIENCE_SECONDS)
            for task in left:
                self._log("warning", f"{task.get_name()} does not end", waited_seconds=PATIENCE_SECONDS)
