"""A broker that may take its time, over a real one, and the plan on which its stages are."""

import asyncio
from typing import Any

import attrs

from streamweaver import TopicSpec, producer
from streamweaver.runtime.report import METRICS_SPEC


@producer
def numbers() -> Any:
    """Produce."""


FLOWS = "name: t\nproducers:\n  p: {use: numbers, to: a}\nflows:\n  f: {from: a, to: b}\n  g: {from: a, to: c}\n"

SPECS = [
    *(TopicSpec(name=name) for name in ("a", "t.f.replay", "t.g.replay")),
    attrs.evolve(METRICS_SPEC, name="t.metrics"),
]


@attrs.define
class Moody:
    """A broker in front of another one that may answer nothing, late, or an error."""

    broker: Any
    answers: asyncio.Event = attrs.field(factory=asyncio.Event)
    seconds: float = 0.0
    error: Exception | None = None
    stores: bool = True
    """Whether a commit comes to its end."""
    asked: int = 0
    """Questions for ranges that have begun."""
    most_at_once: int = 0
    _under_way: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)

    def begin(self) -> Any:
        return self.broker.begin() if self.stores else _Endless()

    async def ranges(self, topic: str) -> Any:
        self.asked += 1
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            await self.answers.wait()
            await asyncio.sleep(self.seconds)
            if self.error is not None:
                raise self.error
            return await self.broker.ranges(topic)
        finally:
            self._under_way -= 1


class _Endless:
    """A unit of work whose commit hangs."""

    def append(self, *_: Any) -> None: ...

    async def commit(self) -> None:
        await asyncio.Event().wait()
