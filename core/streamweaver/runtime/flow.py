"""A flow: reads topics, applies steps, writes a topic; one unit of work over all that waits."""

import time

from streamweaver.contracts import Fetched, Lane, Rows, UnitOfWork
from streamweaver.record import Record
from streamweaver.runtime.chain import ENCODE, Chain, Outcome
from streamweaver.runtime.codec import Encoder
from streamweaver.runtime.committing import commit
from streamweaver.runtime.dead_letter import DeadLetter
from streamweaver.runtime.failing import fail, made_here
from streamweaver.runtime.lane_work import PIECE_RECORDS, LaneWork
from streamweaver.runtime.lanes import run_lanes
from streamweaver.runtime.plugin_life import opened
from streamweaver.runtime.scope import IDLE, OpenSteps, Scope, make_steps, step_context

Encoded = dict[int, Rows]

UNIT_RECORDS = 20_000
"""Records that one unit of work covers at most: many share what a commit costs, above all a transaction on Kafka."""

TICK_SECONDS = 1.0
"""How often steps are told that time has passed."""


async def run_flow(scope: Scope) -> None:
    """Run a flow until it is cancelled or fails."""
    plugins, steps = make_steps(scope)
    context = step_context(scope)
    topics = scope.plan.reads(scope.stage)
    async with opened([(plugin, context) for plugin in plugins], scope.log):
        scope.up = True
        scope.observers.call("stage_started", stage=scope.stage.name)
        await run_lanes(scope, topics, lambda lane: _Flow(scope, lane, steps).run())


class _Flow:
    """One lane of a flow."""

    def __init__(self, scope: Scope, lane: Lane, steps: OpenSteps) -> None:
        assert scope.stage.output is not None, "the graph gives each flow an output"
        topic = scope.plan.topics[scope.stage.output]
        self._scope = scope
        self._lane = lane
        self._output = topic.name
        self._encoder = Encoder(topic.codec, topic.spec.partitions, scope.stage.key, scope.broker.max_record_bytes)
        self._home = 0
        self._ticks = steps.tick
        self._work = LaneWork(
            scope, lane, steps, Chain[Encoded](steps.steps, self._encode, scope.limits), PIECE_RECORDS
        )

    def _encode(self, records: list[Record]) -> Encoded:
        return self._encoder.encode(records, self._home, self._scope.clock.now())

    async def run(self) -> None:
        """Read, process, commit, again and again."""
        scope, lane = self._scope, self._lane
        next_tick = scope.clock.monotonic() + TICK_SECONDS
        while True:
            scope.activity.now(IDLE)
            wait = max(0.0, next_tick - scope.clock.monotonic()) if self._ticks else None
            fetched = await lane.poll(max_records=UNIT_RECORDS, timeout=wait)
            started = time.perf_counter()
            unit = lane.begin()
            try:
                letters: list[DeadLetter] = []
                for rows in fetched:
                    # Records without a key stay together: in the partition with the number of their input's.
                    self._home = rows.partition
                    for part in self._work.parts(rows):
                        done = await self._work.transform(part)
                        letters += done.letters.values()
                        self._append(unit, done.outcome)
                    unit.mark(rows.topic, rows.partition, rows.next_offset)
                if self._ticks and scope.clock.monotonic() >= next_tick:
                    for partition, topic in self._work.places().items():
                        self._home = partition
                        outcome = await self._work.tick(partition, topic)
                        self._append(unit, outcome)
                        letters += self._unfinished(outcome)
                    next_tick = scope.clock.monotonic() + TICK_SECONDS
                scope.letter_unit(unit, letters)
                cancelled = None
                if self._work.put_state(unit) or fetched or letters or self._work.tally.out:
                    scope.activity.now("committing")
                    cancelled = await commit(unit)
            except BaseException:
                await unit.abort()
                self._work.aborted()
                raise
            self._committed(fetched, started)
            if cancelled is not None:
                raise cancelled

    def _append(self, unit: UnitOfWork, outcome: Outcome[Encoded]) -> None:
        self._work.tally.out += outcome.outputs
        for part in outcome.parts:
            for partition, rows in part.items():
                unit.append(self._output, partition, rows)

    def _unfinished(self, outcome: Outcome[Encoded]) -> list[DeadLetter]:
        """Settle the records of ticks that cannot be encoded."""
        letters = []
        for record, error in outcome.unfinished:
            self._work.tally.added += 1
            original = made_here(record, self._scope.plan.topics[self._output], self._scope.clock.now())
            letters += fail(self._scope, self._work.tally, ENCODE, error, 1, original)
        return letters

    def _committed(self, fetched: list[Fetched], started: float) -> None:
        received, out = self._work.tally.received, self._work.tally.out
        self._work.committed()
        now = self._scope.clock.now()
        for rows in fetched:
            self._scope.settled[rows.topic, rows.partition] = rows.next_offset
            if rows.timestamps:
                self._scope.metrics.latency.add_ages(now, rows.timestamps)
        if received or out:
            self._scope.finish_unit(started, received, out)
