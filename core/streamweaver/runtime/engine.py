"""Running a whole pipeline in one process: start, watch, drain, stop."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import attrs

from streamweaver.config import suggest
from streamweaver.config.model import DELIVERIES
from streamweaver.contracts import Broker, BrokerContext, TopicSpec
from streamweaver.errors import BrokerError, Fatal, RunError, StorageError, StreamWeaverError
from streamweaver.graph.plan import Plan, StagePlan
from streamweaver.hooks import Observers, Surroundings
from streamweaver.runtime.beside import Beside
from streamweaver.runtime.bounds import Bounds
from streamweaver.runtime.clock import Clock
from streamweaver.runtime.context import Log
from streamweaver.runtime.flow import run_flow
from streamweaver.runtime.lag import measure
from streamweaver.runtime.producer import Stop, run_producer
from streamweaver.runtime.report import METRICS_SPEC, Reporter
from streamweaver.runtime.scope import Scope
from streamweaver.runtime.sink import run_sink
from streamweaver.runtime.watchdog import Watchdog
from streamweaver.text import clean, said

ALERTS_SPEC = TopicSpec(name="", partitions=1, retention_ms=30 * 86_400_000, retention_bytes=64 * 1024 * 1024)
"""The topic of alerts: a month of them."""

CLOSE_SECONDS = 10.0
"""How long plugins may take to close, once everything is stored or given back."""

LAST_WORD_SECONDS = 3.0
"""How long the broker may take for the last figures: nobody is to wait for an end because it is away."""

_MARKS_LONGER_MS = 8 * 24 * 3600 * 1000
"""How much longer marks are kept than the letters they are of: a letter whose mark is gone would be replayed again, and
Kafka keeps a record until all of its segment is too old, a week more unless its topic says otherwise."""


@attrs.frozen(kw_only=True)
class RunOptions:
    """How one run differs from another of the same pipeline."""

    duration_seconds: float | None = None
    until_idle: bool = False
    only: frozenset[str] | None = None
    """Names of the stages to run; None for all."""
    worker: str = "0"
    """Name of this process among those that run the pipeline."""
    led: bool = False
    """Whether somebody else knows all workers and says, by `release`, when everything has gone through."""


@attrs.frozen
class Standing:
    """Where one worker stands, for who decides for all of them."""

    ended: list[str]
    """Producers that came to their end here."""
    busy: list[str]
    """Producers that bring records here."""
    quiet: bool
    """Nothing is in flight here, and no stage has lag, whichever worker it waits for."""


@attrs.frozen
class Summary:
    """How a run ended."""

    counts: dict[str, dict[str, int]]
    drained: bool
    error: str | None = None


class Engine:
    """One run of a pipeline. `run` once; `stop` and `abort` from signal handlers."""

    def __init__(
        self,
        plan: Plan,
        options: RunOptions,
        *,
        data_dir: Path,
        clock: Clock,
        log: Log,
        redact: Callable[[str], str],
        observers: Observers,
    ) -> None:
        self.plan = plan
        self._options = options
        self._data_dir = data_dir
        self._clock = clock
        self._log = log
        self._redact = redact
        self._observers = observers
        self._broker: Broker = plan.broker.build()
        self._stops: dict[str, Stop] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._error: str | None = None
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ending = False
        self._over = asyncio.Event()
        """Set when nothing more is waited for: the pipeline has failed, or is to end at once."""
        self._left_behind: set[str] = set()
        self._released = False
        self.scopes = {stage.name: self._scope(stage) for stage in self._chosen()}
        self._reporter = Reporter(plan, self._broker, clock, self.scopes, observers, log, options.worker)

    def _chosen(self) -> list[StagePlan]:
        only = self._options.only
        for name in sorted((only or frozenset()) - self.plan.stages.keys()):
            known = suggest(name, self.plan.stages) or f"; stages are {', '.join(self.plan.stages)}"
            raise RunError(f"no stage is named {name!r}{known}")
        return [stage for stage in self.plan.stages.values() if only is None or stage.name in only]

    def _scope(self, stage: StagePlan) -> Scope:
        return Scope(
            plan=self.plan,
            stage=stage,
            broker=self._broker,
            clock=self._clock,
            data_dir=self._data_dir,
            log=self._log,
            redact=self._redact,
            observers=self._observers,
            progressed=self._wake.set,
        )

    # -- from outside -----------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop producers, let what is under way flow out, then end; at most `drain_timeout` long."""
        self._stopping.set()
        self._wake.set()

    def abort(self) -> None:
        """End now. What is not durable is given back, and the next start goes on from there."""
        self._stopping.set()
        self._over.set()
        self._wake.set()

    def release(self) -> None:
        """End now, drained: all workers together have nothing left (for a run that is `led`)."""
        self._released = True
        self.stop()

    async def standing(self) -> Standing:
        """Say where this worker stands; the lag is asked for only when no producer runs here."""
        producers = {name: scope for name, scope in self.scopes.items() if scope.stage.kind == "producer"}
        ended = [name for name, scope in producers.items() if scope.ended]
        busy = [name for name, scope in producers.items() if scope.lanes and not scope.ended]
        try:
            quiet = not busy and await self._idle()
        except BrokerError:
            # The stages meet the same error and decide what follows from it.
            quiet = False
        return Standing(ended, busy, quiet)

    async def run(self) -> Summary:
        """Run until stopped, idle (if asked to), or failed; a failure of the pipeline is in the summary.

        Raises only what `open` of the broker raises: then nothing has been started.
        """
        asked = max((stage.delivery for stage in self.plan.stages.values()), key=DELIVERIES.index)
        context = BrokerContext(
            pipeline=self.plan.name,
            data_dir=self._data_dir,
            worker=self._options.worker,
            delivery=asked,
            log=self._log,
        )
        await self._broker.open(context)
        drained = False
        beside = Beside(self._log)
        watchdog = Watchdog(self._log)
        watchdog.start()
        try:
            drained = await self._run_stages(beside)
        except StreamWeaverError as error:
            self._error = self._error or self._told(error)
        finally:
            await beside.end()
            await self._broker.close()
            watchdog.stop()
            self._observers.call("pipeline_stopped", pipeline=self.plan.name, error=self._error)
        counts = {name: scope.metrics.counts() for name, scope in self.scopes.items()}
        return Summary(counts, drained and self._error is None, self._error)

    async def _run_stages(self, beside: Beside) -> bool:
        """Run the stages on the open broker; returns whether everything was drained."""
        await self._broker.create(self._topics())
        await self._set_bounds()
        self._observers.call(
            "pipeline_starting",
            pipeline=self.plan.name,
            stages=list(self.scopes),
            surroundings=Surroundings(plan=self.plan, broker=self._broker, log=self._log, beside=beside.start),
        )
        self._start()
        reporting = asyncio.create_task(self._reporter.run())
        try:
            await self._until_told()
            drained = await self._drain()
            if self._error is None:
                self._blame_failed()
        finally:
            reporting.cancel()
            await self._end_all()
            await asyncio.wait({reporting})
        if self._error is None:
            self._check_balance()
        try:
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self._reporter.publish()
        except TimeoutError:
            self._log("warning", "the last figures were not published", waited_seconds=LAST_WORD_SECONDS)
        return drained

    # -- phases -----------------------------------------------------------------------------------

    async def _set_bounds(self) -> None:
        """Write down where the topics end of sinks that keep their own offsets, before anything is added to them."""
        # Also of those that do not run now.
        for stage in self.plan.stages.values():
            if not stage.keeps_offsets:
                continue
            bounds = Bounds(self._data_dir / "bounds" / f"{stage.name}.json")
            if stage.name in self.scopes:
                self.scopes[stage.name].bounds = bounds
            # Where workers share the work topics are never at rest, and sinks may be at work elsewhere.
            if not self._broker.shares_work:
                ends: dict[tuple[str, int], int] = {}
                for topic in self.plan.reads(stage):
                    ends |= {(topic, number): held.end for number, held in enumerate(await self._broker.ranges(topic))}
                bounds.note(ends)

    def _topics(self) -> list[TopicSpec]:
        def widest(stage: StagePlan) -> int:
            return max(self.plan.topics[name].spec.partitions for name in stage.inputs)

        replays = [
            TopicSpec(name=self.plan.replay(stage.name), partitions=widest(stage))
            for stage in self.plan.stages.values()
            if stage.inputs
        ]
        letters_ms = self.plan.letter_retention_ms
        own = [
            TopicSpec(name=self.plan.dead_letters, retention_ms=letters_ms),
            TopicSpec(name=self.plan.settled_letters, retention_ms=letters_ms and letters_ms + _MARKS_LONGER_MS),
            attrs.evolve(METRICS_SPEC, name=self.plan.metrics),
        ]
        if self.plan.dashboard.rules:
            own.append(attrs.evolve(ALERTS_SPEC, name=self.plan.alerts))
        return [*(topic.spec for topic in self.plan.topics.values()), *own, *replays]

    def _start(self) -> None:
        # Readers first, so that no record waits for its reader to open.
        for scope in sorted(self.scopes.values(), key=lambda scope: scope.stage.kind == "producer"):
            name = scope.stage.name
            self._tasks[name] = asyncio.create_task(self._supervise(scope), name=name)

    async def _supervise(self, scope: Scope) -> None:
        """Run a stage, and start it again after failures as its restart policy says."""
        name = scope.stage.name
        while True:
            started = self._clock.monotonic()
            try:
                await self._run_stage(scope)
                break
            except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # whatever a plugin raises: nobody else looks at how this task ends
                wait = self._failed(scope, error, self._clock.monotonic() - started)
                if wait is None or self._ending:
                    return
                if not await self._pause(scope, wait):
                    break
                scope.error = None
                scope.metrics.restarts += 1
                scope.metrics.waits_for = None
                scope.activity.now("starting")
        scope.activity.now("ended")
        self._observers.call("stage_ended", stage=name)
        self._wake.set()

    async def _run_stage(self, scope: Scope) -> None:
        if scope.stage.kind == "producer":
            stop = self._stops[scope.stage.name] = Stop()
            if not self._stopping.is_set():
                await run_producer(scope, stop)
        elif scope.stage.kind == "flow":
            await run_flow(scope)
        else:
            await run_sink(scope)

    async def _pause(self, scope: Scope, seconds: float) -> bool:
        """Wait before a restart; returns whether there is still something to start (a stop needs no producer)."""
        if scope.stage.kind != "producer":
            await self._clock.sleep(seconds)
            return True
        waits = [asyncio.create_task(self._clock.sleep(seconds)), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._stopping.is_set()

    def _failed(self, scope: Scope, error: BaseException, ran: float) -> float | None:
        """Note a stage's failure; return the wait before its restart, or None when the pipeline has failed."""
        name = scope.stage.name
        text = self._told(error)
        if not isinstance(error, StreamWeaverError):
            text = f"{type(error).__name__}: {text}"
        # What has never worked will not work by being tried again, or its plugin would have raised Retriable.
        unusable = isinstance(error, Fatal) and not scope.up
        final = unusable or isinstance(error, RunError)
        wait = None if final else scope.restarts.failed(ran)
        scope.error = text
        # What it had settled may not have been committed; its lag is measured by that again.
        scope.settled.clear()
        self._observers.call("stage_failed", stage=name, error=text, restart_in=wait)
        if wait is None:
            scope.activity.now("failed")
            tried = "" if final or not scope.restarts.attempts else f" (after {scope.restarts.attempts} restarts)"
            place = f"{scope.stage.place}: " if unusable and scope.stage.place.line else ""
            self._error = self._error or f"{place}stage {name}: {text}{tried}"
            self._log("error", "stage failed for good", stage=name, error=text)
            self.abort()
        else:
            scope.activity.now(f"waiting for its restart after: {text}")
            self._log("warning", "stage failed", stage=name, error=text, restart_in_seconds=round(wait, 1))
        return wait

    def _told(self, error: BaseException) -> str:
        """Return an error's text as everybody may have it: without secrets, and such that it can be stored and sent."""
        return clean(self._redact(said(error)))

    async def _until_told(self) -> None:
        """Wait for the reason to end."""
        ends_at = None
        if self._options.duration_seconds is not None:
            ends_at = self._clock.monotonic() + self._options.duration_seconds
        while not self._stopping.is_set():
            left = None if ends_at is None else max(0.0, ends_at - self._clock.monotonic())
            if self._options.until_idle and self._producers_ended():
                self._hurry()
                if await self._idle_unless(self._stopping, left):
                    return
            if left == 0:
                return
            await self._next_change(left)

    async def _next_change(self, most_seconds: float | None) -> None:
        # Without a change nothing is looked at; but a stage that waits for its restart makes none.
        try:
            async with asyncio.timeout(1.0 if most_seconds is None else max(0.0, min(1.0, most_seconds))):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _drain(self) -> bool:
        """Stop the producers, then wait until everything they made has gone through; returns whether it has."""
        self._stopping.set()
        self._hurry()
        for stop in self._stops.values():
            stop.request()
        deadline = self._clock.monotonic() + self.plan.drain_seconds
        while not self._over.is_set():
            left = max(0.0, deadline - self._clock.monotonic())
            if self._released:
                return True
            if not self._options.led and self._producers_stopped() and await self._idle_unless(self._over, left):
                return True
            if not left:
                self._log("warning", "not everything has gone through in time", seconds=self.plan.drain_seconds)
                break
            await self._next_change(left)
        return False

    def _hurry(self) -> None:
        for scope in self.scopes.values():
            scope.hurry = True

    def _producers_ended(self) -> bool:
        return all(task.done() or scope.ended for task, scope in self._producers())

    def _producers_stopped(self) -> bool:
        """Whether none brings anything any more: one that stands by for another worker never did."""
        return all(task.done() or scope.ended or not scope.lanes for task, scope in self._producers())

    def _producers(self) -> list[tuple[asyncio.Task[None], Scope]]:
        scopes = [(self._tasks[name], scope) for name, scope in self.scopes.items() if name in self._tasks]
        return [(task, scope) for task, scope in scopes if scope.stage.kind == "producer"]

    async def _idle_unless(self, event: asyncio.Event, most_seconds: float | None = None) -> bool:
        """Whether no stage has lag; False when that is not known by the time or the event that is waited for."""
        waits = [asyncio.create_task(self._idle()), asyncio.create_task(event.wait())]
        try:
            await asyncio.wait(waits, timeout=most_seconds, return_when=asyncio.FIRST_COMPLETED)
            return waits[0].done() and bool(waits[0].result())
        except StorageError:
            # It may pass; the stages meet the same error and decide what follows from it.
            return False
        finally:
            for wait in waits:
                wait.cancel()

    async def _idle(self) -> bool:
        """Whether no stage has lag. Writers are looked at before readers; loops of topics ask for a second look."""
        for _ in range(2):
            for scope in self.scopes.values():
                # Offsets may be committed a moment before the stage knows it and has counted.
                if scope.metrics.in_flight > 0:
                    return False
                if scope.stage.inputs and (await measure(scope, self._broker)).records:
                    return False
        return True

    async def _end_all(self) -> None:
        self._ending = True
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks.values(), timeout=CLOSE_SECONDS)
            for task in stuck:
                at = self.scopes[task.get_name()].activity.what
                self._log("error", "stage does not end, and is left behind", stage=task.get_name(), at=at)
                self._left_behind.add(task.get_name())
        for scope in self.scopes.values():
            scope.threads.close()

    def _blame_failed(self) -> None:
        """A stage that waited for its restart when the end came has not done its work."""
        for name, scope in self.scopes.items():
            if scope.error is not None:
                self._error = f"stage {name}: {scope.error} (stopped before its restart)"
                return

    def _check_balance(self) -> None:
        for name, scope in self.scopes.items():
            if name in self._left_behind:
                continue  # what it holds in flight nobody will settle any more
            try:
                scope.metrics.check_balance(name)
            except StreamWeaverError as error:
                self._error = str(error)
