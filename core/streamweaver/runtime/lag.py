"""How far a stage is behind its topics."""

import attrs

from streamweaver.contracts import Broker
from streamweaver.runtime.scope import Scope


@attrs.frozen
class Lag:
    """What waits for a stage: records over all partitions, and how old the oldest of them is about."""

    records: int
    seconds: float


async def measure(scope: Scope, broker: Broker) -> Lag:
    """Measure a stage's lag by what this process has settled and, for other partitions, what the group committed."""
    stage = scope.stage
    committed = await broker.offsets(scope.plan.group(stage.name))
    waiting = 0
    for topic in [*stage.inputs, scope.plan.replay(stage.name)]:
        for partition, held in enumerate(await broker.ranges(topic)):
            place = (topic, partition)
            settled = max(scope.settled.get(place, 0), committed.get(place, 0), held.begin)
            waiting += max(0, held.end - settled)
    behind = max(0, scope.clock.now() - scope.settled_time) / 1000 if waiting and scope.settled_time else 0.0
    return Lag(waiting, round(behind, 3))
