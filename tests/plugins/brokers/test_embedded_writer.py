"""Group commit: what waits is stored together, fails together when the disk fails, and never blocks the loop."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from streamweaver import BrokerError, Rows, StorageError, TopicSpec, UnknownTopicError
from streamweaver.testing.broker import all_of, append, lane_of, read, rows
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.embedded import broker as module

Launch = Callable[..., Awaitable[Embedded]]


async def in_writer(broker: Embedded, function: Callable[[sqlite3.Connection], object]) -> object:
    """Run a function with the writing connection, between two transactions."""
    assert broker._session is not None
    return await broker._session._writer.call(function)


async def test_units_that_wait_share_a_transaction(launch: Launch) -> None:
    """A hundred units that are committed at the same time take a handful of transactions."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    statements: list[str] = []
    await in_writer(broker, lambda connection: connection.set_trace_callback(statements.append))
    await asyncio.gather(*(append(broker, "t", 0, rows([b"%d" % number])) for number in range(100)))
    await in_writer(broker, lambda connection: connection.set_trace_callback(None))
    assert 1 <= statements.count("COMMIT") < 20
    assert len(await all_of(broker, "t", 0, 100)) == 100


async def test_a_unit_that_fails_does_not_fail_its_neighbours(launch: Launch) -> None:
    """Units for unknown topics and unreadable rows fail alone, whatever is committed beside them."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    bad: list[Rows] = [
        Rows([None], ["text"], [0]),  # type: ignore[list-item]
        Rows([None], [b"x", b"y"], [0]),
        Rows([1], [b"x"], [0]),  # type: ignore[list-item]
        Rows([None], [b"x"], [0.5]),  # type: ignore[list-item]
        Rows([None], [b"x"], [1 << 63]),
        Rows([None], [b"x"], [0], [(("name", "text"),)]),  # type: ignore[list-item]
    ]
    outcomes = await asyncio.gather(
        *(append(broker, "t", 0, rows([b"good"])) for _ in range(5)),
        append(broker, "unknown", 0, rows([b"bad"])),
        append(broker, "t", 7, rows([b"bad"])),
        *(append(broker, "t", 0, one) for one in bad),
        return_exceptions=True,
    )
    assert outcomes[:5] == [None] * 5
    assert all(isinstance(outcome, UnknownTopicError) for outcome in outcomes[5:7])
    assert all(isinstance(outcome, BrokerError) and "expected" in str(outcome) for outcome in outcomes[7:])
    assert [value for _, value, _, _ in await all_of(broker, "t", 0, 5)] == [b"good"] * 5
    assert (await broker.ranges("t"))[0].end == 5


async def test_a_full_disk_fails_everything_until_there_is_space(launch: Launch) -> None:
    """With no page left every unit of the transaction gets StorageError and nothing is stored; then it goes on."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    await append(broker, "t", 0, rows([b"before"]))

    def fill(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    await in_writer(broker, fill)
    big = rows([b"x" * 100_000])
    outcomes = await asyncio.gather(*(append(broker, "t", 0, big) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StorageError] * 5
    assert all("the disk is full" in str(outcome) and "\n" not in str(outcome) for outcome in outcomes)
    assert len({id(outcome) for outcome in outcomes}) == 5
    assert (await broker.ranges("t"))[0].end == 1
    await in_writer(broker, lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())
    await append(broker, "t", 0, rows([b"after"]))
    assert [value for _, value, _, _ in await all_of(broker, "t", 0, 2)] == [b"before", b"after"]


async def test_a_lane_goes_on_after_a_storage_failure(launch: Launch) -> None:
    """After a failed commit the lane stands where it stood: a rewind brings the same records, with nothing doubled."""
    broker = await launch()
    await broker.create([TopicSpec(name="in"), TopicSpec(name="out")])
    await append(broker, "in", 0, rows([b"a"]))
    async with lane_of(broker, "group", "in") as lane:
        await in_writer(broker, lambda connection: connection.execute("PRAGMA query_only = ON"))
        for writable in (False, True):
            (fetched,) = await lane.poll(timeout=5)
            unit = lane.begin()
            unit.append("out", 0, Rows(fetched.keys, fetched.values, fetched.timestamps))
            unit.put_state("store", 0, {b"k": b"v"})
            unit.mark("in", 0, fetched.next_offset)
            if writable:
                await unit.commit()
            else:
                with pytest.raises(StorageError, match="read-only"):
                    await unit.commit()
                await unit.abort()
                assert lane.committed("in", 0) is None
                assert lane.get_state("store", 0, b"k") is None
                await lane.rewind()
                await in_writer(broker, lambda connection: connection.execute("PRAGMA query_only = OFF"))
    assert (await broker.ranges("out"))[0].end == 1


async def test_a_slow_disk_does_not_block_the_loop(launch: Launch, folder: Path) -> None:
    """While the writer waits for the database, the loop runs on, and the commit is answered afterwards."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    other = sqlite3.connect(folder / "log.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    commit = asyncio.create_task(append(broker, "t", 0, rows([b"a"])))
    longest, last = 0.0, time.monotonic()
    for _ in range(40):
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert not commit.done()
    other.execute("ROLLBACK")
    other.close()
    await asyncio.wait_for(commit, 10)
    assert longest < 0.15
    assert (await broker.ranges("t"))[0].end == 1


async def test_closing_leaves_no_thread(launch: Launch) -> None:
    """After `close` the writer's thread has ended, and a late commit says that the broker is closed."""
    before = set(threading.enumerate())
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    assert set(threading.enumerate()) > before
    unit = broker.begin()
    unit.append("t", 0, rows([b"late"]))
    await broker.close()
    assert set(threading.enumerate()) == before
    with pytest.raises(BrokerError, match="closed"):
        await unit.commit()
    with pytest.raises(BrokerError, match="not open"):
        broker.begin()


async def test_a_cancelled_commit_is_whole_or_absent(launch: Launch) -> None:
    """Cancelling the task that commits stores the unit as a whole; asking the lane afterwards says so."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    async with lane_of(broker, "group") as lane:
        unit = lane.begin()
        unit.append("t", 0, rows([b"a", b"b"]))
        unit.mark_position(b"1")
        commit = asyncio.create_task(unit.commit())
        await asyncio.sleep(0)
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
        follow = lane.begin()
        follow.append("t", 0, rows([b"c"]))
        await follow.commit()
        assert lane.position() == b"1"
    assert [value for _, value, _, _ in await all_of(broker, "t", 0, 3)] == [b"a", b"b", b"c"]


async def test_a_cancelled_commit_ends_when_its_outcome_is_known(launch: Launch, folder: Path) -> None:
    """The writer's thread goes on whatever is cancelled; whoever asks the lane behind the commit is told rightly."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    await append(broker, "t", 0, rows([b"a"]))
    async with lane_of(broker, "group", "t") as lane:
        other = sqlite3.connect(folder / "log.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        unit = lane.begin()
        unit.mark("t", 0, 1)
        commit = asyncio.create_task(unit.commit())
        await asyncio.sleep(0)
        commit.cancel()
        await asyncio.wait({commit}, timeout=0.1)
        assert not commit.done()
        other.execute("ROLLBACK")
        other.close()
        with pytest.raises(asyncio.CancelledError):
            await commit
        assert lane.committed("t", 0) == 1


async def test_a_cancelled_commit_does_not_wait_for_a_disk_that_hangs(
    launch: Launch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends without its outcome, which comes when the disk answers."""
    monkeypatch.setattr(module, "CUT_OFF_SECONDS", 0.05)
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    other = sqlite3.connect(folder / "log.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    commit = asyncio.create_task(append(broker, "t", 0, rows([b"a"])))
    await asyncio.sleep(0)
    commit.cancel()
    await asyncio.wait({commit}, timeout=10)
    assert commit.cancelled()
    assert (await broker.ranges("t"))[0].end == 0
    other.execute("ROLLBACK")
    other.close()
    await append(broker, "t", 0, rows([b"b"]))
    assert [value for _, value, _, _ in await all_of(broker, "t", 0, 2)] == [b"a", b"b"]


async def test_one_partition_gets_one_item_for_many_small_units(launch: Launch) -> None:
    """Rows of a thousand small units come back as one item of one poll, with offsets as a range."""
    broker = await launch(durability="process")
    await broker.create([TopicSpec(name="t")])
    for _ in range(10):
        await asyncio.gather(*(append(broker, "t", 0, rows([b"x"])) for _ in range(100)))
    reader = await broker.reader({("t", 0): 0})
    (fetched,) = await read(reader, 1_000)
    await reader.close()
    assert fetched.offsets == range(1_000)
    assert fetched.headers is None


async def test_bytes_stored_per_record_are_few(launch: Launch, folder: Path) -> None:
    """Batches of 500 records of 100 bytes take at most 1.3 times their payload on disk."""
    broker = await launch(durability="process")
    await broker.create([TopicSpec(name="t", partitions=4)])
    for number in range(80):
        values = [b"%0100d" % (number * 500 + index) for index in range(500)]
        await append(broker, "t", number % 4, rows(values, key=None))
    await broker.close()
    assert (folder / "log.sqlite").stat().st_size <= 1.3 * 80 * 500 * 100
