"""Taking what a producer's generator yields, in batches that grow with the load."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from streamweaver.contracts import Brought
from streamweaver.errors import Fatal
from streamweaver.runtime.held_back import HeldBack, Item
from streamweaver.runtime.rate import Limiter

MOST = 2_000
"""Records taken at once."""

GRACE_SECONDS = 1.0
"""How long a generator in a thread may take to notice that it is closed, before its plugin is closed beside it."""


class Source(Protocol):
    """A generator, being drawn from."""

    async def take(self, most: int) -> list[Item]:
        """Return what is there, at least one item (without a rate a yielded list comes whole); nothing at the end.

        Raises what the generator raised, after everything it yielded before that has been taken.
        """

    async def close(self) -> None:
        """Close the generator; raises what it raises then."""

    def rest(self) -> list[Item]:
        """Return, once it is closed, what it had yielded and nobody has taken, as far as it is to be stored now."""


def source_for(generator: Any, limiter: Limiter, *, blocking: bool, resumes: bool = False) -> Source:
    """Return the source that fits a producer's generator; `resumes` says that it brings again what is not stored."""
    held = HeldBack(resumes)
    if isinstance(generator, AsyncIterator):
        return AsyncSource(generator, limiter, held)
    if isinstance(generator, Iterator):
        return BlockingSource(generator, limiter, held) if blocking else PlainSource(generator, limiter, held)
    raise TypeError(f"produce returned {type(generator).__name__}, expected a generator")


def _items(yielded: Iterable[Brought]) -> list[Item]:
    items: list[Item] = []
    for one in yielded:
        if isinstance(one, list):
            items += one
        else:
            items.append(one)
    if wrong := [kind for kind in set(map(type, items)) if not issubclass(kind, Item)]:
        raise Fatal(f"the producer yielded {wrong[0].__name__}, expected a Record, Rejected or a list of these")
    return items


def _size(one: Brought) -> int:
    return len(one) if isinstance(one, list) else 1


def _take(buffer: deque[Brought], most: int) -> list[Brought]:
    """Take whole items out of a buffer until there are `most` records."""
    taken: list[Brought] = []
    size = 0
    while buffer and size < most:
        one = buffer.popleft()
        taken.append(one)
        size += _size(one)
    return taken


def _granted(held: HeldBack, allowed: int, limiter: Limiter) -> list[Item]:
    """Return what the rate allows of what is held back, and settle with it what is more or less than that."""
    items = held.take(None if limiter.is_free else allowed)
    limiter.charge(len(items) - allowed)
    return items


def _as_error(error: BaseException) -> BaseException:
    """Return what to raise for what a producer raised of its own making: it must not look like somebody else's end."""
    if isinstance(error, SystemExit):
        return Fatal(f"the producer called sys.exit({error.code})")
    return Fatal("the producer was cancelled from inside") if isinstance(error, asyncio.CancelledError) else error


class PlainSource:
    """A plain generator, run in the event loop: the quickest form."""

    def __init__(self, generator: Iterator[Brought], limiter: Limiter, held: HeldBack) -> None:
        self._generator = generator
        self._limiter = limiter
        self._held = held
        self._error: BaseException | None = None
        self._ended = False

    async def take(self, most: int) -> list[Item]:
        """Draw as many as the rate allows."""
        while self._held or (self._error is None and not self._ended):
            allowed = await self._limiter.allow(min(most, MOST))
            # Between two full batches other tasks must get their turn, since drawing never waits.
            await asyncio.sleep(0)
            if not self._held:
                self._held.add(_items(self._draw(allowed)))
            if items := _granted(self._held, allowed, self._limiter):
                return items
        if self._error is not None:
            raise self._error
        return []

    def _draw(self, most: int) -> list[Brought]:
        yielded: list[Brought] = []
        size = 0
        try:
            for one in islice(self._generator, most):
                yielded.append(one)
                size += _size(one)
                # An empty list is a generator that has worked for a while without bringing anything.
                if size >= most or not _size(one):
                    break
            else:
                self._ended = len(yielded) < most
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            # What came before the error goes first.
            self._error = _as_error(error)
        return yielded

    async def close(self) -> None:
        """Close the generator."""
        if hasattr(self._generator, "close"):
            self._generator.close()

    def rest(self) -> list[Item]:
        """Return what a rate has held back."""
        return self._held.last([])


class AsyncSource:
    """An async generator, drawn from by a task of its own into a bounded buffer."""

    def __init__(self, generator: AsyncIterator[Brought], limiter: Limiter, held: HeldBack) -> None:
        self._generator = generator
        self._limiter = limiter
        self._held = held
        self._buffer: deque[Brought] = deque()
        self._size = 0
        self._filled = asyncio.Event()
        self._space = asyncio.Event()
        self._error: BaseException | None = None
        self._ended = False
        self._closing = False
        self._task = asyncio.create_task(self._draw())

    async def _draw(self) -> None:
        paced = not self._limiter.is_free
        try:
            while True:
                await self._limiter.allow(1)
                try:
                    one = await anext(self._generator)
                except StopAsyncIteration:
                    break
                if paced and isinstance(one, list):
                    await self._put_in_pieces(one)
                    continue
                self._put(one)
                self._limiter.charge(_size(one) - 1)
                if self._size >= MOST:
                    await self._some_space()
        except asyncio.CancelledError as error:
            if not self._closing:
                self._error = _as_error(error)
        except BaseException as error:  # handed on by `take`
            self._error = _as_error(error)
        finally:
            self._ended = True
            self._filled.set()

    def _put(self, one: Brought) -> None:
        self._buffer.append(one)
        self._size += _size(one)
        self._filled.set()

    async def _put_in_pieces(self, items: Brought) -> None:
        """Hand on a list as the rate lets it; what the buffer has not got yet is held back."""
        # The one that was allowed before the list was drawn.
        self._limiter.charge(-1)
        self._held.add(_items([items]))
        while self._held:
            self._put(_granted(self._held, await self._limiter.allow(MOST), self._limiter))
            if self._size >= MOST:
                await self._some_space()

    async def _some_space(self) -> None:
        self._space.clear()
        await self._space.wait()

    async def take(self, most: int) -> list[Item]:
        """Return what the buffer holds."""
        while True:
            while not self._buffer:
                if self._ended:
                    if self._error is not None:
                        raise self._error
                    return []
                self._filled.clear()
                await self._filled.wait()
            taken = _take(self._buffer, most)
            self._size -= sum(map(_size, taken))
            if self._size < MOST:
                self._space.set()
            if items := _items(taken):
                return items

    async def close(self) -> None:
        """Stop the task and close the generator."""
        self._closing = True
        self._task.cancel()
        await asyncio.wait({self._task})
        if hasattr(self._generator, "aclose"):
            await self._generator.aclose()

    def rest(self) -> list[Item]:
        """Return what is in the buffer, and what a rate has held back."""
        left = _items(self._buffer) + self._held.last([])
        self._buffer.clear()
        return left


class BlockingSource:
    """A plain generator that blocks, drawn from by a thread of its own into a bounded buffer."""

    def __init__(self, generator: Iterator[Brought], limiter: Limiter, held: HeldBack) -> None:
        self._generator = generator
        self._limiter = limiter
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._buffer: deque[Brought] = deque()
        self._size = 0
        self._filled = asyncio.Event()
        self._space = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        self._ended = False
        self._gone = asyncio.Event()
        # A daemon: a call that blocks for ever must not keep the process from ending.
        self._thread = threading.Thread(target=self._draw, name="streamweaver-producer", daemon=True)
        self._thread.start()

    def _draw(self) -> None:
        try:
            for one in self._generator:
                if not self._put(one):
                    break
            if hasattr(self._generator, "close"):
                self._generator.close()
        except BaseException as error:  # handed on by `take`
            self._error = _as_error(error)
        finally:
            self._ended = True
            self._tell(self._filled)
            self._tell(self._gone)

    def _put(self, one: Brought) -> bool:
        """Hand an item on and wait for space; returns whether to draw another one."""
        with self._space:
            # What comes after `close` is not stored, and comes again.
            if self._closed:
                return False
            self._buffer.append(one)
            self._size += _size(one)
            self._tell(self._filled)
            self._space.wait_for(lambda: self._closed or self._size < MOST)
            # Nothing more is drawn only to be dropped: a producer that does not resume would not bring it again.
            return not self._closed

    def _tell(self, event: asyncio.Event) -> None:
        # The loop is closed if nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(event.set)

    async def take(self, most: int) -> list[Item]:
        """Return what the buffer holds and the rate allows."""
        while True:
            while not (self._buffer or self._held):
                if self._ended:
                    if self._error is not None:
                        raise self._error
                    return []
                self._filled.clear()
                if not self._buffer and not self._ended:
                    await self._filled.wait()
            allowed = await self._limiter.allow(min(most, MOST))
            if not self._held:
                with self._space:
                    taken = _take(self._buffer, allowed)
                    self._size -= sum(map(_size, taken))
                    self._space.notify()
                self._held.add(_items(taken))
            if items := _granted(self._held, allowed, self._limiter):
                return items

    async def close(self) -> None:
        """Tell the thread to end after what it waits for; it is waited for a moment only, since it may never end."""
        with self._space:
            self._closed = True
            self._space.notify()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._gone.wait()

    def rest(self) -> list[Item]:
        """Return what a rate has held back, and what is in the buffer."""
        left = self._held.last(_items(self._buffer))
        self._buffer.clear()
        return left
