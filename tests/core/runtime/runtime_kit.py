"""What the tests of the runtime share: contexts without an engine, and steps of ad-hoc transforms."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import pytest

from streamweaver.contracts import Broker, Fetched, PartitionRange, Reader
from streamweaver.metrics import StageMetrics
from streamweaver.plugin import plugin_of
from streamweaver.record import Batch, Record
from streamweaver.retry import Backoff
from streamweaver.runtime.context import StepContext
from streamweaver.runtime.state import StateView
from streamweaver.runtime.step import Limits, Step, step_for
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.embedded.follow import Tap


@attrs.define
class ManualClock:
    """A clock that only `sleep` moves; sleeping takes no time."""

    seconds: float = 1000.0
    slept: list[float] = attrs.field(factory=list)

    def now(self) -> int:
        return round(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class Lane:
    """The part of a lane that state is read from."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}

    def get_state(self, store: str, partition: int, key: bytes) -> bytes | None:
        return self.stored.get(key)

    def state_items(self, store: str, partition: int) -> Any:
        return iter(sorted(self.stored.items()))


def fetched(first: int, count: int, partition: int = 0, *, lost: int = 0, headers: bool = False) -> Fetched:
    """Make rows of one partition, numbered from the first on."""
    numbers = range(first, first + count)
    return Fetched(
        [b"%d" % n for n in numbers],
        [b"value %d" % n for n in numbers],
        list(numbers),
        [(("h", b"%d" % n),) for n in numbers] if headers else None,
        "t",
        partition,
        numbers,
        first + count,
        lost,
    )


def context(clock: Any = None) -> StepContext:
    """Make a step's context with state of its own."""
    return StepContext(
        "pipeline",
        "stage",
        clock or ManualClock(),
        StageMetrics(),
        lambda *_, **__: None,
        state=StateView(Lane(), "store", 0),  # type: ignore[arg-type]
    )


def step(target: Any, name: str = "", *, options: dict[str, Any] | None = None, **limits: Any) -> Step:
    """Make a step of a decorated transform."""
    plugin = plugin_of(target)
    built = plugin.build(plugin.options(**(options or {})))
    limits.setdefault("backoff", Backoff(1.0, 8.0))
    return step_for(name or plugin.name, built, Limits(**limits), plugin.blocking)


def batch(*values: Any, keys: Callable[[Any], Any] = lambda _: None) -> Batch:
    """Make a batch of values, each with its index as origin and its time."""
    return Batch([Record(v, keys(v), 1000 + i, origin=i) for i, v in enumerate(values)], "topic", 0, 0, len(values) - 1)


@contextlib.contextmanager
def turns_of_others() -> Iterator[list[None]]:
    """Note each turn that another task has meanwhile; it asks for one whenever the event loop is free."""
    turns: list[None] = []

    async def other() -> None:
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    try:
        yield turns
    finally:
        task.cancel()


class Slow:
    """A broker in front of another one, whose readers return nothing some times first, as they may after their time."""

    def __init__(self, broker: Broker, silences: int, shrinks: bool = False, whole: int = 1) -> None:
        """With `shrinks` the topic is empty when it is asked for more often than `whole` times."""
        self._broker = broker
        self._whole = whole
        self._silences = silences
        self._shrinks = shrinks
        self.asked = 0

    async def ranges(self, topic: str) -> list[PartitionRange]:
        self.asked += 1
        if self._shrinks and self.asked > self._whole:
            return [PartitionRange(0, 0)] * 2
        return await self._broker.ranges(topic)

    async def reader(self, starts: Mapping[tuple[str, int], int]) -> Reader:
        reader, left = await self._broker.reader(starts), self._silences
        poll = reader.poll

        async def slowly(**named: Any) -> list[Fetched]:
            nonlocal left
            left -= 1
            await asyncio.sleep(0)
            return [] if left >= 0 else await poll(**named)

        reader.poll = slowly  # type: ignore[method-assign]
        return reader


def open_readers(monkeypatch: pytest.MonkeyPatch) -> list[Reader]:
    """Return a list that holds those readers of embedded brokers, made from now on, that are open at the moment."""
    made: list[Reader] = []
    reader, close = Embedded.reader, Tap.close

    async def opening(self: Embedded, starts: Mapping[tuple[str, int], int], /) -> Tap:
        tap = await reader(self, starts)
        made.append(tap)
        return tap

    async def closing(self: Tap) -> None:
        await close(self)
        if self in made:
            made.remove(self)

    monkeypatch.setattr(Embedded, "reader", opening)
    monkeypatch.setattr(Tap, "close", closing)
    return made
