"""Reporting, about once a second: a snapshot of all stages is told to the observers here, and published in a topic."""

import asyncio
import time
from typing import Any

import msgspec

from streamweaver.contracts import Broker, Rows, TopicSpec
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.runtime.clock import Clock
from streamweaver.runtime.context import Log
from streamweaver.runtime.probe import BrokerProbe, BrokerState
from streamweaver.runtime.scope import Scope
from streamweaver.runtime.snapshot import AWAY, Progress, Rates, progress, stage_figures
from streamweaver.text import classed

METRICS_SPEC = TopicSpec(name="", partitions=1, retention_ms=3_600_000, retention_bytes=64 * 1024 * 1024)
"""The metrics topic: an hour of it."""

PERIOD_SECONDS = 1.0

PATIENCE_SECONDS = 0.5
"""How long figures wait for the broker's part of them."""

LAST_SECONDS = 1.0
"""How long that is for the last ones of a run, and how long those before them may still take to be stored."""

NOT_TAKEN = "metrics cannot be taken, for now"
NOT_PUBLISHED = "metrics are not published, for now"


class Reporter:
    """Takes a snapshot of every stage, tells it and publishes it; also names the stages that are stuck.

    What this process has counted it can tell without the broker, and does so on time. Published is only what has been
    told with the lag in it, which the broker has to say; but the last word of a run is in any case.
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
        self._probe = BrokerProbe(broker, scopes, plan.metrics)
        self._rates = Rates()
        self._stuck: set[str] = set()
        self._storing: asyncio.Task[None] | None = None
        self._published: int | None = None
        self._missing: set[str] = set()
        """What was said of figures that are missing, and still holds."""

    async def run(self) -> None:
        """Tell and publish until cancelled."""
        self._running = True
        due = time.monotonic()
        try:
            while True:
                due = max(due + PERIOD_SECONDS, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
                broker = await self._probe.look(PATIENCE_SECONDS)
                snapshot = self._tell(broker)
                if broker.lags is None:
                    if self._probe.error is not None:
                        self._missed(NOT_PUBLISHED, self._probe.error)
                elif snapshot is not None and (self._storing is None or self._storing.done()):
                    self._storing = asyncio.create_task(self._store(snapshot))
        finally:
            self._running = False
            await self._let_go()

    async def publish(self) -> None:
        """Tell and publish one snapshot, the last of a run; a failure is logged, and fails nothing.

        It is told within a second, whatever the broker does; for how long it is tried to store it is for the caller.
        """
        try:
            snapshot = self._tell(await self._probe.look(LAST_SECONDS))
            if snapshot is not None:
                await self._store(snapshot)
        finally:
            await self._probe.close()

    # -- publishing -------------------------------------------------------------------------------

    async def _store(self, snapshot: dict[str, Any]) -> None:
        # Not cut off when it takes long: others may commit by the same connection. The broker has limits of its own.
        try:
            unit = self._broker.begin()
            rows = Rows([self._key], [msgspec.json.encode(snapshot)], [snapshot["time"]])
            unit.append(self._plan.metrics, 0, rows)
            await unit.commit()
        except Exception as error:
            self._missed(NOT_PUBLISHED, error)
            return
        self._published = self._clock.now()
        if self._missing:
            self._missing.clear()
            self._log("info", "metrics are published again")

    def _missed(self, what: str, error: BaseException) -> None:
        if what not in self._missing:
            self._missing.add(what)
            self._log("warning", what, error=classed(error))

    async def _let_go(self) -> None:
        """End what is under way; what is being stored may come to its end, if that is soon."""
        await self._probe.close()
        storing, self._storing = self._storing, None
        if storing is not None:
            await asyncio.wait({storing}, timeout=LAST_SECONDS)
            storing.cancel()
            await asyncio.wait({storing})

    # -- snapshots --------------------------------------------------------------------------------

    def _tell(self, broker: BrokerState) -> dict[str, Any] | None:
        """Take a snapshot and tell it; returns None when it cannot be taken, which is logged."""
        try:
            snapshot = self.snapshot(broker)
        except Exception as error:
            self._missed(NOT_TAKEN, error)
            return None
        for scope in self._scopes.values():
            scope.metrics.end_period()
        self._observers.call("metrics_published", pipeline=self._plan.name, metrics=snapshot)
        return snapshot

    def snapshot(self, broker: BrokerState) -> dict[str, Any]:
        """Return every stage's figures as plain data; the last of a run says that it is not `running` any more.

        `started` (ms since 1970) tells which workers have run at the same time; `published` is when figures of this
        worker were last stored, None before the first.
        """
        now = time.monotonic()
        at = {name: progress(scope, broker, now) for name, scope in self._scopes.items()}
        self._name_stuck(at)
        return {
            "pipeline": self._plan.name,
            "time": self._clock.now(),
            "started": self._started,
            "published": self._published,
            "running": self._running,
            "stages": {
                name: stage_figures(scope, at[name], broker, self._rates.since(name, scope.metrics, now))
                for name, scope in self._scopes.items()
            },
        }

    def _name_stuck(self, at: dict[str, Progress]) -> None:
        """Log the stages that have become stuck since the last time."""
        stuck = {name for name, found in at.items() if found.is_stuck}
        new = sorted(stuck - self._stuck)
        if waiting := [name for name in new if at[name].activity == AWAY]:
            longest = max(at[name].seconds for name in waiting)
            self._log("warning", "stages wait for the broker", stages=",".join(waiting), seconds=round(longest))
        for name in new:
            if name not in waiting:
                seconds = round(at[name].seconds)
                self._log("warning", "stage makes no progress", stage=name, at=at[name].activity, seconds=seconds)
        self._stuck = stuck
