"""A thread that runs calls for the event loop, one after the other."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import attrs


@attrs.define
class _Call:
    function: Callable[[], Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class Thread:
    """Runs what it is given, in order, until it is closed.

    An executor does the same with more around it: on an otherwise idle machine a call took 0.16 ms to begin and 0.06 ms
    to be answered, here 0.05 and 0.03. That is a large part of a write to a file, and each write waits for it.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closed = False
        # A daemon: a call that never returns must not keep the process from ending.
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def run(self, function: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Have a call made; the future is done with what it returns, or raises what it raises.

        Cancelling the future calls it off as long as it has not begun; later it goes on, and nobody hears of it.
        """
        loop = asyncio.get_running_loop()
        call = _Call(function, loop.create_future(), loop)
        self._calls.put(call)
        return call.future

    def close(self) -> None:
        """Let the thread end after what it is doing; what still waits is cancelled."""
        self._closed = True
        self._calls.put(None)

    def _run(self) -> None:
        while self._next():
            pass

    def _next(self) -> bool:
        """Make the next call; returns False at the end. Here, so that none is held while waiting for another."""
        call = self._calls.get()
        if call is None:
            return False
        future = call.future
        if self._closed:
            _tell(call.loop, future.cancel)
        elif not future.cancelled():
            try:
                result = call.function()
            except StopIteration as error:
                # A future cannot raise it: whoever awaits would take it for the end of a generator.
                wrong = RuntimeError("raised StopIteration")
                wrong.__cause__ = error
                _tell(call.loop, _fail, future, wrong)
            except BaseException as error:  # whoever asked gets it, as from a call of his own
                _tell(call.loop, _fail, future, error)
            else:
                _tell(call.loop, _answer, future, result)
        return True


def _answer(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(function, *arguments)
