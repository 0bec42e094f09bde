"""A hand-driven `file_tail`: it runs until its clock has moved on by so many seconds with nothing to do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import attrs
import msgspec
import pytest

from streamweaver import Record, Rejected
from streamweaver.testing import FakeContext
from streamweaver_producers.file_tail import FileTail


@attrs.define(kw_only=True)
class SteppingContext(FakeContext):
    """Lets the producer sleep through `patience` seconds of fake time, then holds it until it is given more."""

    patience: float = 0.0
    idle: asyncio.Event = attrs.field(factory=asyncio.Event)
    more: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.patience -= seconds
        if self.patience > 0:
            await asyncio.sleep(0)
        else:
            self.more.clear()
            self.idle.set()
            await self.more.wait()


class Tail:
    """One stage: `run` it, `kill` it, and look at what is durable (`lists`: what came, each with its position)."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.lists: list[tuple[list[Record | Rejected], Any]] = []
        self.context = SteppingContext()
        self._brought: AsyncIterator[list[Record | Rejected]] | None = None
        self._next: asyncio.Task[list[Record | Rejected]] | None = None

    async def run(self, seconds: float = 3.0) -> list[str]:
        """Run until nothing has come for so many fake seconds; return the new lines."""
        before = len(self.lists)
        async with asyncio.timeout(20):
            while await self.one(seconds):
                pass
        return [line_of(item) for items, _ in self.lists[before:] for item in items]

    async def one(self, seconds: float = 3.0) -> bool:
        """Run until one list has come; False if none did."""
        if self._brought is None:
            clock = self.context.clock
            self.context = SteppingContext(position=self.position, clock=clock)
            self._brought = FileTail(**self.options).produce(self.context)
        self.context.patience = seconds
        self.context.idle.clear()
        self.context.more.set()
        self._next = self._next or asyncio.ensure_future(anext(self._brought))
        idle = asyncio.ensure_future(self.context.idle.wait())
        await asyncio.wait({self._next, idle}, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        if not self._next.done():
            return False
        done, self._next = self._next, None
        try:
            items = done.result()
        except StopAsyncIteration:
            self._brought = None
            return False
        assert items
        assert all(item.position is None for item in items[:-1])
        self.lists.append((items, msgspec.msgpack.decode(msgspec.msgpack.encode(items[-1].position))))
        return True

    async def kill(self, lost: int = 0) -> None:
        """Stop at once; the last `lost` lists were not durable yet."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
            self._next = None
        if self._brought is not None:
            await self._brought.aclose()  # type: ignore[attr-defined]
            self._brought = None
        if lost:
            del self.lists[-lost:]

    @property
    def position(self) -> Any:
        """The last durable position."""
        return self.lists[-1][1] if self.lists else None

    @property
    def lines(self) -> list[str]:
        """Everything durable."""
        return [line_of(item) for items, _ in self.lists for item in items]


def line_of(item: Record | Rejected) -> str:
    return item.value["line"] if isinstance(item, Record) else f"!{item.why}"


@pytest.fixture
async def tails() -> AsyncIterator[Any]:
    """Make tails; they are stopped at the end."""
    made: list[Tail] = []

    def make(**options: Any) -> Tail:
        made.append(Tail(**options))
        return made[-1]

    yield make
    for tail in made:
        await tail.kill()


@pytest.fixture
def tail_class() -> type[Tail]:
    """The class itself, for tests that drive their own event loop."""
    return Tail
