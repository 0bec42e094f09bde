"""Moving a pipeline between two brokers: what is refused, and how offsets are translated."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.cli.load import load
from streamweaver.contracts import Broker, BrokerContext
from streamweaver.errors import BrokerError
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.engine import Engine, RunOptions
from streamweaver.runtime.move import Moved, Offsets, _translated, move

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


@given(st.sets(st.integers(0, 60)), st.integers(0, 70), st.integers(0, 9))
def test_an_offset_becomes_that_of_the_same_record(held: set[int], offset: int, shift: int) -> None:
    """Whatever gaps both sides have: as many records lie before the new offset as before the old one."""
    old = sorted(held)
    new = [shift + 3 * index for index in range(len(old))]
    before, after = Offsets(), Offsets()
    before.add(old)
    after.add(new)
    found = _translated(offset, before, after)
    assert sum(there < found for there in new) == sum(there < offset for there in old)
    assert not old or found in (*new, new[-1] + 1)


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


async def test_a_place_that_holds_records_is_refused(shop: Plan) -> None:
    """The topic is named, and nothing is written over."""
    orders(1)
    await ran(shop, Path("old"))
    await ran(shop, Path("new"))
    with pytest.raises(BrokerError, match="holds records at the new place"):
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
