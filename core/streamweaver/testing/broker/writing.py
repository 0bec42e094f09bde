"""What checks of brokers are written with: topics and groups of new names, rows, lanes, and waiting with an end."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from streamweaver import Broker, BrokerError, Fetched, Headers, Lane, LaneLostError, Reader, Rows, TopicSpec

Make: TypeAlias = Callable[[], Awaitable[Broker]]
Check: TypeAlias = Callable[[Make], Awaitable[None]]
Seen: TypeAlias = tuple[bytes | None, bytes | None, int, Headers]
"""A record as read: key, value, timestamp, headers."""

PATIENCE = 30.0
"""Seconds after which something that must happen is taken to have failed."""

TIME = 1_750_000_000_000


def fresh(what: str) -> str:
    """Return a name that nobody has used."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


def rows(values: Iterable[bytes | None], *, key: bytes | None = None, time: int = TIME) -> Rows:
    """Return rows with these values, one key, and timestamps that rise by 1 ms."""
    listed = list(values)
    return Rows([key] * len(listed), listed, [time + index for index in range(len(listed))])


def records(fetched: Fetched) -> list[Seen]:
    """Return what was fetched, row by row."""
    headers = fetched.headers or [()] * len(fetched)
    return list(zip(fetched.keys, fetched.values, fetched.timestamps, headers, strict=True))


@contextlib.asynccontextmanager
async def opened(make: Make) -> AsyncIterator[Broker]:
    """Open a broker and close it at the end."""
    broker = await make()
    try:
        yield broker
    finally:
        await broker.close()


async def topic(broker: Broker, partitions: int = 1, *, stem: str = "topic") -> str:
    """Create a topic with a new name."""
    name = fresh(stem)
    await broker.create([TopicSpec(name=name, partitions=partitions)])
    return name


async def append(broker: Broker, name: str, partition: int, *parts: Rows) -> None:
    """Append rows in a unit of work outside of any group."""
    unit = broker.begin()
    for part in parts:
        unit.append(name, partition, part)
    await unit.commit()


@contextlib.asynccontextmanager
async def lane_of(broker: Broker, group: str, *topics: str, single: bool = False) -> AsyncIterator[Lane]:
    """Join a group, wait for a lane, and leave at the end; for topics of one partition, which make one lane."""
    member = await broker.join(group, topics, single=single)
    lanes = member.lanes()
    async with asyncio.timeout(PATIENCE):
        lane = await anext(lanes)
    try:
        yield lane
    finally:
        await lane.release()
        await member.leave()
        async with asyncio.timeout(PATIENCE):
            async for _ in lanes:
                raise AssertionError("a lane was assigned after `leave`")


async def consume(broker: Broker, group: str, topics: Sequence[str], count: int) -> dict[tuple[str, int], list[Seen]]:
    """Run all lanes of a group until `count` records are read and committed; return them by partition."""
    found: dict[tuple[str, int], list[Seen]] = {}
    enough = asyncio.Event()

    async def run(lane: Lane) -> None:
        try:
            while not enough.is_set():
                unit = lane.begin()
                for fetched in await lane.poll(timeout=0.1):
                    found.setdefault((fetched.topic, fetched.partition), []).extend(records(fetched))
                    unit.mark(fetched.topic, fetched.partition, fetched.next_offset)
                await unit.commit()
                if sum(map(len, found.values())) >= count:
                    enough.set()
        except LaneLostError:
            pass  # it moved to another lane of this group
        finally:
            await lane.release()

    member = await broker.join(group, topics)
    tasks: list[asyncio.Task[None]] = []

    def start(lane: Lane) -> None:
        tasks.append(asyncio.create_task(run(lane)))

    async def take() -> None:
        async for lane in member.lanes():
            start(lane)

    taker = asyncio.create_task(take())
    try:
        async with asyncio.timeout(PATIENCE):
            await enough.wait()
    except TimeoutError:
        failures = [task.exception() for task in (*tasks, taker) if task.done() and task.exception()]
        seen = sum(map(len, found.values()))
        raise AssertionError(f"group {group}: {seen} of {count} records after {PATIENCE} s; {failures}") from None
    finally:
        enough.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await member.leave()
        await taker
    for task in tasks:
        task.result()
    return found


async def read(reader: Reader, count: int, *, max_records: int = 5_000) -> list[Fetched]:
    """Poll until `count` records have come."""
    found: list[Fetched] = []
    async with asyncio.timeout(PATIENCE):
        while sum(map(len, found)) < count:
            found += await reader.poll(max_records=max_records, timeout=PATIENCE)
    return found


async def all_of(broker: Broker, name: str, partition: int, count: int) -> list[Seen]:
    """Read a partition from its beginning until `count` records have come."""
    begin = (await broker.ranges(name))[partition].begin
    reader = await broker.reader({(name, partition): begin})
    try:
        return [record for fetched in await read(reader, count) for record in records(fetched)]
    finally:
        await reader.close()


async def next_values(lane: Lane) -> list[bytes | None]:
    """Poll once and return the values."""
    async with asyncio.timeout(PATIENCE):
        return [value for fetched in await lane.poll(timeout=PATIENCE) for value in fetched.values]


@contextlib.contextmanager
def raises(kind: type[BrokerError], *words: str) -> Iterator[None]:
    """Assert that the block raises that error, with a text that holds all the words."""
    text = ""
    try:
        yield
    except kind as error:
        text = str(error)
    assert text, f"expected {kind.__name__} with a text"
    for word in words:
        assert word in text, f"expected {word!r} in {text!r}"
