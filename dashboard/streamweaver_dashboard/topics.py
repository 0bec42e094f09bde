"""The topics of a pipeline, its own included: what they are, and how their values are read."""

from typing import Any, Literal

from streamweaver import Broker, BrokerError, Codec, UnknownTopicError
from streamweaver.codecs import Bytes, Json
from streamweaver.graph.plan import Plan

Role = Literal["data", "dead_letters", "settled_letters", "metrics", "replay", "alerts"]

RATE_MS = 5_000
"""The longest time over which a rate is told."""
JSON_ROLES = ("settled_letters", "metrics", "alerts")


class Topics:
    """Which topics may be looked at: those of the file, and the pipeline's own. No others of the broker."""

    def __init__(self, plan: Plan, broker: Broker) -> None:
        self._plan = plan
        self._broker = broker
        self._roles: dict[str, Role] = dict.fromkeys(plan.topics, "data")
        self._roles[plan.dead_letters] = "dead_letters"
        self._roles[plan.settled_letters] = "settled_letters"
        self._roles[plan.metrics] = "metrics"
        if plan.dashboard.rules:
            self._roles[plan.alerts] = "alerts"
        self._codecs: dict[str, Codec] = {name: topic.codec for name, topic in plan.topics.items()}
        self._codecs |= dict.fromkeys((plan.metrics, plan.alerts, plan.settled_letters), Json())
        self._codecs[plan.dead_letters] = Bytes()
        for stage in plan.stages.values():
            if stage.inputs:
                self._roles[plan.replay(stage.name)] = "replay"
                # Its records come from all inputs, which mostly have one codec.
                self._codecs[plan.replay(stage.name)] = plan.topics[stage.inputs[0]].codec
        self._ends: dict[str, tuple[int, int]] = {}

    def names(self) -> list[str]:
        """Return the names of all topics."""
        return list(self._roles)

    def codec(self, topic: str) -> Codec:
        """Return a topic's codec; UnknownTopicError when the pipeline has no such topic."""
        if topic not in self._roles:
            raise UnknownTopicError(f"no topic {topic[:100]!r}: there are {', '.join(self._plan.topics)}")
        return self._codecs[topic]

    async def described(self) -> list[dict[str, Any]]:
        """Return all topics as clients get them."""
        existing = await self._broker.topics()
        return [self._describe(name, existing) for name in self._roles]

    async def describe(self, topic: str) -> dict[str, Any]:
        """Return one topic; UnknownTopicError when the pipeline has no such topic."""
        self.codec(topic)
        return self._describe(topic, await self._broker.topics())

    async def rates(self, now: int) -> dict[str, dict[str, float | None]]:
        """Return how many records a second each topic of the file got since the last call, and how many it has."""
        found: dict[str, dict[str, float | None]] = {}
        for topic in self._plan.topics:
            try:
                ranges = await self._broker.ranges(topic)
            except BrokerError:
                continue
            end = sum(held.end for held in ranges)
            before = self._ends.get(topic)
            self._ends[topic] = (now, end)
            rate = None
            # Long ago somebody looked: what came in between was not at one rate.
            if before is not None and 0 < now - before[0] <= RATE_MS:
                rate = round(max(0, end - before[1]) * 1000 / (now - before[0]), 1)
            found[topic] = {"per_second": rate, "records": sum(held.end - held.begin for held in ranges)}
        return found

    def _describe(self, name: str, existing: dict[str, Any]) -> dict[str, Any]:
        planned = self._plan.topics.get(name)
        spec = existing.get(name) or (planned.spec if planned else None)
        return {
            "name": name,
            "partitions": spec.partitions if spec else None,
            "codec": planned.codec_name if planned else "json" if self._roles[name] in JSON_ROLES else None,
            "retention_ms": spec.retention_ms if spec else None,
            "retention_bytes": spec.retention_bytes if spec else None,
            "cleanup": spec.cleanup if spec else None,
            "role": self._roles[name],
        }
