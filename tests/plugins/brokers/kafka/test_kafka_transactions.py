"""Lanes of a worker commit together, and each is held by the producer that its group's offsets name."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from plugins.brokers.kafka.kafka_kit import come_out
from streamweaver import Lane, LaneLostError
from streamweaver.testing.broker import PATIENCE, append, fresh, lane_of, rows, topic
from streamweaver_brokers.kafka.offsets import Held


async def both_lanes(member: Any) -> list[Any]:
    """Return the lanes of a topic with two partitions, by number."""
    lanes = member.lanes()
    found = [await asyncio.wait_for(anext(lanes), PATIENCE) for _ in range(2)]
    return sorted(found, key=lambda lane: list(lane.partitions))


async def step(lane: Lane, name: str, target: str) -> None:
    """Commit one unit of what is there: it goes to another topic."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await lane.poll(timeout=PATIENCE)):
            pass
    unit = lane.begin()
    for fetched in found:
        unit.append(target, 0, rows(fetched.values))
        unit.mark(name, fetched.partition, fetched.next_offset)
    await unit.commit()


async def test_lanes_that_commit_at_once_share_a_transaction(launch: Any) -> None:
    """Two units that wait at the same time cost one commit, and both are stored whole."""
    broker = await launch()
    name, target, group = await topic(broker, 2), await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    first, second = await both_lanes(member)
    producer = first.claim.transactions.sender._producer
    commits, inner = [], producer.commit_transaction

    async def counted() -> None:
        commits.append(None)
        await inner()

    producer.commit_transaction = counted
    for partition in range(2):
        await append(broker, name, partition, rows([b"%d" % partition]))
    async with asyncio.timeout(PATIENCE):
        while first.inbox.is_empty(TopicPartition(name, 0)) or second.inbox.is_empty(TopicPartition(name, 1)):
            await asyncio.sleep(0.01)
    await asyncio.gather(step(first, name, target), step(second, name, target))
    assert len(commits) == 1
    assert await broker.offsets(group) == {(name, 0): 1, (name, 1): 1}
    assert sorted(await come_out(broker, target)) == [b"0", b"1"]
    for lane in (first, second):
        await lane.release()
    await member.leave()


async def test_a_lane_that_moves_in_order_fences_nobody(launch: Any) -> None:
    """Who joins takes its lane without ending the transactions of who stays."""
    broker, other = await launch(), await launch()
    name, target, group = await topic(broker, 2), await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    stays, goes = await both_lanes(member)
    second = await other.join(group, [name])
    moved = await asyncio.wait_for(anext(second.lanes()), PATIENCE)
    assert list(moved.partitions) == [(name, 1)]
    with pytest.raises(LaneLostError, match="moved to another worker"):
        await goes.poll(timeout=0)
    for partition, lane in enumerate([stays, moved]):
        await append(broker, name, partition, rows([b"%d" % partition]))
        await step(lane, name, target)
    assert sorted(await come_out(broker, target)) == [b"0", b"1"]
    for lane in (stays, goes, moved):
        await lane.release()
    await member.leave()
    await second.leave()


async def test_a_holder_that_does_not_let_go_is_fenced(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time a lane is taken from a worker that keeps it; then all that one commits is refused."""
    monkeypatch.setattr("streamweaver_brokers.kafka.claim.HAND_OVER_SECONDS", 0.2)
    broker, other = await launch(), await launch()
    name, target, group = await topic(broker, 2), await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    stays, goes = await both_lanes(member)
    goes.claim.release = lambda: None
    second = await other.join(group, [name])
    moved = await asyncio.wait_for(anext(second.lanes()), PATIENCE)
    for partition in range(2):
        await append(broker, name, partition, rows([b"%d" % partition]))
    with pytest.raises(LaneLostError, match="ProducerFenced"):
        await step(stays, name, target)
    await step(moved, name, target)
    await stays.release()
    again = await asyncio.wait_for(anext(member.lanes()), PATIENCE)
    assert list(again.partitions) == [(name, 0)]
    await step(again, name, target)
    assert sorted(await come_out(broker, target)) == [b"0", b"1"]
    for lane in (goes, moved, again):
        await lane.release()
    await member.leave()
    await second.leave()


async def test_a_claim_alone_consumes_nothing(launch: Any) -> None:
    """A lane that was taken and given back has no offset: neither for who comes next nor for who looks on."""
    broker = await launch()
    name, group = await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    for _ in range(2):
        async with lane_of(broker, group, name) as lane:
            assert lane.committed(name, 0) is None
        assert await broker.offsets(group) == {}


async def test_a_unit_that_waits_is_dropped_with_its_lane(launch: Any) -> None:
    """What a lane wants stored is not, if the lane is lost before the transaction begins."""
    broker = await launch(pause_seconds=5.0)
    name, target, group = await topic(broker, 2), await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    first, second = await both_lanes(member)
    await append(broker, name, 0, rows([b"0"]))
    await step(first, name, target)
    # Right after a transaction the next one waits a moment for others.
    await append(broker, name, 1, rows([b"1"]))
    commit = asyncio.create_task(step(second, name, target))
    async with asyncio.timeout(PATIENCE):
        while not second.claim.transactions._waiting:
            await asyncio.sleep(0.01)
    second.lose("its partitions moved to another worker")
    with pytest.raises(LaneLostError, match="moved to another worker"):
        await commit
    assert await broker.offsets(group) == {(name, 0): 1}
    for lane in (first, second):
        await lane.release()
    await member.leave()
    assert await come_out(broker, target) == [b"0"]


async def test_who_comes_while_they_close_is_told(launch: Any) -> None:
    """Transactions that close store what was there before, and let nobody wait for ever."""
    broker = await launch()
    name, group = await topic(broker, 2), fresh("group")
    member = await broker.join(group, [name])
    first, second = await both_lanes(member)
    transactions = first.claim.transactions
    under_way, go_on = asyncio.Event(), asyncio.Event()
    inner = transactions.sender.commit

    async def held_up(*args: Any) -> Any:
        under_way.set()
        await go_on.wait()
        return await inner(*args)

    transactions.sender.commit = held_up

    def put(partition: int) -> "asyncio.Task[Any]":
        mark = Held(0, transactions.name).written(0)
        wanted = transactions.put(lambda: ({}, {TopicPartition(name, partition): mark}), lambda: None)
        return asyncio.create_task(wanted)

    before, closing = put(0), asyncio.create_task(transactions.close())
    async with asyncio.timeout(PATIENCE):
        await under_way.wait()
        late = put(1)
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(before, closing)
        with pytest.raises(RuntimeError, match="the transactions are closed"):
            await late
        # It is there for others a moment after the answer.
        while await broker.offsets(group) != {(name, 0): 0}:
            await asyncio.sleep(0.01)
    for lane in (first, second):
        await lane.release()
    await member.leave()
