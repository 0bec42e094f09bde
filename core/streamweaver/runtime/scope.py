"""What the parts of one running stage share."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from streamweaver.contracts import Broker, UnitOfWork
from streamweaver.graph.plan import Plan, StagePlan
from streamweaver.hooks import Observers
from streamweaver.metrics import StageMetrics
from streamweaver.retry import RestartTracker
from streamweaver.runtime.bounds import Bounds
from streamweaver.runtime.clock import Clock
from streamweaver.runtime.context import Log, StepContext, Threads
from streamweaver.runtime.dead_letter import DeadLetter, to_rows
from streamweaver.runtime.step import Limits, Step, Tick, step_for, tick_for
from streamweaver.runtime.waiting import Waiting

IDLE = "waiting for input"
GATHERING = "gathering a batch"
STANDBY = "standing by for a share of the work"
"""Nothing of the stage's work is this process's, for now or because another worker has it."""


@attrs.define
class Activity:
    """What a stage is doing, and since when, so that one that is stuck can be named with what it waits for."""

    what: str = "starting"
    since: float = attrs.field(factory=time.monotonic)

    def now(self, what: str) -> None:
        """Begin something else."""
        self.what = what
        self.since = time.monotonic()


@attrs.define
class Blocked:
    """That a stage keeps the event loop from running; shown for a while after, since nobody could see it before."""

    at: str = ""
    seconds: float = 0.0
    _until: float = 0.0

    def begun(self, at: str) -> None:
        """Note where the loop stands."""
        self.at, self._until = at, float("inf")

    def over(self, seconds: float, shown_until: float) -> None:
        """Note that it runs again."""
        self.seconds, self._until = seconds, shown_until

    @property
    def is_shown(self) -> bool:
        """Whether it is to be told."""
        return time.monotonic() < self._until


@attrs.define(kw_only=True)
class Scope:
    """One stage in one process, over all its restarts."""

    plan: Plan
    stage: StagePlan
    broker: Broker
    clock: Clock
    data_dir: Path
    log: Log
    redact: Callable[[str], str]
    observers: Observers
    progressed: Callable[[], None]
    """Called after each unit of work and whenever the stage's state changes."""
    metrics: StageMetrics = attrs.field(factory=StageMetrics)
    threads: Threads = attrs.field(factory=Threads)
    activity: Activity = attrs.field(factory=Activity)
    blocked: Blocked = attrs.field(factory=Blocked)
    turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    """Held around each call of a plugin that may wait: lanes of a stage share its plugins, which run once at a time."""
    restarts: RestartTracker = attrs.field()
    settled: dict[tuple[str, int], int] = attrs.field(factory=dict)
    """(topic, partition) to the next offset that the stage will settle; what lag is measured by."""
    waiting: dict[tuple[str, int], Waiting] = attrs.field(factory=dict)
    """(topic, partition) to what has been seen to wait there."""
    held: set[tuple[str, int]] = attrs.field(factory=set)
    """(topic, partition) of each share of the work that is this process's, also while the stage waits to restart."""
    bounds: Bounds = attrs.field(factory=Bounds)
    """How far a sink may have come by its own offsets."""
    told_behind: set[tuple[str, int]] = attrs.field(factory=set)
    """(topic, partition) for which the log has said that the sink's own offset is behind the group's."""
    lanes: int = 0
    """Lanes that run here; none while the stage stands by for another worker."""
    hurry: bool = False
    """Nothing more is to be waited for that only may come: the run is ending."""
    ended: bool = False
    """A producer has come to its end, and keeps its lane so that no other worker begins it anew."""
    up: bool = False
    """Whether the stage has been up in this process: opened, and a producer has brought something."""
    error: str | None = None
    """Why the stage is not running, while it waits for its restart."""

    @restarts.default
    def _restarts(self) -> RestartTracker:
        policy = self.stage.restart
        return RestartTracker(policy.attempts, policy.reset_seconds, policy.backoff)

    @property
    def sink_threads(self) -> Threads | None:
        """Where the methods of the stage's sink run; None for the event loop's own thread."""
        return self.threads if self.stage.use is not None and self.stage.use.plugin.blocking else None

    @property
    def limits(self) -> Limits:
        """How the stage bounds and repeats calls."""
        retry = self.stage.retry
        return Limits(self.stage.timeout_seconds, 1, retry.attempts, retry.backoff)

    def letter_unit(self, unit: UnitOfWork, letters: list[DeadLetter]) -> None:
        """Put dead letters into a unit of work."""
        if letters:
            unit.append(self.plan.dead_letters, 0, to_rows(letters, self.broker.max_record_bytes))

    def finish_unit(self, started: float, received: int, out: int) -> None:
        """Account for a unit that has become durable; `started` is when its input was there."""
        seconds = time.perf_counter() - started
        self.metrics.units += 1
        self.metrics.processing.add(seconds * 1000)
        if self.observers.wants("unit_done"):
            self.observers.call("unit_done", stage=self.stage.name, received=received, out=out, seconds=seconds)
        self.progressed()


@attrs.define
class OpenSteps:
    """A stage's transforms while they are open."""

    steps: list[Step]
    ticks: list[Tick | None]
    names: list[str]

    @property
    def tick(self) -> bool:
        """Whether any step wants to be called as time passes."""
        return any(tick is not None for tick in self.ticks)


def make_steps(scope: Scope) -> tuple[list[object], OpenSteps]:
    """Build a stage's transforms; returns the plugins (to open and close) and their runners."""
    plugins, steps, ticks = [], [], []
    for step in scope.stage.steps:
        transform = step.use.build()
        limits = attrs.evolve(scope.limits, concurrency=step.concurrency)
        plugins.append(transform)
        steps.append(step_for(step.name, transform, limits, step.use.plugin.blocking))
        ticks.append(tick_for(transform, limits, step.use.plugin.blocking))
    return plugins, OpenSteps(steps, ticks, [step.name for step in scope.stage.steps])


def step_context(scope: Scope) -> StepContext:
    """Make a context for `open`, and to make a partition's contexts of."""
    return StepContext(scope.plan.name, scope.stage.name, scope.clock, scope.metrics, scope.log, scope.threads)
