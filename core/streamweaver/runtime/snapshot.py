"""How each stage does, as plain data: made of what it has counted and of what the broker said. No I/O."""

from collections.abc import Mapping
from typing import Any

import attrs

from streamweaver.metrics import StageMetrics
from streamweaver.runtime.lag import Lag
from streamweaver.runtime.probe import BrokerState
from streamweaver.runtime.scope import GATHERING, IDLE, STANDBY, Scope

STUCK_SECONDS = 10.0
"""A stage that has input and has been at the same thing this long is called stuck."""

AWAY = "waiting for the broker"


@attrs.frozen
class Progress:
    """What a stage is at, for how many seconds, and whether that is too long."""

    activity: str
    seconds: float
    is_stuck: bool


def progress(scope: Scope, broker: BrokerState, now: float) -> Progress:
    """Judge a stage at a moment of the monotonic clock."""
    activity, seconds = _activity(scope, broker, now)
    lag = broker.last.get(scope.stage.name)
    return Progress(activity, seconds, _is_stuck(scope, lag, activity, seconds))


def stage_figures(scope: Scope, at: Progress, broker: BrokerState, rates: Mapping[str, float]) -> dict[str, Any]:
    """Return a stage's figures; the lag is None where it is not known."""
    lag = Lag(0, 0.0) if not scope.stage.inputs else None if broker.lags is None else broker.lags[scope.stage.name]
    is_blocked = scope.blocked.is_shown and scope.activity.what not in ("ended", "failed")
    return {
        "kind": scope.stage.kind,
        **scope.metrics.snapshot(),
        **rates,
        "lag_records": None if lag is None else lag.records,
        "lag_seconds": None if lag is None else lag.seconds,
        "activity": f"blocked the event loop at {scope.blocked.at}" if is_blocked else at.activity,
        "activity_seconds": round(scope.blocked.seconds if is_blocked else at.seconds, 1),
        "health": _health(scope, at.is_stuck or is_blocked),
        "error": scope.error,
        "delivery": scope.stage.delivery,
    }


class Rates:
    """Records per second of each stage since it was asked for before."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int, int]] = {}

    def since(self, stage: str, metrics: StageMetrics, now: float) -> dict[str, float]:
        """Return what goes in and out, at a moment of the monotonic clock."""
        then, received, out = self._before.get(stage, (now, metrics.received, metrics.out))
        self._before[stage] = (now, metrics.received, metrics.out)
        span = now - then
        if span <= 0:
            return {"in_per_second": 0.0, "out_per_second": 0.0}
        return {
            "in_per_second": round((metrics.received - received) / span, 1),
            "out_per_second": round((metrics.out - out) / span, 1),
        }


def _activity(scope: Scope, broker: BrokerState, now: float) -> tuple[str, float]:
    """Return what a stage is at, and for how many seconds."""
    what, seconds = scope.activity.what, now - scope.activity.since
    # A producer's input does not come from the broker; but its share of the work does.
    needs_broker = what in ("starting", STANDBY, "committing") or (what == IDLE and bool(scope.stage.inputs))
    if needs_broker and broker.is_away:
        return AWAY, broker.silence
    waits_for = scope.metrics.waits_for
    return (f"waiting for {waits_for}" if what == IDLE and waits_for else what), seconds


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


def _health(scope: Scope, is_stuck: bool) -> str:
    if scope.activity.what == "ended":
        return "ended"
    if scope.error is not None or scope.activity.what == "failed":
        return "failed"
    return "stuck" if is_stuck else "ok"
