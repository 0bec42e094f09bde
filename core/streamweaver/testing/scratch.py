"""A place for the topics of one test, on the embedded log or on a Kafka that others use as well."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import attrs

from streamweaver.config import parse, structure
from streamweaver.contracts import Broker, BrokerContext
from streamweaver.registry import Registry
from streamweaver.testing.single import as_yaml


class _Removing(Protocol):
    """A broker whose topics can be removed."""

    async def remove(self, topics: list[str], /) -> None: ...


@attrs.frozen
class ScratchLog:
    """A log for one test. Give it to `run` as `log`, and take all names of the pipeline from `name`."""

    broker: Mapping[str, Any]
    """What stands at `broker` in the pipeline's file."""
    data_dir: Path
    prefix: str = attrs.field(factory=lambda: f"test{uuid.uuid4().hex[:12]}_")
    """With what all names of this test begin."""

    def name(self, word: str) -> str:
        """Return the name that a pipeline or a topic has on this log: no other test has it."""
        return f"{self.prefix}{word}"

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Broker]:
        """Open the broker, as a running pipeline does, and close it at the end."""
        options = dict(self.broker)
        plugin = Registry().load("broker", options.pop("use"))
        broker: Broker = plugin.build(structure(parse(as_yaml(options), "broker"), plugin.options))
        await broker.open(BrokerContext(pipeline=self.name("pipeline"), data_dir=self.data_dir))
        try:
            yield broker
        finally:
            await broker.close()

    async def clear(self) -> None:
        """Remove the topics of this test from a broker that keeps them elsewhere than in `data_dir`."""
        async with self.opened() as broker:
            own = [topic for topic in await broker.topics() if topic.startswith(self.prefix)]
            if own and hasattr(broker, "remove"):
                await cast("_Removing", broker).remove(own)
