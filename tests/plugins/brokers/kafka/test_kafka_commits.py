"""What becomes of a commit in which something happens: a kill, a rebalance, a lost answer, a stall, another's hold."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import RequestTimedOutError

from kafka_one_unit import INSTANCE, POINTS
from plugins.brokers.kafka.kafka_kit import come_out
from streamweaver import Fetched, Lane, LaneLostError
from streamweaver.testing.broker import PATIENCE, all_of, append, fresh, lane_of, rows, topic
from streamweaver_brokers.kafka.sender import Sender

PROGRAM = Path(__file__).parents[3] / "kafka_one_unit.py"


async def until_rows(lane: Lane) -> Fetched:
    """Poll until there are records of a partition."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for fetched in await lane.poll(timeout=PATIENCE):
                if fetched.values:
                    return fetched


async def step(lane: Lane, name: str, target: str, fetched: Fetched) -> None:
    """Commit one unit: what was fetched goes to another topic, and its last value to the state."""
    unit = lane.begin()
    unit.append(target, 0, rows(fetched.values))
    unit.put_state("store", fetched.partition, {b"key": fetched.values[-1]})
    unit.mark(name, fetched.partition, fetched.next_offset)
    await unit.commit()


@pytest.mark.parametrize(
    ("delivery", "point"), [(delivery, point) for delivery, points in POINTS.items() for point in points]
)
async def test_a_kill_in_a_commit_lands_on_the_documented_side(
    launch: Any, kafka_address: str, delivery: str, point: str
) -> None:
    """Killed at a named point: before EndTxn all of the unit is undone, after it none; who comes next sees which."""
    broker = await launch({"delivery": delivery}, instance=INSTANCE)
    name, target, group = await topic(broker), await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), kafka_address, delivery, group, name, target, point)
    )
    assert await asyncio.wait_for(child.wait(), PATIENCE) == -signal.SIGKILL
    expected = POINTS[delivery][point]
    async with lane_of(broker, group, name) as lane:
        assert lane.committed(name, 0) == (1 if expected.marked else None)
        assert lane.get_state("store", 0, b"key") == (b"1" if expected.stored else None)
        if not expected.marked:
            await step(lane, name, target, await until_rows(lane))
    times = expected.stored + (not expected.marked)
    assert await come_out(broker, target) == [b"1"] * times
    assert times == 1 or delivery == "at_least_once"


async def hung_in_a_commit(
    lanes: AsyncIterator[Any], name: str, target: str
) -> tuple[list[Any], "asyncio.Task[None]", asyncio.Event]:
    """Take both lanes of a topic and hang in a commit of the second: returns them, it, and what lets it go on."""
    both = [await asyncio.wait_for(anext(lanes), PATIENCE) for _ in range(2)]
    both.sort(key=lambda each: list(each.partitions))
    lane = both[1]
    assert list(lane.partitions) == [(name, 1)]
    hung, go_on = hold(lane, "commit_transaction")
    commit = asyncio.create_task(step(lane, name, target, await until_rows(lane)))
    await hung.wait()
    return both, commit, go_on


async def test_a_rebalance_in_a_transaction_undoes_it(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that hangs holds a rebalance up for bounded time only; then its lane's new owner undoes it."""
    monkeypatch.setattr("streamweaver_brokers.kafka.group.REVOKE_SECONDS", 0.3)
    broker, other = await launch(request_seconds=1.0), await launch()
    name, target, group = await topic(broker, 2), await topic(broker), fresh("group")
    await append(broker, name, 1, rows([b"1"]))
    member = await broker.join(group, [name])
    lanes = member.lanes()
    both, commit, go_on = await hung_in_a_commit(lanes, name, target)
    second = await other.join(group, [name])
    # The one who stays keeps lane 0; the one who comes gets lane 1, in the middle of whose transaction we are.
    moved = await asyncio.wait_for(anext(second.lanes()), PATIENCE)
    assert list(moved.partitions) == [(name, 1)]
    assert moved.committed(name, 1) is None
    # Broken off for all who commit with us, and not only when a request has been given up.
    for each in both:
        with pytest.raises(LaneLostError):
            await each.poll(timeout=0)
    go_on.set()
    with pytest.raises(LaneLostError):
        await asyncio.wait_for(commit, PATIENCE)
    await step(moved, name, target, await until_rows(moved))
    for each in both:
        await each.release()
    again = await asyncio.wait_for(anext(lanes), PATIENCE)
    assert list(again.partitions) == [(name, 0)]
    for each in (again, moved):
        await each.release()
    await member.leave()
    await second.leave()
    assert await come_out(broker, target) == [b"1"]


async def test_a_commit_refused_in_a_rebalance_begins_nothing_by_itself(launch: Any) -> None:
    """Lanes that are fenced while one of them moves are lost, and no more: the group goes on, and takes them up."""
    broker, other = [await launch(session_seconds=1.0) for _ in range(2)]
    name, target, group = await topic(broker, 2), await topic(broker), fresh("group")
    await append(broker, name, 1, rows([b"1"]))
    member = await broker.join(group, [name])
    lanes = member.lanes()
    (beside, lane), commit, go_on = await hung_in_a_commit(lanes, name, target)
    # Like a worker that was frozen in a commit: others have fenced it, and its heartbeat hears of the rebalance first.
    newer = Sender(broker._session.clients, lane.claim.transactions.name)
    await newer.start()
    await newer.close()
    second = await other.join(group, [name])
    async with asyncio.timeout(PATIENCE):
        while member.settled.is_set():
            await asyncio.sleep(0.01)
    go_on.set()
    with pytest.raises(LaneLostError, match="ProducerFenced"):
        await asyncio.wait_for(commit, PATIENCE)
    with pytest.raises(LaneLostError, match="ProducerFenced"):
        await beside.poll(timeout=0)
    await lane.release()
    await beside.release()
    stayed = await asyncio.wait_for(anext(lanes), PATIENCE)
    assert list(stayed.partitions) == [(name, 0)]
    moved = await asyncio.wait_for(anext(second.lanes()), PATIENCE)
    await step(moved, name, target, await until_rows(moved))
    async with asyncio.timeout(PATIENCE):
        while member._acquisition.unfinished():
            await asyncio.sleep(0.01)
    await moved.release()
    await second.leave()
    back = await asyncio.wait_for(anext(lanes), PATIENCE)
    assert (list(back.partitions), back.committed(name, 1)) == ([(name, 1)], 1)
    await member.leave()
    assert await come_out(broker, target) == [b"1"]


async def test_a_lane_that_is_no_longer_ours_is_not_taken_over(launch: Any) -> None:
    """An attempt at a lane that has gone elsewhere ends quietly: it fences nobody, and the group goes on."""
    broker = await launch()
    name, group = await topic(broker), fresh("group")
    member = await broker.join(group, [name])
    await asyncio.wait_for(anext(member.lanes()), PATIENCE)
    member._acquisition.begin(1, 0.0)
    await asyncio.wait(member._acquisition.unfinished(), timeout=PATIENCE)
    assert not member._acquisition.unfinished()
    assert member._queue.empty()
    await member.leave()


def hold(lane: Any, function: str) -> tuple[asyncio.Event, asyncio.Event]:
    """Have a lane's producer hang before a call: returns what says that it does, and what lets it go on."""
    hung, go_on = asyncio.Event(), asyncio.Event()
    inner = getattr(lane.claim.transactions.sender._producer, function)

    async def held(*arguments: Any, **named: Any) -> Any:
        hung.set()
        await go_on.wait()
        return await inner(*arguments, **named)

    setattr(lane.claim.transactions.sender._producer, function, held)
    return hung, go_on


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_commit_without_answer_is_looked_up(launch: Any, lost: str) -> None:
    """When EndTxn is not answered, the lane ends, and the next one knows whether it took place."""
    broker, patient = await launch(request_seconds=0.4), await launch()
    name, target, group = await topic(patient), await topic(patient), fresh("group")
    await append(patient, name, 0, rows([b"1"]))
    member = await broker.join(group, [name])
    lanes = member.lanes()
    lane: Any = await asyncio.wait_for(anext(lanes), PATIENCE)
    client = lane.claim.transactions.sender._producer.client
    inner = client.send

    async def send(node: Any, request: Any, **named: Any) -> Any:
        if not type(request).__name__.startswith("EndTxn"):
            return await inner(node, request, **named)
        if lost == "answer":
            await inner(node, request, **named)
        raise RequestTimedOutError

    client.send = send
    with pytest.raises(LaneLostError):
        await step(lane, name, target, await until_rows(lane))
    await lane.release()
    again = await asyncio.wait_for(anext(lanes), PATIENCE)
    took_place = again.committed(name, 0) == 1
    assert took_place == (lost == "answer")
    assert again.get_state("store", 0, b"key") == (b"1" if took_place else None)
    if not took_place:
        await step(again, name, target, await until_rows(again))
    await again.release()
    await member.leave()
    assert await come_out(patient, target) == [b"1"]


async def test_a_transaction_that_took_too_long_is_told_and_redone(launch: Any) -> None:
    """A commit that stalls for longer than transaction_seconds is undone by the broker; the reason names the option."""
    said: list[str] = []
    broker = await launch({"log": lambda level, event, **fields: said.append(str(fields.get("reason")))})
    broker._session.transaction_seconds = 1.0
    name, target, group = await topic(broker), await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    member = await broker.join(group, [name])
    lanes = member.lanes()
    lane = await asyncio.wait_for(anext(lanes), PATIENCE)
    hung, go_on = hold(lane, "commit_transaction")
    commit = asyncio.create_task(step(lane, name, target, await until_rows(lane)))
    await hung.wait()
    async with asyncio.timeout(PATIENCE):
        # The first open transaction bounds what may be read, until the broker undoes it.
        while (await broker.ranges(target))[0].end == 0:
            await asyncio.sleep(0.1)
    go_on.set()
    with pytest.raises(LaneLostError, match="transaction_seconds"):
        await commit
    assert any("transaction_seconds" in reason for reason in said)
    await lane.release()
    again = await asyncio.wait_for(anext(lanes), PATIENCE)
    await step(again, name, target, await until_rows(again))
    await again.release()
    await member.leave()
    assert await come_out(broker, target) == [b"1"]


async def test_an_open_transaction_of_others_is_waited_for_and_told(
    launch: Any, kafka_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is aborted is never seen; what an open transaction holds up is told, and comes when it has ended."""
    monkeypatch.setattr("streamweaver_brokers.kafka.watch.WATCH_SECONDS", 0.3)
    told = asyncio.Event()
    events: list[tuple[str, dict[str, Any]]] = []

    def log(_level: str, event: str, **fields: Any) -> None:
        events.append((event, fields))
        if "open transaction" in event:
            told.set()

    broker = await launch({"log": log})
    name, group = await topic(broker), fresh("group")
    foreign = AIOKafkaProducer(bootstrap_servers=kafka_address, transactional_id=fresh("foreign"))
    await foreign.start()
    async with lane_of(broker, group, name) as lane:
        await foreign.begin_transaction()
        await foreign.send_and_wait(name, b"aborted")
        await foreign.abort_transaction()
        await foreign.begin_transaction()
        await foreign.send_and_wait(name, b"open")
        await append(broker, name, 0, rows([b"behind it"]))
        async with asyncio.timeout(PATIENCE):
            while not told.is_set():
                assert not [value for item in await lane.poll(timeout=0.1) for value in item.values]
        (fields,) = [fields for event, fields in events if "open transaction" in event]
        assert name in fields["part"]
        # From here on a slow machine is no stuck consumer.
        monkeypatch.setattr("streamweaver_brokers.kafka.watch.WATCH_SECONDS", PATIENCE)
        await foreign.commit_transaction()
        found: list[bytes | None] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < 2:
                for item in await lane.poll(timeout=PATIENCE):
                    found += item.values
        assert found == [b"open", b"behind it"]
    await foreign.stop()
    assert [value for _, value, _, _ in await all_of(broker, name, 0, 2)] == [b"open", b"behind it"]


# The client forgets a connection that is just being made when it is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("callback", ["revoked", "assigned"])
async def test_an_error_in_a_rebalance_is_not_swallowed(
    launch: Any, monkeypatch: pytest.MonkeyPatch, callback: str
) -> None:
    """The client logs what its listeners raise and goes on without partitions; we begin anew, and say why."""
    from streamweaver_brokers.kafka.group import Membership

    events: list[tuple[str, dict[str, Any]]] = []
    # A member that was replaced while it joined is waited for by the others, for as long as a session lasts.
    broker = await launch({"log": lambda level, event, **fields: events.append((event, fields))}, session_seconds=2.0)
    name, group = await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    failures = iter([True])
    inner = getattr(Membership, callback)

    def failing(self: Membership, *arguments: Any) -> Any:
        if next(failures, False):
            raise ValueError("a defect of ours")
        return inner(self, *arguments)

    monkeypatch.setattr(Membership, callback, failing)
    member = await broker.join(group, [name])
    found: list[bytes | None] = []
    async with asyncio.timeout(PATIENCE):
        async for lane in member.lanes():
            with contextlib.suppress(LaneLostError):
                found = list((await until_rows(lane)).values)
            await lane.release()
            if found:
                break
    await member.leave()
    assert found == [b"1"]
    assert next(failures, None) is None
    (fields,) = [fields for event, fields in events if event == "kafka consumer is replaced"]
    assert "a defect of ours" in fields["reason"]
