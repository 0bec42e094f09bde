"""Turning what a lane hands out into what a stage makes of it; shared by flows and sinks."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

import attrs

from streamweaver.contracts import Fetched, Lane, UnitOfWork
from streamweaver.errors import CodecError
from streamweaver.metrics import Tally
from streamweaver.record import Batch
from streamweaver.runtime.chain import Chain, Failure, Input, Outcome
from streamweaver.runtime.codec import decode
from streamweaver.runtime.context import StepContext
from streamweaver.runtime.dead_letter import DeadLetter, original_place
from streamweaver.runtime.failing import Original, fail
from streamweaver.runtime.rows import split
from streamweaver.runtime.scope import OpenSteps, Scope, step_context
from streamweaver.runtime.state import StateView

T = TypeVar("T")

DECODE = "decode"

PIECE_RECORDS = 1_000
"""Records that a flow decodes, processes and encodes at once: what they take stays in the processor's cache.

With many more the cache is missed (5,000 took the most time when compared); with 250, state is encoded too often.
"""


@attrs.define
class Part:
    """Rows of one partition that belong to one topic."""

    topic: str
    """The topic that plugins see; for replayed rows the one they originally came from, not `rows.topic`."""
    rows: Fetched
    offsets: Sequence[int]
    """Where the rows stood in `topic`."""


@attrs.define
class Done(Generic[T]):
    """What became of a part."""

    part: Part
    outcome: Outcome[T]
    letters: Mapping[int, DeadLetter]
    """Dead letters by the index of their row."""


class LaneWork(Generic[T]):
    """Decodes and transforms the batches of one lane, and keeps the state that its steps have there."""

    def __init__(self, scope: Scope, lane: Lane, steps: OpenSteps, chain: Chain[T], most: int | None = None) -> None:
        """`most` bounds the records that are processed at once; a sink wants them all, since it writes what it gets."""
        self._most = most
        self._scope = scope
        self._lane = lane
        self._steps = steps
        self._chain = chain
        self._contexts: dict[int, list[StepContext]] = {}
        self.tally = Tally()
        self._unbroken = 0
        self._replay = scope.plan.replay(scope.stage.name)

    def parts(self, rows: Fetched) -> Iterator[Part]:
        """Yield what is processed at once: pieces of the rows, and where they are replayed by their original topic."""
        self._scope.metrics.received += len(rows)
        self.tally.received += len(rows)
        if rows.lost:
            self.tally.lost += rows.lost
            self._scope.log(
                "error",
                "records lost: retention removed them before this stage read them",
                stage=self._scope.stage.name,
                topic=rows.topic,
                partition=rows.partition,
                lost=rows.lost,
            )
        if not len(rows):
            return
        for piece in split(rows, self._most):
            if rows.topic == self._replay:
                yield from _by_original_topic(piece)
            else:
                yield Part(rows.topic, piece, piece.offsets)

    async def transform(self, part: Part) -> Done[T]:
        """Process a part."""
        name, rows = part.topic, part.rows
        topic = self._scope.plan.topics.get(name)
        outcome: Outcome[T] = Outcome([])
        if topic is None:
            error = CodecError(f"replayed from topic {name!r}, which the pipeline does not have")
            outcome.failures = [Failure(index, DECODE, error, 1) for index in range(len(rows))]
            return Done(part, outcome, self._settle(outcome, part))
        codec = topic.codec
        records, undecoded = decode(rows, codec)
        if records:
            batch = Batch(
                records, name, rows.partition, rows.offsets[0], rows.next_offset - 1, row_offsets=part.offsets
            )
            self._scope.activity.now("processing")
            again = Input(batch, lambda: decode(rows, codec)[0])
            async with self._scope.turn:
                outcome = await self._chain.run(again, self._contexts_for(rows.partition, name))
        if undecoded:
            outcome.failures += [Failure(bad.index, DECODE, bad.error, 1) for bad in undecoded]
            outcome.failures.sort(key=lambda failure: failure.origin)
        self._unbroken += len(rows)
        if self._unbroken >= PIECE_RECORDS:
            # However much is waiting here: the others on the event loop have their turn.
            self._unbroken = 0
            await asyncio.sleep(0)
        return Done(part, outcome, self._settle(outcome, part))

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

    def places(self) -> dict[int, str]:
        """Return each partition number that the lane holds, with a topic of it: where time passes for the steps."""
        places: dict[int, str] = {}
        for topic, partition in self._lane.partitions:
            if topic != self._replay:
                places.setdefault(partition, topic)
        return places

    async def tick(self, partition: int, topic: str) -> Outcome[T]:
        """Let the steps act on the passing of time, for one of the lane's places."""
        async with self._scope.turn:
            outcome = await self._chain.tick(self._contexts_for(partition, topic), self._steps.ticks)
        self.tally.added += outcome.added
        return outcome

    # -- the unit of work -----------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether the open unit has changed any state."""
        return any(context.state.changes() for contexts in self._contexts.values() for context in contexts)

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

    def _settle(self, outcome: Outcome[T], part: Part) -> dict[int, DeadLetter]:
        """Count an outcome and make dead letters of its failures, as the stage's `on_error` says."""
        self.tally.filtered += outcome.filtered
        self.tally.added += outcome.added
        letters = {failure.origin: self.fail(failure, part) for failure in outcome.failures}
        return {index: letter for index, letter in letters.items() if letter is not None}

    def fail(self, failure: Failure, part: Part) -> DeadLetter | None:
        """Settle one failed record as the stage's `on_error` says; returns its dead letter, if it becomes one."""
        rows, index = part.rows, failure.origin
        original = Original(
            topic=part.topic,
            partition=rows.partition,
            offset=part.offsets[index],
            timestamp=rows.timestamps[index],
            key=rows.keys[index],
            value=rows.values[index],
            headers=rows.headers[index] if rows.headers else (),
        )
        return next(iter(fail(self._scope, self.tally, failure.step, failure.error, failure.tries, original)), None)


def _by_original_topic(rows: Fetched) -> list[Part]:
    """Split replayed rows by the topic they originally came from, each run in order."""
    parts: list[Part] = []
    own: list[int] = []
    shown: list[int] = []
    for index in range(len(rows)):
        topic, offset, headers = original_place(rows.headers[index] if rows.headers else ())
        name = topic or rows.topic
        if not parts or parts[-1].topic != name:
            own, shown = list[int](), list[int]()
            empty = Fetched([], [], [], [], rows.topic, rows.partition, own, rows.next_offset)
            parts.append(Part(name, empty, shown))
        part = parts[-1]
        part.rows.keys.append(rows.keys[index])
        part.rows.values.append(rows.values[index])
        part.rows.timestamps.append(rows.timestamps[index])
        if part.rows.headers is not None:
            part.rows.headers.append(headers)
        own.append(rows.offsets[index])
        shown.append(rows.offsets[index] if offset is None else offset)
    # A sink that keeps its own offsets goes by these: no part may cover the next one's rows.
    for part, following in pairwise(parts):
        part.rows.next_offset = following.rows.offsets[0]
    return parts
