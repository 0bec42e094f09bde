"""What can happen on a running Kafka: zombies, retention, growth, deletion, large records, restarts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete

from kafka_server import load_tool, local_kafka
from streamweaver import (
    Broker,
    BrokerContext,
    BrokerError,
    Fetched,
    Lane,
    LaneLostError,
    StorageError,
    TopicSpec,
    UnknownTopicError,
)
from streamweaver.testing.broker import PATIENCE, all_of, append, fresh, lane_of, rows, topic
from streamweaver_brokers.kafka import Kafka


async def values_of(lane: Lane, count: int) -> list[bytes | None]:
    """Poll until so many records have come."""
    found: list[bytes | None] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            for fetched in await lane.poll(timeout=PATIENCE):
                found += fetched.values
    return found


async def until_rows(lane: Lane) -> Fetched:
    """Poll until there is something of a partition, be it only news of a loss."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await lane.poll(timeout=PATIENCE)):
            pass
    return found[0]


async def step(lane: Lane, name: str, target: str, fetched: Fetched, state: bytes = b"") -> None:
    """Commit one unit: what was fetched goes to another topic, and something to the state."""
    unit = lane.begin()
    unit.append(target, 0, rows(fetched.values))
    unit.put_state("store", fetched.partition, {b"key": state or (fetched.values[-1] or b"")})
    unit.mark(name, fetched.partition, fetched.next_offset)
    await unit.commit()


async def test_a_zombie_is_fenced(launch) -> None:
    """Two workers that both hold a lane: the first one's commit is refused, and its rows, state and offset are void."""
    broker, other = await launch(), await launch()
    name, target, group = await topic(broker), await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1", b"2"]))
    member = await broker.join(group, [name])
    lane = await anext(member.lanes())
    fetched = await until_rows(lane)
    # As if it were frozen: what others do to the group does not reach it.
    member._running.cancel()
    member.consumer._coordinator._heartbeat_task.cancel()
    async with lane_of(other, group, name) as successor:
        again = await until_rows(successor)
        assert again.values == fetched.values
        await step(successor, name, target, again)
        with pytest.raises(LaneLostError, match="ProducerFenced"):
            await step(lane, name, target, fetched, b"of the zombie")
        await lane.release()
        assert successor.get_state("store", 0, b"key") == b"2"
    await append(broker, target, 0, rows([b"end"]))
    assert [value for _, value, _, _ in await all_of(broker, target, 0, 3)] == [b"1", b"2", b"end"]


async def test_a_failed_lane_begins_anew(launch) -> None:
    """After a failed commit the lane is lost, and the next one stands where the last commit was, state included."""
    broker = await launch()
    name, target, group = await topic(broker), await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    member = await broker.join(group, [name])
    lanes = member.lanes()
    lane = await anext(lanes)
    await step(lane, name, target, await until_rows(lane))
    await append(broker, name, 0, rows([b"2"]))
    fetched = await until_rows(lane)
    lane.sender.broken = True
    with pytest.raises(LaneLostError):
        await step(lane, name, target, fetched)
    with pytest.raises(LaneLostError):
        await lane.poll(timeout=0)
    await lane.release()
    again = await asyncio.wait_for(anext(lanes), PATIENCE)
    assert again.get_state("store", 0, b"key") == b"1"
    fetched = await until_rows(again)
    assert fetched.values == [b"2"]
    await step(again, name, target, fetched)
    await again.release()
    await member.leave()
    assert [value for _, value, _, _ in await all_of(broker, target, 0, 2)] == [b"1", b"2"]


@pytest.mark.parametrize("when", range(6))
async def test_a_commit_cancelled_anywhere_is_whole(launch, when: int) -> None:
    """Wherever a commit is cancelled: afterwards output, offset and state tell of the same number of units."""
    broker = await launch()
    name, target, group = await topic(broker), await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    async with lane_of(broker, group, name) as lane:
        fetched = await until_rows(lane)
        commit = asyncio.create_task(step(lane, name, target, fetched))
        steps = ["begin_transaction", "send_offsets_to_transaction", "send_batch", "commit_transaction"]
        reached = asyncio.Event()
        if when < len(steps):
            inner = getattr(lane.sender._producer, steps[when])

            async def noticed(*arguments: Any, **named: Any) -> Any:
                reached.set()
                return await inner(*arguments, **named)

            setattr(lane.sender._producer, steps[when], noticed)
            await reached.wait()
        for _ in range(when - len(steps) + 1):
            await asyncio.sleep(0)
        commit.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await commit
    async with lane_of(broker, group, name) as lane:
        committed = lane.committed(name, 0)
        state = lane.get_state("store", 0, b"key")
        await append(broker, target, 0, rows([b"end"]))
        reader = await broker.reader({(target, 0): 0})
        found: list[bytes | None] = []
        async with asyncio.timeout(PATIENCE):
            while b"end" not in found:
                for item in await reader.poll():
                    found += item.values
        await reader.close()
        expected = (1, b"1", [b"1", b"end"]) if committed else (None, None, [b"end"])
        assert (committed, state, found) == expected


async def test_retention_that_was_faster_is_counted(launch) -> None:
    """Records that went before they were read are counted as lost, at the start and in between; no jump to the end."""
    broker = await launch()
    name, group = await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"%d" % number for number in range(10)]))
    admin = broker._session.cluster._admin
    async with lane_of(broker, group, name) as lane:
        fetched = (await lane.poll(max_records=2, timeout=PATIENCE))[0]
        unit = lane.begin()
        unit.mark(name, 0, fetched.next_offset)
        await unit.commit()
    await admin.delete_records({TopicPartition(name, 0): RecordsToDelete(5)})
    async with lane_of(broker, group, name) as lane:
        found = [await until_rows(lane)]
        found += await lane.poll(timeout=1)
        assert sum(item.lost for item in found) == 3
        assert [value for item in found for value in item.values] == [b"5", b"6", b"7", b"8", b"9"]
        await append(broker, name, 0, rows([b"%d" % number for number in range(10, 20)]))
        await values_of(lane, 10)
        await admin.delete_records({TopicPartition(name, 0): RecordsToDelete(15)})
        lane.seek(name, 0, 12)
        found = [await until_rows(lane)]
        while not found[-1].values:
            found.append(await until_rows(lane))
        assert sum(item.lost for item in found) == 3
        assert found[-1].values == [b"%d" % number for number in range(15, 20)]


async def test_a_reader_counts_what_is_gone(launch) -> None:
    """A reader that begins before the first record goes on with the first, and says how much is missing."""
    broker = await launch()
    name = await topic(broker)
    await append(broker, name, 0, rows([b"%d" % number for number in range(10)]))
    await broker._session.cluster._admin.delete_records({TopicPartition(name, 0): RecordsToDelete(4)})
    reader = await broker.reader({(name, 0): 1})
    found = await reader.poll(timeout=PATIENCE)
    while not found[-1].values:
        found += await reader.poll(timeout=PATIENCE)
    assert sum(item.lost for item in found) == 3
    assert found[-1].values[0] == b"4"


async def test_added_partitions_are_read(launch) -> None:
    """Partitions that are added while a group runs become lanes, read from their beginning, with state of their own."""
    broker = await launch(settings={"metadata_max_age_ms": 500})
    name, group = await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"0"]))
    member = await broker.join(group, [name])
    lanes = member.lanes()
    lane = await anext(lanes)
    assert await values_of(lane, 1) == [b"0"]
    cluster = broker._session.cluster
    await cluster._admin.create_partitions({name: NewPartitions(2, None)})
    await cluster.look()
    second = await asyncio.wait_for(anext(lanes), PATIENCE)
    assert list(second.partitions) == [(name, 1)]
    await append(broker, name, 1, rows([b"1"]))
    fetched = await until_rows(second)
    unit = second.begin()
    unit.put_state("store", 1, {b"key": b"value"})
    unit.mark(name, 1, fetched.next_offset)
    await unit.commit()
    # The first lane came back to the member that had it, and is none the wiser.
    await append(broker, name, 0, rows([b"more"]))
    assert await values_of(lane, 1) == [b"more"]
    for each in (lane, second):
        await each.release()
    await member.leave()


async def test_lanes_that_come_back_go_on(launch) -> None:
    """When a second worker joins and leaves, a lane that stays is not ended, and what it had fetched is not lost."""
    broker, other = await launch(), await launch()
    name, group = await topic(broker, 2), fresh("group")
    for part in (0, 1):
        await append(broker, name, part, rows([b"%d" % number for number in range(10)]))
    member = await broker.join(group, [name])
    lanes = member.lanes()
    first = [await asyncio.wait_for(anext(lanes), PATIENCE) for _ in range(2)]
    for lane in first:
        fetched = (await lane.poll(max_records=3, timeout=PATIENCE))[0]
        assert fetched.values == [b"0", b"1", b"2"]
    second = await other.join(group, [name])
    theirs = asyncio.create_task(anext(second.lanes()))
    lost: list[Lane] = []
    async with asyncio.timeout(PATIENCE):
        while not lost:
            for lane in first:
                try:
                    await lane.poll(max_records=1, timeout=0.05)
                except LaneLostError:
                    lost.append(lane)
    (kept,) = [lane for lane in first if lane not in lost]
    await lost[0].release()
    moved = await asyncio.wait_for(theirs, PATIENCE)
    assert list(moved.partitions) == list(lost[0].partitions)
    assert await values_of(moved, 10) == [b"%d" % number for number in range(10)]
    await kept.rewind()
    assert await values_of(kept, 10) == [b"%d" % number for number in range(10)]
    unit = kept.begin()
    unit.mark(name, kept.partitions[0][1], 10)
    await unit.commit()
    await moved.release()
    await second.leave()
    back = await asyncio.wait_for(anext(lanes), PATIENCE)
    assert list(back.partitions) == list(lost[0].partitions)
    await kept.poll(timeout=0.01)
    for lane in (kept, back):
        await lane.release()
    await member.leave()


async def test_a_deleted_topic_ends_the_group(launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that vanishes under a group is an error with its name, not silence."""
    monkeypatch.setattr("streamweaver_brokers.kafka.group.WATCH_SECONDS", 0.5)
    monkeypatch.setattr("streamweaver_brokers.kafka.cluster.FRESH_SECONDS", 0.5)
    broker = await launch(request_seconds=1.0, settings={"metadata_max_age_ms": 1_000})
    name, group = await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    lanes = member.lanes()
    lane = await anext(lanes)
    await broker._session.cluster._admin.delete_topics([name])
    with pytest.raises(UnknownTopicError, match=name):
        await asyncio.wait_for(anext(lanes), PATIENCE)
    await lane.release()
    await member.leave()


async def test_a_stuck_consumer_is_replaced(launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that gets nothing although there is something is noticed, and what waited comes."""
    monkeypatch.setattr("streamweaver_brokers.kafka.group.WATCH_SECONDS", 0.3)
    broker = await launch()
    name, group = await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    lanes = member.lanes()
    lane = await anext(lanes)
    # As was seen in the field: the task that fetches is gone, and nobody says so.
    member.consumer._fetcher._fetch_task.cancel()
    await append(broker, name, 0, rows([b"a"]))
    with pytest.raises(LaneLostError, match="replaced"):
        await asyncio.wait_for(lane.poll(), PATIENCE)
    await lane.release()
    again = await asyncio.wait_for(anext(lanes), PATIENCE)
    assert await values_of(again, 1) == [b"a"]
    await again.release()
    await member.leave()


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_a_record_too_large_is_told(launch, delivery: str) -> None:
    """Rows that the topic does not take, and state above the limit, are errors that say so; the next lane works."""
    broker = await launch({"delivery": delivery})
    name, small = await topic(broker), fresh("small")
    await broker.create([TopicSpec(name=small, settings={"max.message.bytes": "5000"})])
    await append(broker, name, 0, rows([b"in"]))
    group = fresh("group")
    async with lane_of(broker, group, name) as lane:
        fetched = await until_rows(lane)
        unit = lane.begin()
        unit.append(small, 0, rows([b"x" * 6_000]))
        unit.mark(name, 0, fetched.next_offset)
        with pytest.raises(BrokerError, match=r"max\.message\.bytes"):
            await unit.commit()
    async with lane_of(broker, group, name) as lane:
        assert await values_of(lane, 1) == [b"in"]
        unit = lane.begin()
        unit.put_state("store", 0, {b"key": b"x" * 6_000})
        with pytest.raises(BrokerError, match="a value of store has 6000 bytes"):
            await unit.commit()
        unit = lane.begin()
        unit.append(small, 0, rows([b"fits"]))
        unit.mark(name, 0, fetched.next_offset)
        await unit.commit()
    assert await broker.offsets(group) == {(name, 0): fetched.next_offset}


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Any]:
    """A broker of the test's own, to be killed."""
    kafka = local_kafka(tmp_path / "kafka")
    kafka.start()
    try:
        yield kafka
    finally:
        kafka.stop()


@contextlib.asynccontextmanager
async def on(kafka: Any, tmp_path: Path, **options: Any) -> AsyncIterator[Broker]:
    """Open a plugin on that broker."""
    broker = Kafka(servers=[kafka.address], request_seconds=2.0, **options)
    await broker.open(BrokerContext(pipeline="test", data_dir=tmp_path))
    try:
        yield broker
    finally:
        await broker.close()


class Copying:
    """A group that copies numbers from one topic to another, twenty to a unit, whatever happens to its lanes."""

    def __init__(self, broker: Broker, count: int) -> None:
        self.settled = -1
        self.target = ""
        self._broker = broker
        self._count = count
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fill the source and begin."""
        source = await topic(self._broker)
        self.target = await topic(self._broker)
        await append(self._broker, source, 0, rows([b"%d" % number for number in range(self._count)]))
        self._member = await self._broker.join(fresh("group"), [source])
        self._task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        async for lane in self._member.lanes():
            try:
                while True:
                    for fetched in await lane.poll(max_records=20):
                        unit = lane.begin()
                        unit.append(self.target, 0, rows(fetched.values))
                        unit.mark(fetched.topic, 0, fetched.next_offset)
                        await unit.commit()
                        if fetched.values:
                            self.settled = int(fetched.values[-1] or 0)
            except LaneLostError:
                pass
            finally:
                await lane.release()

    async def until(self, number: int, seconds: float) -> None:
        """Wait until this number is copied."""
        assert self._task is not None
        async with asyncio.timeout(seconds):
            while self.settled < number:
                assert not self._task.done(), self._task
                await asyncio.sleep(0.01)

    async def end(self) -> list[bytes | None]:
        """Stop, and return what was copied."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._member.leave()
        return [value for _, value, _, _ in await all_of(self._broker, self.target, 0, self._count)]


@pytest.mark.timeout(180)
async def test_work_goes_on_after_the_broker_was_killed(own_kafka: Any, tmp_path: Path) -> None:
    """A broker killed in the middle of commits: work goes on by itself when it is back; each record comes out once."""
    async with on(own_kafka, tmp_path) as broker:
        other = await topic(broker)
        copying = Copying(broker, 2_000)
        await copying.start()
        await copying.until(200, PATIENCE)
        await asyncio.to_thread(own_kafka.kill)
        with pytest.raises(StorageError):
            await append(broker, other, 0, rows([b"nobody there"]))
        await asyncio.to_thread(own_kafka.start)
        await copying.until(1_999, 100)
        assert await copying.end() == [b"%d" % number for number in range(2_000)]
        await append(broker, other, 0, rows([b"there again"]))


class Proxy:
    """A line to a broker that can be cut, or go silent."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen."""
        self.port = port
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def stop(self) -> None:
        """Refuse connections, and cut those there are."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    def silence(self) -> None:
        """Let nothing through, and tell nobody."""
        self._flows.clear()

    def resume(self) -> None:
        """Let everything through again."""
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, other_writer}
        self._open |= ends
        try:
            await asyncio.gather(self._copy(reader, other_writer), self._copy(other_reader, writer))
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["cut", "silence"])
async def test_work_goes_on_after_the_network_was_away(tmp_path: Path, how: str) -> None:
    """Connections that break, and ones that no longer answer, in the middle of commits; each record comes out once."""
    tool = load_tool()
    port, proxy_port = tool.free_port(), tool.free_port()
    kafka = local_kafka(
        tmp_path / "kafka", port=port, settings={"advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy_port}"}
    )
    proxy = Proxy(port)
    await asyncio.to_thread(kafka.start)
    try:
        await proxy.start(proxy_port)
        kafka.address = f"127.0.0.1:{proxy_port}"
        async with on(kafka, tmp_path) as broker:
            copying = Copying(broker, 1_500)
            await copying.start()
            for turn in range(2 if how == "cut" else 1):
                await copying.until(500 * (turn + 1), 60)
                if how == "cut":
                    await proxy.stop()
                    await asyncio.sleep(3)
                    await proxy.start(proxy_port)
                else:
                    proxy.silence()
                    await asyncio.sleep(8)
                    proxy.resume()
            await copying.until(1_499, 60)
            assert await copying.end() == [b"%d" % number for number in range(1_500)]
    finally:
        await proxy.stop()
        await asyncio.to_thread(kafka.stop)
