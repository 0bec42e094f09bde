"""Taking what a producer's generator yields, in batches that grow with the load."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any, Protocol

from streamweaver.contracts import Brought
from streamweaver.record import Record, Rejected
from streamweaver.runtime.rate import Limiter

MOST = 2_000
"""Records taken at once."""

Item = Record | Rejected


class Source(Protocol):
    """A generator, being drawn from."""

    async def take(self, most: int) -> list[Item]:
        """Return what is there, at least one item (a yielded list comes whole); an empty list at the end.

        Raises what the generator raised, after everything it yielded before that has been taken.
        """

    async def close(self) -> list[Item]:
        """Close the generator; return what it had yielded and nobody has taken."""


def source_for(generator: Any, limiter: Limiter, *, blocking: bool) -> Source:
    """Return the source that fits a producer's generator."""
    if isinstance(generator, AsyncIterator):
        return AsyncSource(generator, limiter)
    if isinstance(generator, Iterator):
        return BlockingSource(generator, limiter) if blocking else PlainSource(generator, limiter)
    raise TypeError(f"produce returned {type(generator).__name__}, expected a generator")


def _items(yielded: list[Brought]) -> list[Item]:
    items: list[Item] = []
    for one in yielded:
        if isinstance(one, list):
            items += one
        else:
            items.append(one)
    return items


class PlainSource:
    """A plain generator, run in the event loop: the quickest form."""

    def __init__(self, generator: Iterator[Brought], limiter: Limiter) -> None:
        self._generator = generator
        self._limiter = limiter
        self._error: Exception | None = None

    async def take(self, most: int) -> list[Item]:
        """Draw as many as the rate allows."""
        if self._error is not None:
            raise self._error
        allowed = await self._limiter.allow(min(most, MOST))
        # Between two full batches other tasks must get their turn, since drawing never waits.
        await asyncio.sleep(0)
        yielded: list[Brought] = []
        try:
            # Extended in place, so that what came before an error is there when it happens.
            yielded.extend(islice(self._generator, allowed))
        except Exception as error:
            if not yielded:
                raise
            self._error = error
        return _items(yielded)

    async def close(self) -> list[Item]:
        """Close the generator."""
        if hasattr(self._generator, "close"):
            self._generator.close()
        return []


class AsyncSource:
    """An async generator, drawn from by a task of its own into a bounded buffer."""

    def __init__(self, generator: AsyncIterator[Brought], limiter: Limiter) -> None:
        self._generator = generator
        self._limiter = limiter
        self._buffer: list[Brought] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._space = asyncio.Event()
        self._error: BaseException | None = None
        self._ended = False
        self._task = asyncio.create_task(self._draw())

    async def _draw(self) -> None:
        try:
            while True:
                await self._limiter.allow(1)
                try:
                    one = await anext(self._generator)
                except StopAsyncIteration:
                    break
                self._buffer.append(one)
                self._size += len(one) if isinstance(one, list) else 1
                self._filled.set()
                if self._size >= MOST:
                    self._space.clear()
                    await self._space.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # handed on by `take`, a plugin's SystemExit included
            self._error = error
        finally:
            self._ended = True
            self._filled.set()

    async def take(self, most: int) -> list[Item]:
        """Return everything that the buffer holds."""
        while not self._buffer:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return []
            self._filled.clear()
            await self._filled.wait()
        if most < self._size and not any(isinstance(one, list) for one in self._buffer):
            taken, self._buffer = self._buffer[:most], self._buffer[most:]
        else:
            taken, self._buffer = self._buffer, []
        items = _items(taken)
        self._size -= len(items)
        self._space.set()
        return items

    async def close(self) -> list[Item]:
        """Stop the task and close the generator."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if hasattr(self._generator, "aclose"):
            await self._generator.aclose()
        left, self._buffer = self._buffer, []
        return _items(left)


class BlockingSource:
    """A plain generator that blocks, drawn from by a thread of its own into a bounded buffer."""

    def __init__(self, generator: Iterator[Brought], limiter: Limiter) -> None:
        self._generator = generator
        self._limiter = limiter
        self._loop = asyncio.get_running_loop()
        self._buffer: deque[Brought] = deque()
        self._filled = asyncio.Event()
        self._space = threading.Semaphore(MOST)
        self._closed = False
        self._error: BaseException | None = None
        self._ended = False
        # A daemon: a call that blocks for ever must not keep the process from ending.
        self._thread = threading.Thread(target=self._draw, name="streamweaver-producer", daemon=True)
        self._thread.start()

    def _draw(self) -> None:
        try:
            for one in self._generator:
                self._buffer.append(one)
                self._wake()
                self._space.acquire()
                if self._closed:
                    break
        except BaseException as error:  # handed on by `take`
            self._error = error
        finally:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._filled.set)

    async def take(self, most: int) -> list[Item]:
        """Return what the buffer holds and the rate allows."""
        allowed = await self._limiter.allow(min(most, MOST))
        while not self._buffer:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return []
            self._filled.clear()
            if not self._buffer and not self._ended:
                await self._filled.wait()
        taken = [self._buffer.popleft() for _ in range(min(allowed, len(self._buffer)))]
        self._space.release(len(taken))
        return _items(taken)

    async def close(self) -> list[Item]:
        """Tell the thread to end after what it waits for; it is not waited for."""
        self._closed = True
        self._space.release()
        left = list(self._buffer)
        self._buffer.clear()
        return _items(left)
