"""Publishing the figures of all stages, about once a second, to the pipeline's metrics topic."""

import asyncio
import time
from typing import Any

import msgspec

from streamweaver.contracts import Broker, Rows, TopicSpec
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.runtime.clock import Clock
from streamweaver.runtime.context import Log
from streamweaver.runtime.lag import measure
from streamweaver.runtime.scope import GATHERING, IDLE, STANDBY, Scope
from streamweaver.text import classed

METRICS_SPEC = TopicSpec(name="", partitions=1, retention_ms=3_600_000, retention_bytes=64 * 1024 * 1024)
"""The metrics topic: an hour of it."""

PERIOD_SECONDS = 1.0

STUCK_SECONDS = 10.0
"""A stage that has input and has been at the same thing this long is called stuck."""


class Reporter:
    """Takes a snapshot of every stage and publishes it; also names the stages that are stuck."""

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
        self._running = False
        self._stuck: set[str] = set()
        self._before: dict[str, tuple[float, int, int]] = {}

    async def run(self) -> None:
        """Publish until cancelled."""
        self._running = True
        try:
            while True:
                await asyncio.sleep(PERIOD_SECONDS)
                await self.publish()
        finally:
            self._running = False

    async def publish(self) -> None:
        """Publish one snapshot; a failure is logged, and ends neither the reporting nor the run."""
        try:
            await self._publish()
        except Exception as error:
            # Of the broker: the stages meet the same error and decide what follows from it.
            self._log("warning", "metrics were not published", error=classed(error))

    async def _publish(self) -> None:
        snapshot = await self.snapshot()
        unit = self._broker.begin()
        now = self._clock.now()
        unit.append(self._plan.metrics, 0, Rows([self._key], [msgspec.json.encode(snapshot)], [now]))
        await unit.commit()
        for scope in self._scopes.values():
            scope.metrics.end_period()
        self._observers.call("metrics_published", pipeline=self._plan.name, metrics=snapshot)

    async def snapshot(self) -> dict[str, Any]:
        """Return every stage's figures as plain data; the last of a run says that it is not `running` any more."""
        stages = {name: await self._stage(name, scope) for name, scope in self._scopes.items()}
        now = self._clock.now()
        return {"pipeline": self._plan.name, "time": now, "running": self._running, "stages": stages}

    async def _stage(self, name: str, scope: Scope) -> dict[str, Any]:
        lag = await measure(scope, self._broker) if scope.stage.inputs else None
        seconds = time.monotonic() - scope.activity.since
        waits = scope.activity.what in (IDLE, STANDBY, GATHERING)
        # What waits for other workers is theirs to work on.
        stuck = seconds > STUCK_SECONDS and (bool(lag and lag.own) or not waits)
        # What gathers a batch has input and goes on by itself in the time that the file says.
        stuck = stuck and scope.activity.what not in ("ended", "failed", GATHERING) and scope.error is None
        if stuck and name not in self._stuck:
            self._log("warning", "stage makes no progress", stage=name, at=scope.activity.what, seconds=round(seconds))
        (self._stuck.add if stuck else self._stuck.discard)(name)
        blocked = scope.blocked.is_shown and scope.activity.what not in ("ended", "failed")
        return {
            "kind": scope.stage.kind,
            **scope.metrics.snapshot(),
            **self._rates(name, scope),
            "lag_records": lag.records if lag else 0,
            "lag_seconds": lag.seconds if lag else 0.0,
            "activity": f"blocked the event loop at {scope.blocked.at}" if blocked else self._activity(scope),
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

    @staticmethod
    def _activity(scope: Scope) -> str:
        waits_for = scope.metrics.waits_for
        return f"waiting for {waits_for}" if scope.activity.what == IDLE and waits_for else scope.activity.what

    @staticmethod
    def _health(scope: Scope, stuck: bool) -> str:
        if scope.activity.what == "ended":
            return "ended"
        if scope.error is not None or scope.activity.what == "failed":
            return "failed"
        return "stuck" if stuck else "ok"
