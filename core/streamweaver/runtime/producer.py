"""A producer stage: draws records from a producer, applies steps, stores them together with the position."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import attrs
import msgspec

from streamweaver.contracts import Lane, UnitOfWork
from streamweaver.errors import BadRecord
from streamweaver.metrics import Tally
from streamweaver.record import Batch, Record, Rejected
from streamweaver.runtime.chain import Chain, Failure, Input
from streamweaver.runtime.codec import Encoder
from streamweaver.runtime.committing import commit
from streamweaver.runtime.context import ProducerStageContext
from streamweaver.runtime.dead_letter import DeadLetter
from streamweaver.runtime.failing import fail, made_here
from streamweaver.runtime.flow import Encoded
from streamweaver.runtime.held_back import Item
from streamweaver.runtime.keep import copier
from streamweaver.runtime.lanes import run_lanes
from streamweaver.runtime.plugin_life import opened
from streamweaver.runtime.rate import Limiter
from streamweaver.runtime.scope import IDLE, OpenSteps, Scope, make_steps, step_context
from streamweaver.runtime.source import MOST, Source, source_for
from streamweaver.runtime.state import StateView

PRODUCE = "produce"
"""Stands for the step in a dead letter that the producer itself made."""


class Stop:
    """A request to stop that interrupts waiting, and nothing else."""

    def __init__(self) -> None:
        self.requested = False
        self._waiting: asyncio.Task[Any] | None = None

    def request(self) -> None:
        """Stop at the next opportunity, which is now if the producer is only waited for."""
        self.requested = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def interruptible(self, awaitable: Awaitable[list[Item]]) -> list[Item] | None:
        """Wait for something; None when the request came first."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting = task
        try:
            return await awaitable
        except asyncio.CancelledError:
            # Somebody else may have cancelled the task as well; then it has to end.
            if self.requested and task.uncancel() == 0:
                return None
            raise
        finally:
            self._waiting = None


async def run_producer(scope: Scope, stop: Stop) -> None:
    """Run a producer until it has no more, is asked to stop, or fails; what it has yielded by then is stored."""
    await run_lanes(scope, [], lambda lane: _run_share(scope, lane, stop), single=True, once=True)


async def _run_share(scope: Scope, lane: Lane, stop: Stop) -> None:
    scope.ended = False
    await _run_lane(scope, lane, stop)
    if scope.broker.shares_work and not stop.requested:
        # A worker that stands by would get the lane next, and begin the producer anew; so it is kept to the run's end.
        scope.ended = True
        scope.activity.now("ended")
        scope.observers.call("stage_ended", stage=scope.stage.name)
        scope.progressed()
        await asyncio.Event().wait()


async def _run_lane(scope: Scope, lane: Lane, stop: Stop) -> None:
    use = scope.stage.use
    assert use is not None, "the graph gives each producer a plugin"
    stored = lane.position()
    resume: dict[str, Any] = {"position": None, "emitted": 0} if stored is None else msgspec.msgpack.decode(stored)
    context = ProducerStageContext(
        scope.plan.name,
        scope.stage.name,
        scope.clock,
        scope.metrics,
        scope.log,
        scope.threads,
        position=resume["position"],
        emitted=resume["emitted"],
    )
    if scope.stage.count is not None and context.emitted >= scope.stage.count:
        return
    plugin = use.build()
    transforms, steps = make_steps(scope)
    blank = step_context(scope)
    async with opened([*((transform, blank) for transform in transforms), (plugin, context)], scope.log):
        scope.observers.call("stage_started", stage=scope.stage.name)
        generator = plugin.produce(context)
        # Only who promises exact positions brings the same records again behind one.
        resumes = use.plugin.resumes
        limiter = Limiter(scope.clock, scope.stage.rate)
        source = source_for(generator, limiter, blocking=use.plugin.blocking, resumes=resumes)
        producing = _Producing(scope, lane, steps, context, resume.get("past", 0) if resumes else 0)
        try:
            await producing.run(source, stop)
        except BaseException:
            await source.close()
            raise
        try:
            await source.close()
        finally:
            # What was yielded before the stop is stored as well, up to `count`, but for what a rate holds back of a
            # producer that brings it again.
            await producing.store(source.rest())


class _Producing:
    """Stores what a producer yields, one unit of work for all that is there.

    A yielded list may reach beyond `count`; then it is cut, and the position remembers how many records `past` it are
    stored, so that a run with a higher `count` leaves these out when the list comes again.
    """

    def __init__(self, scope: Scope, lane: Lane, steps: OpenSteps, context: ProducerStageContext, past: int) -> None:
        assert scope.stage.output is not None, "the graph gives each producer an output"
        topic = scope.plan.topics[scope.stage.output]
        self._scope = scope
        self._lane = lane
        self._topic = topic
        self._encoder = Encoder(topic.codec, topic.spec.partitions, scope.stage.key, scope.broker.max_record_bytes)
        self._chain = Chain[Encoded](steps.steps, self._encode, scope.limits)
        store = f"{scope.plan.group(scope.stage.name)}."
        blank = step_context(scope)
        self._contexts = [
            attrs.evolve(blank, topic=topic.name, state=StateView(lane, store + name, 0)) for name in steps.names
        ]
        self._copies = bool(steps.steps)
        self._position: Any = context.position
        self._emitted = context.emitted
        self._past = self._again = past
        self._home = 0

    def _encode(self, records: list[Record]) -> Encoded:
        return self._encoder.encode(records, self._home, self._scope.clock.now())

    @property
    def left(self) -> int:
        """Records that `count` still allows."""
        return max(0, (self._scope.stage.count or 0) - self._emitted)

    async def run(self, source: Source, stop: Stop) -> None:
        """Draw and store until the producer's end, its `count`, or the request to stop."""
        count = self._scope.stage.count
        while not stop.requested:
            most = MOST if count is None else min(MOST, self.left)
            if most <= 0:
                return
            self._scope.activity.now(IDLE)
            items = await stop.interruptible(source.take(most))
            self._scope.up = True
            if not items:
                return
            await self.store(items)

    async def store(self, items: list[Item]) -> None:
        """Process items and store them with the position, as one unit of work."""
        again = min(self._again, len(items))
        self._again -= again
        items = items[again:] if again else items
        cut = self._scope.stage.count is not None and len(items) > self.left
        items = items[: self.left] if cut else items
        if not items:
            return
        started = time.perf_counter()
        scope = self._scope
        unit = self._lane.begin()
        tally = Tally(received=len(items))
        scope.metrics.received += len(items)
        scope.activity.now("processing")
        try:
            records = [item for item in items if isinstance(item, Record)]
            letters = [letter for item in items if isinstance(item, Rejected) for letter in self._reject(item, tally)]
            if records:
                letters += await self._process(unit, records, tally)
            position, past = self._stand(items)
            emitted = self._emitted + len(items)
            stands = {"position": position, "emitted": emitted} | ({"past": past} if cut else {})
            unit.mark_position(msgspec.msgpack.encode(stands))
            scope.letter_unit(unit, letters)
            for context in self._contexts:
                changes = context.state.changes()
                if changes:
                    unit.put_state(context.state.store, 0, changes)
            scope.activity.now("committing")
            cancelled = await commit(unit)
        except BaseException:
            await unit.abort()
            scope.metrics.returned += len(items)
            raise
        for context in self._contexts:
            context.state.committed()
        self._position, self._past, self._emitted = position, past, emitted
        scope.metrics.settle(tally)
        now = scope.clock.now()
        scope.metrics.latency.add_ages(now, [r.timestamp if type(r.timestamp) is int else now for r in records])
        scope.finish_unit(started, len(items), tally.out)
        if cancelled is not None:
            raise cancelled

    def _stand(self, items: list[Item]) -> tuple[Any, int]:
        """Return the last position once the items are stored, and how many items have come after it."""
        for after, item in enumerate(reversed(items)):
            if item.position is not None:
                return item.position, after
        return self._position, self._past + len(items)

    async def _process(self, unit: UnitOfWork, records: list[Record], tally: Tally) -> list[DeadLetter]:
        # Records without a key: all of a unit to one partition, the next unit to the next.
        self._home += 1
        for index, record in enumerate(records):
            record.origin = index
        if self._copies:
            # Steps see the time that the record will have: when it leaves, not when it was read.
            now = self._scope.clock.now()
            for record in records:
                if record.timestamp is None:
                    record.timestamp = now
        again = copier(records) if self._copies else lambda: records
        # Of no offsets: the records are in no topic yet.
        batch = Batch(records, self._topic.name, 0, 0, -1)
        outcome = await self._chain.run(Input(batch, again), self._contexts)
        for part in outcome.parts:
            for partition, rows in part.items():
                unit.append(self._topic.name, partition, rows)
        tally.out += outcome.outputs
        tally.added += outcome.added
        tally.filtered += outcome.filtered
        if not outcome.failures:
            return []
        # Steps may have changed the records in place; a dead letter shows them as they came.
        original = again()
        return [letter for failure in outcome.failures for letter in self._fail(failure, original, tally)]

    def _fail(self, failure: Failure, records: list[Record], tally: Tally) -> list[DeadLetter]:
        original = made_here(records[failure.origin], self._topic, self._scope.clock.now())
        return fail(self._scope, tally, failure.step, failure.error, failure.tries, original)

    def _reject(self, item: Rejected, tally: Tally) -> list[DeadLetter]:
        given = Record(None, item.key, item.timestamp)
        original = attrs.evolve(made_here(given, self._topic, self._scope.clock.now()), value=item.value)
        return fail(self._scope, tally, PRODUCE, BadRecord(0, item.why), 1, original)
