"""The topics of a pipeline, its own included: what they are, and how their values are read."""

from typing import Any, Literal

from streamweaver import Broker, Codec, UnknownTopicError
from streamweaver.codecs import Bytes, Json
from streamweaver.graph.plan import Plan

Role = Literal["data", "dead_letters", "metrics", "replay", "alerts"]


class Topics:
    """Which topics may be looked at: those of the file, and the pipeline's own. No others of the broker."""

    def __init__(self, plan: Plan, broker: Broker) -> None:
        self._plan = plan
        self._broker = broker
        self._roles: dict[str, Role] = dict.fromkeys(plan.topics, "data")
        self._roles[plan.dead_letters] = "dead_letters"
        self._roles[plan.metrics] = "metrics"
        if plan.dashboard.rules:
            self._roles[plan.alerts] = "alerts"
        self._codecs: dict[str, Codec] = {name: topic.codec for name, topic in plan.topics.items()}
        self._codecs |= {plan.metrics: Json(), plan.alerts: Json(), plan.dead_letters: Bytes()}
        for stage in plan.stages.values():
            if stage.inputs:
                self._roles[plan.replay(stage.name)] = "replay"
                # Its records come from all inputs, which mostly have one codec.
                self._codecs[plan.replay(stage.name)] = plan.topics[stage.inputs[0]].codec

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

    def _describe(self, name: str, existing: dict[str, Any]) -> dict[str, Any]:
        planned = self._plan.topics.get(name)
        spec = existing.get(name) or (planned.spec if planned else None)
        return {
            "name": name,
            "partitions": spec.partitions if spec else None,
            "codec": planned.codec_name if planned else "json" if self._roles[name] in ("metrics", "alerts") else None,
            "retention_ms": spec.retention_ms if spec else None,
            "retention_bytes": spec.retention_bytes if spec else None,
            "cleanup": spec.cleanup if spec else None,
            "role": self._roles[name],
        }
