"""Moving a pipeline between two brokers: what moves along, and what is refused before anything is written."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core.runtime.runtime_kit import open_readers
from streamweaver.cli.load import load
from streamweaver.contracts import Broker, BrokerContext, Lane, TopicSpec
from streamweaver.errors import BrokerError
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.runtime import move as moving
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.dead_letter import note, notes_store
from streamweaver.runtime.engine import Engine, RunOptions
from streamweaver.runtime.move import Moved, move

PIPELINE = """\
name: shop
dashboard: {enabled: false}
topics:
  orders: {partitions: 2}
  averages: {partitions: 2}
producers:
  file: {use: ndjson_file, path: orders.ndjson, to: orders, key: who}
flows:
  means:
    from: orders
    steps:
      - {use: moving_average, field: price, by: who, size: 3}
    to: averages
sinks:
  out: {use: file, from: averages, path: out.ndjson}
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Stand in the folder of a pipeline, which has not run."""
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(PIPELINE)
    return load(Path("shop.yaml")).plan


def orders(*prices: float) -> None:
    with Path("orders.ndjson").open("a") as file:
        file.writelines(f'{{"who": "w{number % 2}", "price": {price}}}\n' for number, price in enumerate(prices))


async def ran(plan: Plan, data: Path, only: frozenset[str] | None = None) -> dict[str, Any]:
    engine = Engine(
        plan,
        RunOptions(until_idle=True, only=only),
        data_dir=data,
        clock=SystemClock(),
        log=lambda *_, **__: None,
        redact=plan.redact,
        observers=Observers(lambda _: None),
    )
    summary = await engine.run()
    assert summary.error is None
    return summary.counts


async def moved(old: Plan, new: Plan | None = None) -> Moved:
    return await move(old, new or old, old_data=Path("old"), new_data=Path("new"), tell=lambda _: None)


async def test_it_goes_on_at_the_new_place(shop: Plan) -> None:
    """With records in front of each stage: all come out once, averages go on, and the producer where it stood."""
    orders(1, 10, 2, 20)
    await ran(shop, Path("old"), frozenset({"file", "means"}))
    orders(3, 30)
    await ran(shop, Path("old"), frozenset({"file"}))
    found = await moved(shop)
    assert found.topics["orders"] == 6
    assert found.topics["averages"] == 4
    assert found.stages["means"] > 0

    orders(4, 40)
    counts = await ran(shop, Path("new"))
    assert (counts["file"]["out"], counts["means"]["in"], counts["out"]["in"]) == (2, 4, 8)
    assert Path("out.ndjson").read_text().count("\n") == 8
    assert '"price":4,"moving_average":3.0' in Path("out.ndjson").read_text().replace(" ", "")


COPIED = PIPELINE.replace("sinks:", "  copying: {from: averages, to: copies}\nsinks:")
"""The same with a flow into a topic that it had not before."""


async def test_a_stage_that_is_new_begins_at_the_new_place(shop: Plan) -> None:
    """Added to the file since the last run, it holds nothing; all others go on where they stood."""
    orders(1, 10, 2)
    await ran(shop, Path("old"))
    Path("shop.yaml").write_text(COPIED + "  copied: {use: file, from: copies, path: copied.ndjson}\n")
    plan = load(Path("shop.yaml")).plan
    found = await moved(plan)
    assert found.stages.keys() == shop.stages.keys()
    orders(20)
    counts = await ran(plan, Path("new"))
    assert {name: counts[name]["in"] for name in ("means", "out", "copying", "copied")} == {
        "means": 1,
        "out": 1,
        "copying": 4,
        "copied": 4,
    }


async def test_a_stage_whose_topic_is_not_there_is_refused(shop: Plan) -> None:
    """It has offsets of something: passed over, they would be left behind, and nobody would know."""
    orders(1)
    await ran(shop, Path("old"))
    Path("shop.yaml").write_text(COPIED.replace("file, from: averages", "file, from: copies"))
    with pytest.raises(BrokerError, match="stage out has committed offsets, but there are no topics copies at the old"):
        await moved(load(Path("shop.yaml")).plan)
    async with opened(shop, Path("new")) as broker:
        assert await broker.topics() == {}


@asynccontextmanager
async def opened(plan: Plan, data: Path) -> AsyncIterator[Broker]:
    broker: Broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline=plan.name, data_dir=data))
    try:
        yield broker
    finally:
        await broker.close()


@asynccontextmanager
async def lane_of(plan: Plan, broker: Broker, stage: str) -> AsyncIterator[Lane]:
    inputs = plan.stages[stage].inputs
    group = await broker.join(plan.group(stage), [*inputs, *([plan.replay(stage)] if inputs else [])])
    lane = await anext(group.lanes())
    try:
        yield lane
    finally:
        await lane.release()
        await group.leave()


async def test_a_sinks_notes_move_along(shop: Plan) -> None:
    """Killed after it recorded a dead letter and before it committed: at the new place it still knows of the letter."""
    orders(1, 10, 2, 20)
    await ran(shop, Path("old"), frozenset({"file", "means"}))
    store = notes_store(shop.group("out"))
    noted = {note("averages", 0): b""}
    async with opened(shop, Path("old")) as broker, lane_of(shop, broker, "out") as lane:
        partition = next(p for p, held in enumerate(await broker.ranges("averages")) if held.end > held.begin)
        unit = lane.begin()
        # One more, of a record that is not there any more.
        unit.put_state(store, partition, {**noted, note("averages", 9): b""})
        await unit.commit()
    await moved(shop)
    async with opened(shop, Path("new")) as broker, lane_of(shop, broker, "out") as lane:
        assert dict(lane.state_items(store, partition)) == noted


async def test_a_place_that_holds_anything_of_the_pipeline_is_refused(shop: Plan) -> None:
    """One line names all of it, and nothing is written there."""
    orders(1)
    await ran(shop, Path("old"))
    await ran(shop, Path("new"))
    orders(2)
    await ran(shop, Path("old"))
    with pytest.raises(BrokerError) as raised:
        await moved(shop)
    assert "\n" not in str(raised.value)
    assert "the new place is not empty: " in str(raised.value)
    for what in ("topic orders holds records", f"group {shop.group('means')} has committed offsets", "stage file has"):
        assert what in str(raised.value)
    async with opened(shop, Path("new")) as broker:
        assert sum(held.end for held in await broker.ranges("orders")) == 1


@pytest.mark.parametrize("partitions", [1, 3])
async def test_topics_that_are_there_must_have_as_many_partitions(shop: Plan, partitions: int) -> None:
    """Without records, too, and whether there are fewer or more: said before anything is written."""
    orders(1, 10)
    await ran(shop, Path("old"))
    async with opened(shop, Path("new")) as broker:
        await broker.create([TopicSpec(name="averages", partitions=partitions)])
    with pytest.raises(BrokerError, match=f"topic averages has {partitions} partitions instead of 2; delete"):
        await moved(shop)
    async with opened(shop, Path("new")) as broker:
        assert list(await broker.topics()) == ["averages"]


async def test_a_look_for_records_leaves_no_reader_open(shop: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first record is enough, and closes it."""
    orders(1)
    await ran(shop, Path("old"))
    readers = open_readers(monkeypatch)
    async with opened(shop, Path("old")) as broker:
        assert await moving._holds_records(broker, "orders")
        assert readers == []


async def test_state_alone_is_something(shop: Plan) -> None:
    """Without records and offsets, what steps have kept would be mixed with what comes."""
    orders(1)
    await ran(shop, Path("old"))
    async with opened(shop, Path("new")) as broker:
        await broker.create(
            [TopicSpec(name="orders", partitions=2), TopicSpec(name=shop.replay("means"), partitions=2)]
        )
        async with lane_of(shop, broker, "means") as lane:
            unit = lane.begin()
            unit.put_state(f"{shop.group('means')}.{shop.stages['means'].steps[0].name}", 0, {b"k": b"v"})
            await unit.commit()
    with pytest.raises(BrokerError, match="the new place is not empty: stage means has state; delete"):
        await moved(shop)


async def expired(plan: Plan) -> None:
    """Have retention remove first records of a topic."""
    async with opened(plan, Path("old")) as broker:
        while not any(held.begin for held in await broker.ranges("averages")):
            await asyncio.sleep(0.01)  # age is counted by the broker's own clock
            await broker.maintain()


async def test_a_sink_that_is_new_has_written_nothing_down(shop: Plan) -> None:
    """Whatever offsets its records get, it begins with them."""
    Path("shop.yaml").write_text(PIPELINE[: PIPELINE.index("sinks:")])
    brief = load(Path("shop.yaml"), ("topics.averages.retention=1ms",)).plan
    orders(1, 10)
    await ran(brief, Path("old"))
    await expired(brief)
    Path("shop.yaml").write_text(PIPELINE)
    assert "out" not in (await moved(load(Path("shop.yaml")).plan)).stages


async def test_offsets_that_a_sink_has_written_down_must_stay(shop: Plan) -> None:
    """Where retention has removed first records it is refused, and the new place is left as it was: without topics."""
    brief = load(Path("shop.yaml"), ("topics.averages.retention=1ms",)).plan
    orders(1, 10)
    await ran(brief, Path("old"))
    await expired(brief)
    with pytest.raises(BrokerError, match=r"topic averages, .* other offsets .* sink out refers to them"):
        await moved(brief)
    async with opened(brief, Path("new")) as broker:
        assert await broker.topics() == {}


async def test_work_that_somebody_else_does_is_not_waited_for(shop: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a broker without a lock, a pipeline that runs keeps its lanes: that is said after some time."""
    orders(1)
    await ran(shop, Path("old"))
    monkeypatch.setattr(moving, "LANE_SECONDS", 0.05)
    never = asyncio.Event()

    async def lanes(_: Any) -> AsyncIterator[Lane]:
        await never.wait()
        yield None  # type: ignore[misc]

    async with opened(shop, Path("probe")) as broker:
        await broker.create(
            [TopicSpec(name="orders", partitions=2), TopicSpec(name=shop.replay("means"), partitions=2)]
        )
        group = await broker.join("any", [])
        monkeypatch.setattr(type(group), "lanes", lanes)
        await group.leave()
    with pytest.raises(BrokerError, match=r"stage file: its work was not handed to us .* stop the pipeline"):
        await moved(shop)


async def test_other_partitions_are_refused(shop: Plan) -> None:
    """Keys and state belong to partitions."""
    orders(1)
    await ran(shop, Path("old"))
    other = load(Path("shop.yaml"), ("topics.orders.partitions=3", "topics.averages.partitions=3")).plan
    with pytest.raises(BrokerError, match=r"has 2 partitions and would have 3"):
        await moved(shop, other)


async def test_nothing_to_move_is_said(shop: Plan) -> None:
    """A pipeline that never ran has no log, and none is made."""
    with pytest.raises(BrokerError, match="no log here"):
        await moved(shop)
    assert not Path("old").exists()
    assert not Path("new").exists()


async def test_a_running_pipeline_is_refused(shop: Plan) -> None:
    """Its lock is taken."""
    orders(1)
    await ran(shop, Path("old"))
    broker: Broker = shop.broker.build()
    await broker.open(BrokerContext(pipeline="shop", data_dir=Path("old")))
    try:
        with pytest.raises(BrokerError, match="in use by pipeline shop"):
            await moved(shop)
    finally:
        await broker.close()
