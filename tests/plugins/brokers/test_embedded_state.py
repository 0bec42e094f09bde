"""State that a stage's thread reads, beside the event loop that reads the log."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamweaver import BrokerError, TopicSpec
from streamweaver.testing.broker import append, lane_of, rows
from streamweaver_brokers.embedded import Embedded, schema

Launch = Callable[..., Awaitable[Embedded]]


class Held:
    """Holds a thread that reads, between two rows of a statement, until it is let go."""

    def __init__(self) -> None:
        self.is_reading = threading.Event()
        self.go_on = threading.Event()
        self.thread: int | None = None

    def row(self, _: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """Make a row of what was read."""
        if threading.get_ident() == self.thread:
            self.is_reading.set()
            assert self.go_on.wait(60)
        return row

    @contextlib.asynccontextmanager
    async def reading(self, read: Callable[[], Any]) -> Any:
        """Read in another thread, which is held as long as the block lasts; gives the task that ends with the read."""

        def held() -> Any:
            self.thread = threading.get_ident()
            return read()

        task = asyncio.create_task(asyncio.to_thread(held))
        try:
            assert await asyncio.to_thread(self.is_reading.wait, 60)
            yield task
        finally:
            self.go_on.set()
            await task


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Have every connection read as `Held` says."""
    found = Held()
    connect = schema.connect

    def connected(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **named)
        connection.row_factory = found.row
        return connection

    monkeypatch.setattr(schema, "connect", connected)
    yield found
    found.go_on.set()


async def test_a_read_of_state_hides_no_records(launch: Launch, held: Held) -> None:
    """Records stored while another thread goes through state are read, not taken for ones that retention removed."""
    broker = await launch()
    await broker.create([TopicSpec(name="t"), TopicSpec(name="other")])
    async with lane_of(broker, "group", "other") as lane:
        unit = lane.begin()
        unit.put_state("store", 0, {b"%d" % number: b"value" for number in range(10)})
        await unit.commit()
        await broker.maintain()  # from memory into the table
        async with held.reading(lambda: dict(lane.state_items("store", 0))) as items:
            for number in range(3):
                await append(broker, "t", 0, rows([b"%d" % number]))
            # Nobody followed the topic when they were stored, so they are not in memory.
            reader = await broker.reader({("t", 0): 0})
            found = await reader.poll(timeout=5)
            assert [value for fetched in found for value in fetched.values] == [b"0", b"1", b"2"]
            assert sum(fetched.lost for fetched in found) == 0
            await reader.close()
        assert len(await items) == 10


async def test_threads_read_state_in_turn(launch: Launch, held: Held) -> None:
    """Whoever reads state while another thread does sees what has been committed since that one began."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    async with lane_of(broker, "group", "t") as lane:
        unit = lane.begin()
        unit.put_state("store", 0, {b"a": b"old", b"b": b"old"})
        await unit.commit()
        await broker.maintain()
        async with held.reading(lambda: dict(lane.state_items("store", 0))):
            unit = lane.begin()
            unit.put_state("store", 0, {b"a": b"new"})
            await unit.commit()
            second = asyncio.create_task(asyncio.to_thread(lane.get_state, "store", 0, b"a"))
            # Time in which it could read something old.
            await asyncio.wait({second}, timeout=0.2)
        assert await second == b"new"


async def test_a_closed_broker_reads_no_state(launch: Launch) -> None:
    """State that is asked for after the end is an error of ours."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    async with lane_of(broker, "group", "t") as lane:
        await broker.close()
        with pytest.raises(BrokerError, match=r"log\.sqlite"):
            lane.get_state("store", 0, b"key")


async def put(broker: Embedded, changes: dict[bytes, bytes | None]) -> None:
    """Commit changes of state."""
    unit = broker.begin()
    unit.put_state("store", 0, changes)
    await unit.commit()


async def test_what_was_read_before_a_fold_is_read_anew_behind_it(launch: Launch) -> None:
    """Reads share a snapshot of the table, which ends when values are folded into it."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    async with lane_of(broker, "group", "t") as lane:
        for value in (b"1", b"2", None, b"3"):
            await put(broker, {b"key": value})
            assert lane.get_state("store", 0, b"key") == value
            await broker.maintain()
            assert lane.get_state("store", 0, b"key") == value
            assert lane.get_state("store", 0, b"none") is None  # opens a snapshot


async def test_a_tool_sees_all_of_the_state(launch: Launch) -> None:
    """What the runner has folded, what it has not, and what was deleted since."""
    broker = await launch()
    await put(broker, {b"a": b"1", b"b": b"1", b"c": b"1"})
    await broker.maintain()
    await put(broker, {b"b": b"2", b"c": None, b"d": b"2"})
    tool = await launch(role="tool")
    for _ in range(2):
        assert dict(tool.state_items("store", 0)) == {b"a": b"1", b"b": b"2", b"d": b"2"}
        await broker.maintain()


async def test_state_that_a_tool_has_put_is_the_runners_too(launch: Launch) -> None:
    """What another process commits is in memory before the next unit is, and both are there after a restart."""
    broker = await launch()
    await put(broker, {b"a": b"1", b"b": b"1"})
    tool = await launch(role="tool")
    await put(tool, {b"a": b"2"})
    await put(broker, {b"b": b"3"})
    assert dict(broker.state_items("store", 0)) == {b"a": b"2", b"b": b"3"}
    await put(broker, {b"a": b"4"})
    await tool.close()
    await broker.close()
    broker = await launch()
    assert dict(broker.state_items("store", 0)) == {b"a": b"4", b"b": b"3"}


async def test_reading_state_does_not_keep_the_write_ahead_log(launch: Launch, folder: Path) -> None:
    """However long values are read from one snapshot, what is written is copied, and the log starts anew."""
    broker = await launch(durability="process")
    await broker.create([TopicSpec(name="t")])
    async with lane_of(broker, "group", "t") as lane:
        for number in range(12):
            for _ in range(4):
                await append(broker, "t", 0, rows([b"x" * 1_000_000]))
                assert lane.get_state("store", 0, b"%d" % number) is None
    assert (folder / "log.sqlite-wal").stat().st_size < 30_000_000


@pytest.mark.parametrize("changes", [{"text": b"value"}, {b"key": "text"}, {None: b"value"}, {b"key": 1}], ids=repr)
async def test_only_bytes_are_state(launch: Launch, changes: Any) -> None:
    """Anything else is refused before it is written, since it could not be read again."""
    broker = await launch()
    with pytest.raises(BrokerError, match=r"store store: got a key or value of type .*, expected bytes"):
        broker.begin().put_state("store", 0, changes)
