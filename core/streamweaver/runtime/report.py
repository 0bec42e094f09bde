"""The figures of all stages, about once a second: told to the observers here, and published in the metrics topic."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from streamweaver.contracts import Broker, Rows, TopicSpec
from streamweaver.errors import StorageError
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.runtime.clock import Clock
from streamweaver.runtime.context import Log
from streamweaver.runtime.lag import Lag, measure
from streamweaver.runtime.scope import GATHERING, IDLE, STANDBY, Scope
from streamweaver.text import classed

METRICS_SPEC = TopicSpec(name="", partitions=1, retention_ms=3_600_000, retention_bytes=64 * 1024 * 1024)
"""The metrics topic: an hour of it."""

PERIOD_SECONDS = 1.0

STUCK_SECONDS = 10.0
"""A stage that has input and has been at the same thing this long is called stuck."""

PATIENCE_SECONDS = 0.5
"""How long figures wait for the broker's part of them, and for being stored, before they and the next go without."""

AWAY_SECONDS = 3.0
"""A broker that has not answered for so long is what its stages wait for."""

QUESTION_SECONDS = 5.0
"""A question that takes longer is asked anew: after an outage an old one may hang although the broker is back."""

LAST_SECONDS = 1.0
"""How long figures that are being stored may still take when the run ends, before its last ones are."""

AWAY = "waiting for the broker"

Lags: TypeAlias = Mapping[str, Lag]
"""Each reading stage's lag, by its name."""


class Reporter:
    """Takes a snapshot of every stage, tells it and publishes it; also names the stages that are stuck.

    What this process has counted it can tell without the broker, and does so on time. Published is only what has been
    told with the lag in it, which the broker has to say.
    """

    def __init__(
        self,
        plan: Plan,
        broker: Broker,
        clock: Clock,
        scopes: dict[str, Scope],
        observers: Observers,
        log: Log,
        worker: str = "0",
    ) -> None:
        self._plan = plan
        self._broker = broker
        self._clock = clock
        self._scopes = scopes
        self._observers = observers
        self._log = log
        self._key = worker.encode()
        self._started = clock.now()
        self._running = False
        self._stuck: set[str] = set()
        self._before: dict[str, tuple[float, int, int]] = {}
        self._asking: asyncio.Task[Lags] | None = None
        self._known: Lags = {}
        """What the broker said last, however long ago."""
        self._storing: asyncio.Task[None] | None = None
        self._missing = False
        """Whether figures were not published, and it was said."""
        self._silence = 0.0
        """Seconds for which the broker has not answered."""
        self._looked: float | None = None

    async def run(self) -> None:
        """Tell and publish until cancelled."""
        self._running = True
        try:
            while True:
                await asyncio.sleep(PERIOD_SECONDS)
                try:
                    await self._report()
                except Exception as error:
                    self._missed(error)
        finally:
            self._running = False
            await self._let_go()

    async def _report(self) -> None:
        """Tell one snapshot, and begin to store it unless an older one still is."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        await asyncio.wait({self._asking}, timeout=PATIENCE_SECONDS)
        lags = self._answer()
        self._note_silence(answered=lags is not None)
        snapshot = self._tell(lags)
        if lags is not None and self._storing is None:
            self._storing = asyncio.create_task(self._store(snapshot))
        if self._storing is not None:
            await asyncio.wait({self._storing}, timeout=PATIENCE_SECONDS)
            if self._storing.done():
                self._storing = None

    async def publish(self) -> None:
        """Tell and publish one snapshot, the last of a run; a failure is logged, and fails nothing."""
        try:
            lags = await self._ask()
        except Exception as error:
            self._missed(error)
            lags = None
        try:
            snapshot = self._tell(lags)
        except Exception as error:
            self._missed(error)
            return
        if lags is not None:
            await self._store(snapshot)

    # -- what the broker has to do with it --------------------------------------------------------

    async def _ask(self) -> Lags:
        """Ask how much waits for each stage, and in any case something, to know that the broker is there."""
        lags = {}
        try:
            for name, scope in self._scopes.items():
                if scope.stage.inputs:
                    async with asyncio.timeout(QUESTION_SECONDS):
                        lags[name] = await measure(scope, self._broker)
            if not lags:
                async with asyncio.timeout(QUESTION_SECONDS):
                    await self._broker.ranges(self._plan.metrics)
        except TimeoutError:
            raise StorageError(f"the broker has not answered for {QUESTION_SECONDS:.0f} s") from None
        return lags

    def _answer(self) -> Lags | None:
        """Return what was asked for, None when it is not there (yet)."""
        asking = self._asking
        if asking is None or not asking.done():
            return None
        self._asking = None
        if asking.cancelled():
            return None
        try:
            self._known = asking.result()
        except Exception as error:
            # Of the broker: the stages meet the same error and decide what follows from it.
            self._missed(error)
            return None
        return self._known

    async def _store(self, snapshot: dict[str, Any]) -> None:
        # Not cut off when it takes long: others may commit by the same connection. The broker has limits of its own.
        try:
            unit = self._broker.begin()
            rows = Rows([self._key], [msgspec.json.encode(snapshot)], [snapshot["time"]])
            unit.append(self._plan.metrics, 0, rows)
            await unit.commit()
        except Exception as error:
            self._missed(error)
            return
        if self._missing:
            self._missing = False
            self._log("info", "metrics are published again")

    def _missed(self, error: Exception) -> None:
        if not self._missing:
            self._missing = True
            self._log("warning", "metrics are not published, for now", error=classed(error))

    def _note_silence(self, *, answered: bool) -> None:
        """Add up how long the broker has been silent, by looks, so that time in which we did not run is not its."""
        now, before = time.monotonic(), self._looked
        self._looked = now
        most = 2 * (PERIOD_SECONDS + PATIENCE_SECONDS)
        self._silence = 0.0 if answered or before is None else self._silence + min(now - before, most)

    async def _let_go(self) -> None:
        """End what is under way; what is being stored may come to its end, if that is soon."""
        if self._storing is not None:
            await asyncio.wait({self._storing}, timeout=LAST_SECONDS)
        left = {task for task in (self._asking, self._storing) if task is not None}
        self._asking = self._storing = None
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        for task in left:
            if not task.cancelled():
                task.exception()  # looked at: whoever asked wants no answer any more

    # -- snapshots --------------------------------------------------------------------------------

    def _tell(self, lags: Lags | None) -> dict[str, Any]:
        snapshot = self.snapshot(lags)
        for scope in self._scopes.values():
            scope.metrics.end_period()
        self._observers.call("metrics_published", pipeline=self._plan.name, metrics=snapshot)
        return snapshot

    def snapshot(self, lags: Lags | None) -> dict[str, Any]:
        """Return every stage's figures as plain data; the last of a run says that it is not `running` any more.

        `started` (ms since 1970) tells which workers have run at the same time. The lag is None where it is not known.
        """
        stages = {name: self._stage(name, scope, lags) for name, scope in self._scopes.items()}
        return {
            "pipeline": self._plan.name,
            "time": self._clock.now(),
            "started": self._started,
            "running": self._running,
            "stages": stages,
        }

    def _stage(self, name: str, scope: Scope, lags: Lags | None) -> dict[str, Any]:
        lag = Lag(0, 0.0) if not scope.stage.inputs else None if lags is None else lags[name]
        activity, seconds = self._activity(scope)
        stuck = self._is_stuck(scope, self._known.get(name), activity, seconds)
        if stuck and name not in self._stuck:
            self._log("warning", "stage makes no progress", stage=name, at=activity, seconds=round(seconds))
        (self._stuck.add if stuck else self._stuck.discard)(name)
        blocked = scope.blocked.is_shown and scope.activity.what not in ("ended", "failed")
        return {
            "kind": scope.stage.kind,
            **scope.metrics.snapshot(),
            **self._rates(name, scope),
            "lag_records": None if lag is None else lag.records,
            "lag_seconds": None if lag is None else lag.seconds,
            "activity": f"blocked the event loop at {scope.blocked.at}" if blocked else activity,
            "activity_seconds": round(scope.blocked.seconds if blocked else seconds, 1),
            "health": self._health(scope, stuck or blocked),
            "error": scope.error,
            "delivery": scope.stage.delivery,
        }

    def _rates(self, name: str, scope: Scope) -> dict[str, float]:
        """Records per second since the last snapshot."""
        now, metrics = time.monotonic(), scope.metrics
        then, received, out = self._before.get(name, (now, metrics.received, metrics.out))
        self._before[name] = (now, metrics.received, metrics.out)
        span = now - then
        if span <= 0:
            return {"in_per_second": 0.0, "out_per_second": 0.0}
        return {
            "in_per_second": round((metrics.received - received) / span, 1),
            "out_per_second": round((metrics.out - out) / span, 1),
        }

    def _activity(self, scope: Scope) -> tuple[str, float]:
        """Return what a stage is at, and for how many seconds."""
        what, seconds = scope.activity.what, time.monotonic() - scope.activity.since
        # A producer's input does not come from the broker; but its share of the work does.
        from_broker = what in ("starting", STANDBY, "committing") or (what == IDLE and bool(scope.stage.inputs))
        if from_broker and self._silence >= AWAY_SECONDS:
            return AWAY, self._silence
        waits_for = scope.metrics.waits_for
        return (f"waiting for {waits_for}" if what == IDLE and waits_for else what), seconds

    @staticmethod
    def _is_stuck(scope: Scope, lag: Lag | None, activity: str, seconds: float) -> bool:
        if seconds <= STUCK_SECONDS or scope.error is not None:
            return False
        if activity == AWAY:
            return True
        # What gathers a batch has input and goes on by itself in the time that the file says.
        if scope.activity.what in ("ended", "failed", GATHERING):
            return False
        # What waits for other workers is theirs to work on.
        return bool(lag and lag.own) or scope.activity.what not in (IDLE, STANDBY)

    @staticmethod
    def _health(scope: Scope, stuck: bool) -> str:
        if scope.activity.what == "ended":
            return "ended"
        if scope.error is not None or scope.activity.what == "failed":
            return "failed"
        return "stuck" if stuck else "ok"
