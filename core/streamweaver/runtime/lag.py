"""How far a stage is behind its topics."""

import attrs

from streamweaver.contracts import Broker
from streamweaver.runtime.scope import Scope
from streamweaver.runtime.waiting import Waiting


@attrs.frozen
class Lag:
    """What waits for a stage: records over all partitions, and how long the oldest of this process's own has waited."""

    records: int
    seconds: float
    own: int = 0
    """Records in the partitions that are this process's to work on."""


async def measure(scope: Scope, broker: Broker) -> Lag:
    """Measure a stage's lag by what this process has settled and, for other partitions, what the group committed.

    So every worker measures the records of the whole stage, but the time of its own share only.
    """
    stage = scope.stage
    committed = await broker.offsets(scope.plan.group(stage.name))
    waiting = own = 0
    seconds, now = 0.0, scope.clock.monotonic()
    for topic in scope.plan.reads(stage):
        for partition, held in enumerate(await broker.ranges(topic)):
            place = (topic, partition)
            settled = max(scope.settled.get(place, 0), committed.get(place, 0), held.begin)
            left = max(0, held.end - settled)
            waiting += left
            if place in scope.held:
                own += left
                seconds = max(seconds, scope.waiting.setdefault(place, Waiting()).seconds(settled, held.end, now))
            else:
                scope.waiting.pop(place, None)
    return Lag(waiting, round(seconds, 3), own)
