"""A sink stage: reads topics, applies steps, hands batches to a sink, commits what the sink has made durable."""

import time
from typing import Any

from streamweaver.contracts import Fetched, Lane
from streamweaver.errors import Fatal
from streamweaver.record import Batch, Record
from streamweaver.runtime.chain import Chain, Failure
from streamweaver.runtime.codec import decode
from streamweaver.runtime.context import SinkStageContext
from streamweaver.runtime.dead_letter import DeadLetter
from streamweaver.runtime.lane_work import Done, LaneWork
from streamweaver.runtime.lanes import run_lanes
from streamweaver.runtime.plugin_life import call, opened
from streamweaver.runtime.scope import IDLE, OpenSteps, Scope, make_steps, step_context
from streamweaver.runtime.writing import WRITE, writer

Records = list[Record]

LAZY_SECONDS = 1.0
"""How often offsets are committed that need not be: of a best-effort sink, or of one that keeps its own."""


async def run_sink(scope: Scope) -> None:
    """Run a sink stage until it is cancelled or fails."""
    use = scope.stage.use
    assert use is not None, "the graph gives each sink a plugin"
    sink = use.build()
    plugins, steps = make_steps(scope)
    context = step_context(scope)
    both = [*((plugin, context) for plugin in plugins), (sink, _sink_context(scope))]
    topics = [*scope.stage.inputs, scope.plan.replay(scope.stage.name)]
    async with opened(both, scope.log):
        scope.observers.call("stage_started", stage=scope.stage.name)
        await run_lanes(scope, topics, lambda lane: _SinkLane(scope, lane, steps, sink).run(), single=use.plugin.single)


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
    ranges = await scope.broker.ranges(topic)
    starts = {(topic, p): max(r.begin, r.end - limit) for p, r in enumerate(ranges) if r.end > r.begin and limit > 0}
    records: list[Record] = []
    if not starts:
        return records
    left = {p: r.end for p, r in enumerate(ranges) if (topic, p) in starts}
    reader = await scope.broker.reader(starts)
    try:
        while left:
            for rows in await reader.poll():
                records += decode(rows, scope.plan.topics[topic].codec)[0]
                if rows.next_offset >= left.get(rows.partition, 0):
                    left.pop(rows.partition, None)
    finally:
        await reader.close()
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
        self._own_offsets = hasattr(sink, "committed")
        self._lazy = self._own_offsets or scope.stage.delivery == "best_effort"
        self._marks: dict[tuple[str, int], int] = {}
        self._marked_at = time.monotonic()
        self._letters = DeadLetterLog(scope, lane)

    async def run(self) -> None:
        """Read, process, write, commit, again and again."""
        if self._own_offsets:
            await self._resume()
        try:
            while True:
                self._scope.activity.now(IDLE)
                fetched = await self._lane.poll(timeout=LAZY_SECONDS if self._marks else None)
                started = time.perf_counter()
                try:
                    for rows in fetched:
                        await self._take(rows)
                    if self._marks and (not self._lazy or time.monotonic() - self._marked_at >= LAZY_SECONDS):
                        await self._commit()
                except BaseException:
                    self._work.aborted()
                    raise
                if fetched:
                    received, out = self._work.tally.received, self._work.tally.out
                    self._work.committed()
                    self._scope.finish_unit(started, received, out)
        finally:
            # Spares the next start what is written already; a sink that has failed may rely on nothing more.
            if self._lazy and self._marks:
                await self._commit()

    async def _resume(self) -> None:
        """Go to the sink's own offsets where they are ahead of the group's."""
        for topic, partition in self._lane.partitions:
            own = await call(self._sink.committed, topic, partition)
            if own is not None and own > (self._lane.committed(topic, partition) or 0):
                self._lane.seek(topic, partition, own)

    async def _take(self, rows: Fetched) -> None:
        """Process and write one partition's rows."""
        scope = self._scope
        for done in await self._work.transform(rows):
            await self._letters.record(done.letters)
            records = [record for part in done.outcome.parts for record in part]
            if not records:
                continue
            self._work.tally.out += len(records)
            scope.activity.now("writing")
            # Offsets belong to the topic they were read from: for a sink that stores them that is the replay topic.
            topic = rows.topic if self._own_offsets else done.topic
            await self._write(Batch(records, topic, rows.partition, rows.offsets[0], rows.next_offset - 1), done)
            scope.metrics.latency.add_ages(scope.clock.now(), [r.timestamp for r in records if r.timestamp is not None])
        key = (rows.topic, rows.partition)
        self._marks[key] = scope.settled[key] = rows.next_offset
        if rows.timestamps:
            scope.settled_time = rows.timestamps[-1]

    async def _write_failed(self, record: Record, error: Exception, tries: int, done: Done[Records]) -> None:
        """Settle a record that the sink refuses."""
        self._work.tally.out -= 1
        failure = Failure(record.origin, WRITE, error, tries)
        await self._letters.record(self._work.fail(failure, done.rows, done.topic))

    async def _commit(self) -> None:
        """Commit what is marked, and the state of the steps."""
        unit = self._lane.begin()
        for (topic, partition), offset in self._marks.items():
            unit.mark(topic, partition, offset)
        if self._work.put_state(unit) and self._own_offsets:
            raise Fatal(
                "a step of this sink keeps state, which cannot be stored with the sink's own offset: use a flow"
            )
        self._scope.activity.now("committing")
        await unit.commit()
        self._marks.clear()
        self._marked_at = time.monotonic()


def _same(records: Records) -> Records:
    return records


class DeadLetterLog:
    """Records the dead letters of a sink's lane exactly once, each before the sink goes on."""

    def __init__(self, scope: Scope, lane: Lane) -> None:
        self._scope = scope
        self._lane = lane
        self._store = scope.plan.group(scope.stage.name) + ".dead_letters"
        self._recorded: dict[tuple[str, int], int] = {}

    async def record(self, letters: list[DeadLetter]) -> None:
        """Make dead letters durable, except those recorded before a crash."""
        new = [letter for letter in letters if letter.offset >= self._until(letter)]
        if not new:
            return
        unit = self._lane.begin()
        self._scope.letter_unit(unit, new)
        for letter in new:
            until = letter.offset + 1
            unit.put_state(self._store, letter.partition, {letter.topic.encode(): str(until).encode()})
            self._recorded[letter.topic, letter.partition] = until
        await unit.commit()

    def _until(self, letter: DeadLetter) -> int:
        place = (letter.topic, letter.partition)
        if place not in self._recorded:
            stored = self._lane.get_state(self._store, letter.partition, letter.topic.encode())
            self._recorded[place] = int(stored) if stored else 0
        return self._recorded[place]
