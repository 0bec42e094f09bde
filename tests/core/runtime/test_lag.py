"""How far a stage is behind."""

from pathlib import Path
from typing import Any

import attrs

from core.runtime.runtime_kit import ManualClock
from core.runtime.runtime_stage import scope_of
from streamweaver import BrokerContext, Rows, TopicSpec, producer
from streamweaver.runtime.lag import Lag, measure


@producer
def numbers() -> Any:
    """Produce."""


PIPELINE = """
name: t
topics: {a: {partitions: 2}}
producers:
  p: {use: numbers, to: a}
flows:
  f: {from: a, to: b}
"""


async def test_lag_is_what_is_neither_settled_nor_committed(tmp_path: Path) -> None:
    """Over all partitions and the replay topic; and how long the oldest of ours has waited, whatever its timestamp."""
    clock = ManualClock()
    scope: Any = attrs.evolve(scope_of(PIPELINE, "f", [numbers], tmp_path), clock=clock)
    broker = scope.broker
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path))
    await broker.create([TopicSpec(name="a", partitions=2), TopicSpec(name="t.f.replay", partitions=2)])
    assert await measure(scope, broker) == Lag(0, 0.0)
    unit = broker.begin()
    for topic, partition, count in (("a", 0, 5), ("a", 1, 3), ("t.f.replay", 0, 2)):
        unit.append(topic, partition, Rows([None] * count, [b"1"] * count, [1] * count))
    await unit.commit()
    assert await measure(scope, broker) == Lag(10, 0.0)
    scope.settled["a", 0] = 4
    scope.held = {("a", 1)}
    assert await measure(scope, broker) == Lag(6, 0.0, own=3)
    clock.seconds += 1.5
    assert await measure(scope, broker) == Lag(6, 1.5, own=3)
    scope.held = set()
    assert await measure(scope, broker) == Lag(6, 0.0), "what waits for other workers has no age here"
    group = await broker.join("t.f", ["a"])
    async for lane in group.lanes():
        unit = lane.begin()
        unit.mark("a", 0, 5)
        unit.mark("a", 1, 3)
        await unit.commit()
        await lane.release()
        break
    await group.leave()
    scope.settled["t.f.replay", 0] = 2
    assert await measure(scope, broker) == Lag(0, 0.0)
    await broker.close()
