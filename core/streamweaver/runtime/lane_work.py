"""Turning what a lane hands out into what a stage makes of it; shared by flows and sinks."""

from typing import Generic, TypeVar

import attrs

from streamweaver.contracts import Fetched, Lane, UnitOfWork
from streamweaver.errors import RunError
from streamweaver.graph.plan import TopicPlan
from streamweaver.metrics import Tally
from streamweaver.record import Batch
from streamweaver.runtime.chain import Chain, Failure, Input, Outcome
from streamweaver.runtime.codec import decode
from streamweaver.runtime.context import StepContext
from streamweaver.runtime.dead_letter import DeadLetter, original_topic
from streamweaver.runtime.failing import Original, fail
from streamweaver.runtime.scope import OpenSteps, Scope, step_context
from streamweaver.runtime.state import StateView

T = TypeVar("T")

DECODE = "decode"


@attrs.define
class Done(Generic[T]):
    """What became of the rows of one original topic within one fetch."""

    rows: Fetched
    topic: str
    outcome: Outcome[T]
    letters: list[DeadLetter]


class LaneWork(Generic[T]):
    """Decodes and transforms the batches of one lane, and keeps the state that its steps have there."""

    def __init__(self, scope: Scope, lane: Lane, steps: OpenSteps, chain: Chain[T]) -> None:
        self._scope = scope
        self._lane = lane
        self._steps = steps
        self._chain = chain
        self._contexts: dict[int, list[StepContext]] = {}
        self.tally = Tally()
        self._replay = scope.plan.replay(scope.stage.name)

    async def transform(self, rows: Fetched) -> list[Done[T]]:
        """Process one partition's rows: one item, or one an original topic when they come from the replay topic."""
        self._scope.metrics.received += len(rows)
        self.tally.received += len(rows)
        if rows.lost:
            self._scope.metrics.lost += rows.lost
            self._scope.log(
                "error",
                "records lost: retention removed them before this stage read them",
                stage=self._scope.stage.name,
                topic=rows.topic,
                partition=rows.partition,
                lost=rows.lost,
            )
        parts = _by_original_topic(rows) if rows.topic == self._replay else [(rows.topic, rows)]
        return [await self._transform(topic, part) for topic, part in parts if len(part)]

    async def _transform(self, name: str, rows: Fetched) -> Done[T]:
        topic = self._topic(name)
        records, undecoded = decode(rows, topic.codec)
        failures = [Failure(bad.index, DECODE, bad.error, 1) for bad in undecoded]
        outcome: Outcome[T] = Outcome([])
        if records:
            batch = Batch(records, name, rows.partition, rows.offsets[0], rows.next_offset - 1)
            self._scope.activity.now("processing")
            outcome = await self._chain.run(
                Input(batch, lambda: decode(rows, topic.codec)[0]), self._contexts_for(rows.partition, name)
            )
        outcome.failures += failures
        return Done(rows, name, outcome, self._settle(outcome, rows, name))

    def _topic(self, name: str) -> TopicPlan:
        try:
            return self._scope.plan.topics[name]
        except KeyError:
            raise RunError(f"a replayed record came from topic {name!r}, which the pipeline no longer has") from None

    def _contexts_for(self, partition: int, topic: str) -> list[StepContext]:
        contexts = self._contexts.get(partition)
        if contexts is None:
            blank = step_context(self._scope)
            store = f"{self._scope.plan.group(self._scope.stage.name)}."
            contexts = self._contexts[partition] = [
                attrs.evolve(blank, partition=partition, state=StateView(self._lane, store + name, partition))
                for name in self._steps.names
            ]
        for context in contexts:
            context.topic = topic
        return contexts

    async def tick(self) -> Outcome[T]:
        """Let the steps act on the passing of time, in every partition that the lane holds."""
        total: Outcome[T] = Outcome([])
        for topic, partition in self._lane.partitions:
            if topic == self._replay or (partition in self._contexts and topic != self._contexts[partition][0].topic):
                continue
            outcome = await self._chain.tick(self._contexts_for(partition, topic), self._steps.ticks)
            total.parts += outcome.parts
            total.outputs += outcome.outputs
            total.added += outcome.added
        self.tally.added += total.added
        return total

    # -- the unit of work -----------------------------------------------------------------------

    def put_state(self, unit: UnitOfWork) -> bool:
        """Put every changed value into a unit; returns whether there was any."""
        found = False
        for contexts in self._contexts.values():
            for context in contexts:
                changes = context.state.changes()
                if changes:
                    unit.put_state(context.state.store, context.state.partition, changes)
                    found = True
        return found

    def committed(self) -> None:
        """The unit is durable: take over its counts, and keep its state for the next."""
        self._scope.metrics.settle(self.tally)
        self.tally = Tally()
        for contexts in self._contexts.values():
            for context in contexts:
                context.state.committed()

    def aborted(self) -> None:
        """The unit is void: its records will be read again, and the state it touched as well."""
        self._scope.metrics.returned += self.tally.received
        self.tally = Tally()
        for contexts in self._contexts.values():
            for context in contexts:
                context.state.rollback()

    def _settle(self, outcome: Outcome[T], rows: Fetched, topic: str) -> list[DeadLetter]:
        """Count an outcome and make dead letters of its failures, as the stage's `on_error` says."""
        self.tally.filtered += outcome.filtered
        self.tally.added += outcome.added
        return [letter for failure in outcome.failures for letter in self.fail(failure, rows, topic)]

    def fail(self, failure: Failure, rows: Fetched, topic: str) -> list[DeadLetter]:
        """Settle one failed record as the stage's `on_error` says."""
        index = failure.origin
        original = Original(
            topic=topic,
            partition=rows.partition,
            offset=rows.offsets[index],
            timestamp=rows.timestamps[index],
            key=rows.keys[index],
            value=rows.values[index],
            headers=rows.headers[index] if rows.headers else (),
        )
        return fail(self._scope, self.tally, failure.step, failure.error, failure.tries, original)


def _by_original_topic(rows: Fetched) -> list[tuple[str, Fetched]]:
    """Split replayed rows by the topic they originally came from, each run in order."""
    parts: list[tuple[str, Fetched]] = []
    for index in range(len(rows)):
        topic, headers = original_topic(rows.headers[index] if rows.headers else ())
        name = topic or rows.topic
        if not parts or parts[-1][0] != name:
            empty = Fetched([], [], [], [], rows.topic, rows.partition, [], rows.next_offset)
            parts.append((name, empty))
        part = parts[-1][1]
        part.keys.append(rows.keys[index])
        part.values.append(rows.values[index])
        part.timestamps.append(rows.timestamps[index])
        if part.headers is not None:
            part.headers.append(headers)
        part.offsets = [*part.offsets, rows.offsets[index]]
    return parts
