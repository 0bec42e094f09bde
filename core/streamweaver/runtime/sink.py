"""A sink stage: reads topics, applies steps, hands batches to a sink, commits what the sink has made durable."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from streamweaver.contracts import Fetched, Lane, UnitOfWork
from streamweaver.errors import BrokerError, RunError
from streamweaver.graph.plan import PluginUse
from streamweaver.record import Batch, Record
from streamweaver.runtime.chain import Chain, Failure
from streamweaver.runtime.codec import decode
from streamweaver.runtime.committing import commit
from streamweaver.runtime.context import SinkStageContext
from streamweaver.runtime.dead_letter import DeadLetter, note, noted, notes_store
from streamweaver.runtime.gather import Gatherer
from streamweaver.runtime.lane_work import LaneWork, Part
from streamweaver.runtime.lanes import run_lanes
from streamweaver.runtime.plugin_life import call, opened
from streamweaver.runtime.reading import through
from streamweaver.runtime.scope import GATHERING, IDLE, OpenSteps, Scope, make_steps, step_context
from streamweaver.runtime.writing import WRITE, Handed, writer

Records = list[Record]

HURRY_SECONDS = 0.2
"""How often a sink that gathers a batch looks whether the run is ending."""

LAZY_SECONDS = 1.0
"""How often offsets are committed that need not be: of a best-effort sink, or of one that keeps its own."""


async def run_sink(scope: Scope) -> None:
    """Run a sink stage until it is cancelled or fails."""
    use = scope.stage.use
    assert use is not None, "the graph gives each sink a plugin"
    topics = scope.plan.reads(scope.stage)
    if use.plugin.single:
        # Opened with the lane: in workers that stand by, its port or its file must be left alone.
        async def run_alone(lane: Lane) -> None:
            async with _opened(scope, use) as (sink, steps):
                await _SinkLane(scope, lane, steps, sink).run()

        await run_lanes(scope, topics, run_alone, single=True)
    else:
        async with _opened(scope, use) as (sink, steps):
            await run_lanes(scope, topics, lambda lane: _SinkLane(scope, lane, steps, sink).run())


@asynccontextmanager
async def _opened(scope: Scope, use: PluginUse) -> AsyncIterator[tuple[Any, OpenSteps]]:
    """Open a sink and its steps."""
    sink = use.build()
    plugins, steps = make_steps(scope)
    context = step_context(scope)
    both = [*((plugin, context) for plugin in plugins), (sink, _sink_context(scope))]
    async with opened(both, scope.log):
        scope.up = True
        scope.observers.call("stage_started", stage=scope.stage.name)
        yield sink, steps


def _sink_context(scope: Scope) -> SinkStageContext:
    folder = scope.data_dir / "stages" / scope.stage.name
    folder.mkdir(parents=True, exist_ok=True)

    async def history(topic: str, limit: int) -> list[Record]:
        return await _newest(scope, topic, limit)

    return SinkStageContext(
        scope.plan.name,
        scope.stage.name,
        scope.clock,
        scope.metrics,
        scope.log,
        scope.threads,
        topics=scope.stage.inputs,
        data_dir=folder,
        read_history=history,
    )


async def _newest(scope: Scope, topic: str, limit: int) -> list[Record]:
    """Read the newest records of all partitions of a topic, by time."""
    if limit <= 0:
        return []
    starts = {number: held.end - limit for number, held in enumerate(await scope.broker.ranges(topic))}
    records: list[Record] = []
    async for rows in through(scope.broker, topic, starts):
        records += decode(rows, scope.plan.topics[topic].codec)[0]
    records.sort(key=lambda record: record.timestamp or 0)
    return records[-limit:]


class _SinkLane:
    """One lane of a sink stage.

    A sink and the broker cannot commit together, so what is certain to happen once is arranged by order: first dead
    letters, with a note (in the lane's state) of how far they are recorded, then the write, then the offset. After a
    crash in between, records may be written again (unless the sink keeps its own offset), but no dead letter is
    recorded twice and none is missing.
    """

    def __init__(self, scope: Scope, lane: Lane, steps: OpenSteps, sink: Any) -> None:
        self._scope = scope
        self._lane = lane
        self._sink = sink
        self._work = LaneWork(scope, lane, steps, Chain[Records](steps.steps, _same, scope.limits))
        self._write = writer(scope, sink, self._write_failed)
        self._own_offsets = scope.stage.keeps_offsets
        self._lazy = self._own_offsets or scope.stage.delivery == "best_effort"
        self._marks: dict[tuple[str, int], int] = {}
        self._marked_at = time.monotonic()
        self._letters = DeadLetterLog(scope, lane)
        batch = scope.stage.batch
        self._gatherer = None if batch is None else Gatherer(batch.records, batch.wait_seconds)

    async def run(self) -> None:
        """Read, process, write, commit, again and again."""
        if self._own_offsets:
            await self._resume()
        self._scope.bounds.fits(self._lane.partitions)
        try:
            while True:
                fetched = await self._next()
                started = time.perf_counter()
                before = dict(self._marks)
                cancelled = None
                try:
                    await self._take(fetched)
                    # State is stored with the offsets that it follows from, so it is never put off.
                    due = not self._lazy or time.monotonic() - self._marked_at >= LAZY_SECONDS or self._work.changed
                    if self._marks and due:
                        cancelled = await self._commit()
                except BaseException:
                    self._work.aborted()
                    self._marks = before
                    raise
                if fetched:
                    received, out = self._work.tally.received, self._work.tally.out
                    self._work.committed()
                    self._scope.settled.update({(rows.topic, rows.partition): rows.next_offset for rows in fetched})
                    self._scope.finish_unit(started, received, out)
                if cancelled is not None:
                    raise cancelled
        finally:
            # Spares the next start what is written already; nothing relies on it.
            if self._lazy and self._marks:
                try:
                    await self._commit()
                except BrokerError as error:
                    self._scope.log("warning", "offsets not committed", stage=self._scope.stage.name, error=str(error))

    async def _next(self) -> list[Fetched]:
        """Wait for what is to be written next; nothing when it is only time to commit what was put off."""
        scope, gatherer = self._scope, self._gatherer
        if gatherer is None:
            scope.activity.now(IDLE)
            return await self._lane.poll(timeout=LAZY_SECONDS if self._marks else None)
        while True:
            left = gatherer.seconds_left(time.monotonic())
            if left is None:
                scope.activity.now(IDLE)
            elif scope.activity.what != GATHERING:
                scope.activity.now(GATHERING)
            waits = [*([LAZY_SECONDS] if self._marks else []), *([left, HURRY_SECONDS] if left is not None else [])]
            gatherer.add(await self._lane.poll(timeout=min(waits, default=None)), time.monotonic())
            due = gatherer.take(time.monotonic(), hurry=scope.hurry)
            if due or self._marks:
                return due

    async def _resume(self) -> None:
        """Go to the sink's own offsets where they are ahead of the group's."""
        bounds = self._scope.bounds
        for topic, partition in self._lane.partitions:
            own = await call(self._sink.committed, topic, partition, threads=self._scope.sink_threads)
            committed = self._lane.committed(topic, partition) or 0
            if (own or 0) < committed:
                self._tell_behind(topic, partition, own, committed)
            elif own is not None and own > committed:
                end = (await self._scope.broker.ranges(topic))[partition].end
                bound = bounds.get((topic, partition))
                end = end if bound is None else min(end, bound)
                if own > end:
                    # It would pass over everything up to there in silence: now, or as soon as so much has come.
                    bounds.note({(topic, partition): end})
                    raise RunError(
                        f"the sink holds topic {topic}, partition {partition}, up to offset {own}, but it ended at "
                        f"{end} when the run began: it was made anew, or is of an earlier moment; restore both of one "
                        "moment, or have the sink start anew"
                    )
                self._lane.seek(topic, partition, own)
                # Settled, though the mark was lost: else the stage would seem to lag until the next record comes.
                self._marks[topic, partition] = self._scope.settled[topic, partition] = own

    def _tell_behind(self, topic: str, partition: int, own: int | None, committed: int) -> None:
        """Say once a partition that the sink holds less than the group has passed."""
        scope = self._scope
        if (topic, partition) not in scope.told_behind:
            scope.told_behind.add((topic, partition))
            scope.log(
                # Where steps may drop records it is nothing unusual.
                "info" if scope.stage.steps else "warning",
                "the sink holds less than the stage has committed; what it lost, if anything, is not written again",
                stage=scope.stage.name,
                topic=topic,
                partition=partition,
                sink_offset=own,
                stage_offset=committed,
            )

    async def _take(self, fetched: list[Fetched]) -> None:
        """Process and write what was read; a sink that takes several batches at once gets all of it in one call."""
        handed: list[Handed] = []
        for rows in fetched:
            for part in self._work.parts(rows):
                batch = await self._batch(part)
                if batch is not None:
                    handed.append((batch, part))
                if handed and not self._write.together:
                    await self._hand_over(handed)
                    handed = []
        if handed:
            await self._hand_over(handed)
        self._marks.update({(rows.topic, rows.partition): rows.next_offset for rows in fetched})

    async def _batch(self, part: Part) -> Batch | None:
        """Process a part and record its dead letters; returns what is left to be written, None for nothing."""
        done = await self._work.transform(part)
        if self._own_offsets and self._work.changed:
            # Before the write: behind it the sink would go on without the state.
            raise RunError(
                "a step of this sink keeps state, which cannot be stored with the sink's own offset; use a flow"
            )
        await self._letters.record(part, done.letters)
        records = [record for made in done.outcome.parts for record in made]
        if not records:
            return None
        # A sink that keeps its own offsets needs the topic that they count in, also for replayed records.
        topic, offsets = (part.rows.topic, part.rows.offsets) if self._own_offsets else (part.topic, part.offsets)
        first, last = part.rows.offsets[0], part.rows.next_offset - 1
        return Batch(records, topic, part.rows.partition, first, last, row_offsets=offsets)

    async def _hand_over(self, handed: list[Handed]) -> None:
        """Write batches, and account for them."""
        scope = self._scope
        self._work.tally.out += sum(len(batch) for batch, _ in handed)
        scope.activity.now("writing")
        async with scope.turn:
            await self._write(handed)
        now = scope.clock.now()
        for batch, _ in handed:
            scope.metrics.latency.add_ages(now, [r.timestamp for r in batch.records if type(r.timestamp) is int])

    async def _write_failed(self, record: Record, error: Exception, part: Part) -> None:
        """Settle a record that the sink refuses."""
        self._work.tally.out -= 1
        letter = self._work.fail(Failure(record.origin, WRITE, error, 1), part)
        if letter is not None:
            await self._letters.record(part, {record.origin: letter})

    async def _commit(self) -> asyncio.CancelledError | None:
        """Commit what is marked, and the state of the steps; see `commit` on what it returns."""
        unit = self._lane.begin()
        for (topic, partition), offset in self._marks.items():
            unit.mark(topic, partition, offset)
        self._work.put_state(unit)
        self._letters.forget(unit, self._marks)
        self._scope.activity.now("committing")
        cancelled = await commit(unit)
        self._marks.clear()
        self._marked_at = time.monotonic()
        return cancelled


def _same(records: Records) -> Records:
    return records


class DeadLetterLog:
    """Records the dead letters of a sink's lane exactly once, each before the sink goes on.

    Which records have a letter already is noted with the letter, until the offset behind them is committed.
    """

    def __init__(self, scope: Scope, lane: Lane) -> None:
        self._scope = scope
        self._lane = lane
        self._store = notes_store(scope.plan.group(scope.stage.name))
        self._recorded: set[tuple[str, int, int]] = set()
        for partition in {partition for _, partition in lane.partitions}:
            for key, _ in lane.state_items(self._store, partition):
                topic, offset = noted(key)
                self._recorded.add((topic, partition, offset))

    async def record(self, part: Part, letters: Mapping[int, DeadLetter]) -> None:
        """Make dead letters, by the index of their row, durable, except those recorded before a crash."""
        rows = part.rows
        places = {(rows.topic, rows.partition, rows.offsets[index]): letter for index, letter in letters.items()}
        new = {place: letter for place, letter in places.items() if place not in self._recorded}
        if not new:
            return
        unit = self._lane.begin()
        self._scope.letter_unit(unit, list(new.values()))
        unit.put_state(self._store, rows.partition, {note(topic, offset): b"" for topic, _, offset in new})
        cancelled = await commit(unit)
        self._recorded |= new.keys()
        if cancelled is not None:
            raise cancelled

    def forget(self, unit: UnitOfWork, marks: Mapping[tuple[str, int], int]) -> None:
        """Drop the notes on records that a unit consumes for good."""
        done = [place for place in self._recorded if place[2] < marks.get(place[:2], 0)]
        for topic, partition, offset in done:
            unit.put_state(self._store, partition, {note(topic, offset): None})
        # If the commit fails the lane ends with it, and the next one reads the notes again.
        self._recorded.difference_update(done)
