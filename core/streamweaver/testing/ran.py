"""What a run leaves behind: topics, dead letters, state, figures and log lines, as values for a test to look at."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import msgspec

from streamweaver.contracts import Broker, BrokerContext, Codec, Fetched
from streamweaver.graph.plan import Plan
from streamweaver.record import Record
from streamweaver.runtime.codec import decode
from streamweaver.runtime.dead_letter import DeadLetter, from_row
from streamweaver.runtime.engine import Summary
from streamweaver.runtime.reading import through
from streamweaver.testing.single import OUTPUT


@attrs.frozen
class LogLine:
    """One line that the engine or a plugin logged."""

    level: str
    event: str
    fields: dict[str, Any]


@attrs.frozen
class Ran:
    """A run that has ended, and everything that it left behind."""

    plan: Plan
    summary: Summary
    rows: Mapping[str, list[Fetched]]
    """What each topic holds, by topic and partition, as stored."""
    log: list[LogLine]
    metrics: Mapping[str, dict[str, Any]] = attrs.field(factory=dict)
    """The figures of each stage at the end: its counts, and the plugin's own `counters` and `gauges`."""
    kept: Mapping[str, list[dict[Any, Any]]] | None = None
    """What each step remembers, by `stage.step` and partition; None where the broker keeps it in memory only."""
    output: str = OUTPUT
    """The topic that is meant where none is said: that of a run of one plugin."""

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """The counts of each stage, as `pipeline up --json` prints them."""
        return self.summary.counts

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The pipeline's dead letters, of this run and earlier ones on the same data, in order."""
        return [
            from_row(rows.keys[i], rows.values[i], rows.timestamps[i], rows.headers[i] if rows.headers else ())
            for rows in self.rows[self.plan.dead_letters]
            for i in range(len(rows))
        ]

    def records(self, topic: str | None = None) -> list[Record]:
        """Return what a topic holds, decoded, partition after partition; a record that cannot be decoded raises.

        Without a topic: what the plugin made, in a run of one producer or transform.
        """
        name = self.output if topic is None else topic
        if topic is None and all(stage.kind == "sink" for stage in self.plan.stages.values()):
            raise LookupError("a sink makes no records: look where it writes them")
        if name not in self.plan.topics:
            raise LookupError(f"got the topic {name!r}, expected one of {', '.join(self.plan.topics)}")
        codec: Codec = self.plan.topics[name].codec
        records: list[Record] = []
        for rows in self.rows.get(name, []):
            good, bad = decode(rows, codec)
            if bad:
                raise bad[0].error
            records += good
        return records

    def values(self, topic: str | None = None) -> list[Any]:
        """Return the values of `records`."""
        return [record.value for record in self.records(topic)]

    def state(self, stage: str | None = None, step: int = 0, partition: int | None = None) -> dict[Any, Any]:
        """Return what a step of a stage remembers, values by key; without a stage, of the only one.

        Without a partition that of all: LookupError if one key stands in two of them, for each has its own value.
        On the embedded log. Kafka's is in the memory of the running pipeline: what a restart does shows it.
        """
        if self.kept is None:
            raise LookupError("the broker keeps state in the running pipeline only: expected a run on the embedded log")
        name = next(iter(self.plan.stages)) if stage is None and len(self.plan.stages) == 1 else stage
        if name is None or name not in self.plan.stages:
            raise LookupError(f"got the stage {name!r}, expected one of {', '.join(self.plan.stages)}")
        steps = self.plan.stages[name].steps
        if not 0 <= step < len(steps):
            raise LookupError(f"stage {name}: got the step {step}, it has {len(steps)}; they count from 0")
        parts = self.kept[f"{name}.{steps[step].name}"]
        if partition is not None:
            if not 0 <= partition < len(parts):
                raise LookupError(
                    f"stage {name}: got the partition {partition}, it has {len(parts)}; they count from 0"
                )
            return parts[partition]
        whole: dict[Any, Any] = {}
        for part in parts:
            if both := whole.keys() & part.keys():
                raise LookupError(
                    f"stage {name}: the key {both.pop()!r} stands in several partitions, expected one of them"
                )
            whole |= part
        return whole


@contextlib.asynccontextmanager
async def opened(plan: Plan, data_dir: Path, role: Literal["run", "tool"]) -> AsyncIterator[Broker]:
    """Open the pipeline's broker, and close it at the end."""
    broker: Broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline=plan.name, data_dir=data_dir, role=role))
    try:
        yield broker
    finally:
        await broker.close()


async def stored(plan: Plan, data_dir: Path) -> dict[str, list[Fetched]]:
    """Return what each topic of a pipeline holds, from its data folder."""
    return (await left(plan, data_dir))[0]


async def left(plan: Plan, data_dir: Path) -> tuple[dict[str, list[Fetched]], dict[str, list[dict[Any, Any]]] | None]:
    """Return what the topics hold, and what the steps remember."""
    async with opened(plan, data_dir, "tool") as broker:
        own = [topic for topic in await broker.topics() if topic in plan.topics or topic.startswith(f"{plan.name}.")]
        rows = {topic: [rows async for rows in through(broker, topic)] for topic in own}
        return rows, None if broker.shares_work else await _kept(plan, broker)


async def _kept(plan: Plan, broker: Broker) -> dict[str, list[dict[Any, Any]]]:
    def values(store: str, partition: int) -> dict[Any, Any]:
        unpack = msgspec.msgpack.decode
        return {unpack(key): unpack(value) for key, value in broker.state_items(store, partition)}

    kept: dict[str, list[dict[Any, Any]]] = {}
    for stage in plan.stages.values():
        partitions = max((plan.topics[topic].spec.partitions for topic in stage.inputs), default=1)
        for step in stage.steps:
            store = f"{plan.group(stage.name)}.{step.name}"
            kept[f"{stage.name}.{step.name}"] = [values(store, partition) for partition in range(partitions)]
    return kept
