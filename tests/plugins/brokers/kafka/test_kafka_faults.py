"""What can happen on a running Kafka: zombies, retention, growth, deletion, large records."""

import asyncio
import contextlib
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete
from aiokafka.protocol.group import LeaveGroupRequest

from plugins.brokers.kafka.kafka_kit import come_out
from streamweaver import (
    BrokerError,
    Fetched,
    Lane,
    LaneLostError,
    StorageError,
    TopicSpec,
    UnknownTopicError,
)
from streamweaver.testing.broker import PATIENCE, all_of, append, fresh, lane_of, rows, topic


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
    broker, other = await launch(session_seconds=1.0), await launch(session_seconds=1.0)
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
    lane.claim.transactions.sender.broken = True
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
    """Wherever a commit is broken off: afterwards output, offset and state tell of the same number of units."""
    broker = await launch()
    name, target, group = await topic(broker), await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    async with lane_of(broker, group, name) as lane:
        fetched = await until_rows(lane)
        commit = asyncio.create_task(step(lane, name, target, fetched))
        steps = ["begin_transaction", "send_offsets_to_transaction", "send_batch", "commit_transaction"]
        reached = asyncio.Event()
        if when < len(steps):
            inner = getattr(lane.claim.transactions.sender._producer, steps[when])

            async def noticed(*arguments: Any, **named: Any) -> Any:
                reached.set()
                return await inner(*arguments, **named)

            setattr(lane.claim.transactions.sender._producer, steps[when], noticed)
            await reached.wait()
        for _ in range(when - len(steps) + 1):
            await asyncio.sleep(0)
        commit.cancel()
        # The caller's end alone takes nothing back.
        lane.claim.transactions.cut("as a test wants it")
        with contextlib.suppress(asyncio.CancelledError, LaneLostError):
            await commit
    async with lane_of(broker, group, name) as lane:
        committed = lane.committed(name, 0)
        state = lane.get_state("store", 0, b"key")
        found = await come_out(broker, target)
        assert (committed, state, found) == ((1, b"1", [b"1"]) if committed else (None, None, []))


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


async def test_added_partitions_are_written(launch) -> None:
    """At once, by clients that have known the topic without them: outside of groups, and in a lane's unit."""
    broker = await launch()
    name = await topic(broker)
    await append(broker, name, 0, rows([b"0"]))
    async with lane_of(broker, fresh("group"), name) as lane:
        fetched = await until_rows(lane)
        await step(lane, name, name, fetched)
        cluster = broker._session.cluster
        await cluster._admin.create_partitions({name: NewPartitions(2, None)})
        async with asyncio.timeout(PATIENCE):
            while await cluster.partitions(name) < 2:
                await cluster.look()
        await append(broker, name, 1, rows([b"1"]))
        unit = lane.begin()
        unit.append(name, 1, rows([b"2"]))
        await unit.commit()
    assert [value for _, value, _, _ in await all_of(broker, name, 1, 2)] == [b"1", b"2"]


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
    monkeypatch.setattr("streamweaver_brokers.kafka.watch.WATCH_SECONDS", 0.5)
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
    monkeypatch.setattr("streamweaver_brokers.kafka.watch.WATCH_SECONDS", 0.3)
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


async def test_a_failure_that_may_pass_replaces_the_consumer(launch) -> None:
    """A consumer whose work fails for brokers that do not answer is replaced, and the group goes on."""
    broker = await launch()
    name, group = await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    lanes = member.lanes()
    lane = await anext(lanes)
    member.fail(StorageError("asking for offsets: no answer in time"))
    with pytest.raises(LaneLostError, match="replaced"):
        await asyncio.wait_for(lane.poll(), PATIENCE)
    await lane.release()
    again = await asyncio.wait_for(anext(lanes), PATIENCE)
    await append(broker, name, 0, rows([b"a"]))
    assert await values_of(again, 1) == [b"a"]
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


async def test_of_two_with_one_instance_name_one_gives_up(launch) -> None:
    """Two processes that share an instance name: one is told so and ends, the other works.

    (Which one is not said here: on a machine that stands still for a while it may be either.)
    """
    one, two = [await launch(instance="same", session_seconds=2.0) for _ in range(2)]
    name, group = await topic(one), fresh("group")
    await append(one, name, 0, rows([b"1"]))

    async def work(member: Any) -> None:
        async for lane in member.lanes():
            try:
                while True:
                    for fetched in await lane.poll():
                        unit = lane.begin()
                        unit.mark(name, 0, fetched.next_offset)
                        await unit.commit()
            except LaneLostError:
                pass
            finally:
                await lane.release()

    first = await one.join(group, [name])
    older = asyncio.create_task(work(first))
    async with asyncio.timeout(PATIENCE):
        while not await one.offsets(group):
            await asyncio.sleep(0.05)
    second = await two.join(group, [name])
    newer = asyncio.create_task(work(second))
    done, _ = await asyncio.wait({older, newer}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    [over] = done
    with pytest.raises(BrokerError, match="another process has the instance name same"):
        await over
    await append(one, name, 0, rows([b"2"]))
    [stays] = {older, newer} - done
    async with asyncio.timeout(PATIENCE):
        while (await two.offsets(group))[name, 0] < 2:
            assert not stays.done()
            await asyncio.sleep(0.05)
    stays.cancel()
    await asyncio.wait({stays})
    for member in (first, second):
        await member.leave()


async def test_who_is_forgotten_again_and_again_without_a_namesake_goes_on(launch) -> None:
    """A static member that its group forgets, with nobody else under its name, joins again each time."""
    broker = await launch(instance="alone", session_seconds=6.0)
    name, group = await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    admin = broker._session.cluster._admin
    lanes = member.lanes()
    for _ in range(4):
        lane = await asyncio.wait_for(anext(lanes), PATIENCE)
        forget = LeaveGroupRequest(group, member.consumer._coordinator.member_id)
        await admin._send_request(forget, await admin.find_coordinator(group))
        with pytest.raises(LaneLostError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    await lane.poll()
        await lane.release()
    await member.leave()
