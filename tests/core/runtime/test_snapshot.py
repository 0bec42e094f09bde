"""How a stage does, by what it has counted and what the broker said."""

from pathlib import Path
from typing import Any

import pytest

from core.runtime.runtime_moody import FLOWS, numbers
from core.runtime.runtime_stage import scope_of
from streamweaver.metrics import StageMetrics
from streamweaver.runtime.lag import Lag
from streamweaver.runtime.probe import BrokerState
from streamweaver.runtime.scope import GATHERING, IDLE, STANDBY, Scope
from streamweaver.runtime.snapshot import AWAY, Progress, Rates, progress, stage_figures

WELL = BrokerState({"f": Lag(0, 0.0)}, {"f": Lag(0, 0.0)})
BEHIND = BrokerState({"f": Lag(5, 2.5, own=5)}, {"f": Lag(5, 2.5, own=5)})
AWAY_FOR_4 = BrokerState(None, {"f": Lag(0, 0.0)}, 4.0)
AWAY_FOR_12 = BrokerState(None, {"f": Lag(0, 0.0)}, 12.0)


@pytest.fixture
def flow(tmp_path: Path) -> Scope:
    return scope_of(FLOWS, "f", [numbers], tmp_path)


def at(scope: Scope, what: str, seconds: float, broker: BrokerState) -> Progress:
    """Return how a stage does that has been at something for so long."""
    scope.activity.now(what)
    return progress(scope, broker, scope.activity.since + seconds)


@pytest.mark.parametrize(
    ("what", "seconds", "broker", "shown", "is_stuck"),
    [
        (IDLE, 100, WELL, IDLE, False),
        (IDLE, 11, BEHIND, IDLE, True),
        (IDLE, 9, BEHIND, IDLE, False),
        (STANDBY, 100, WELL, STANDBY, False),
        ("writing", 11, WELL, "writing", True),
        ("writing", 11, AWAY_FOR_12, "writing", True),
        (GATHERING, 100, BEHIND, GATHERING, False),
        ("ended", 100, BEHIND, "ended", False),
        *((what, 1, AWAY_FOR_4, AWAY, False) for what in ("starting", STANDBY, "committing", IDLE)),
        (IDLE, 1, AWAY_FOR_12, AWAY, True),
    ],
)
def test_what_a_stage_is_at_for_too_long_makes_it_stuck(
    flow: Scope, what: str, seconds: float, broker: BrokerState, shown: str, is_stuck: bool
) -> None:
    """Not what waits for input that is not there, for others or for time; what waits for the broker says so."""
    found = at(flow, what, seconds, broker)
    assert (found.activity, found.is_stuck) == (shown, is_stuck)
    assert found.seconds == pytest.approx(broker.silence if shown == AWAY else seconds)


def test_a_producer_that_waits_for_its_own_input_waits_for_no_broker(tmp_path: Path) -> None:
    """It says for what it waits, where its plugin does."""
    scope = scope_of(FLOWS, "p", [numbers], tmp_path)
    found = at(scope, IDLE, 100, AWAY_FOR_12)
    assert (found.activity, found.is_stuck) == (IDLE, False)
    scope.metrics.waits_for = "a file at x.log"
    assert at(scope, IDLE, 100, AWAY_FOR_12).activity == "waiting for a file at x.log"
    assert at(scope, "committing", 1, AWAY_FOR_12) == Progress(AWAY, 12.0, True)


@pytest.mark.parametrize(
    ("broker", "lag"), [(WELL, (0, 0.0)), (BEHIND, (5, 2.5)), (AWAY_FOR_4, (None, None))], ids=["none", "some", "away"]
)
def test_the_lag_is_told_where_it_is_known(flow: Scope, broker: BrokerState, lag: Any) -> None:
    """A broker that is away does not say it."""
    told = stage_figures(flow, Progress("reading", 0.04, False), broker, {})
    assert (told["lag_records"], told["lag_seconds"]) == lag
    assert (told["activity"], told["activity_seconds"], told["health"]) == ("reading", 0.0, "ok")


def test_what_reads_nothing_has_no_lag(tmp_path: Path) -> None:
    """Whether the broker answers or not."""
    scope = scope_of(FLOWS, "p", [numbers], tmp_path)
    told = stage_figures(scope, Progress("reading", 1, False), AWAY_FOR_4, {})
    assert (told["lag_records"], told["lag_seconds"], told["kind"]) == (0, 0.0, "producer")


def test_health_is_the_worst_that_is_known(flow: Scope) -> None:
    """Stuck, blocked, failed with its error, and ended, which is no failure."""
    stuck = Progress("writing", 11, True)
    assert stage_figures(flow, stuck, WELL, {})["health"] == "stuck"
    flow.blocked.begun("step x")
    flow.blocked.over(3.0, float("inf"))
    told = stage_figures(flow, Progress("reading", 1, False), WELL, {})
    assert (told["health"], told["activity"], told["activity_seconds"]) == (
        "stuck",
        "blocked the event loop at step x",
        3.0,
    )
    flow.error = "broken"
    assert stage_figures(flow, stuck, WELL, {})["health"] == "failed"
    assert stage_figures(flow, stuck, WELL, {})["error"] == "broken"
    assert not at(flow, "waiting for its restart", 100, WELL).is_stuck
    flow.error = None
    flow.activity.now("ended")
    assert stage_figures(flow, at(flow, "ended", 1, WELL), WELL, {})["health"] == "ended"


def test_rates_are_since_the_time_before() -> None:
    """Each stage's own; there are none the first time, and none where no time has passed."""
    rates, metrics = Rates(), StageMetrics()
    metrics.received = metrics.out = 5
    none = {"in_per_second": 0.0, "out_per_second": 0.0}
    assert rates.since("f", metrics, 10.0) == none
    metrics.received, metrics.out = 11, 8
    assert rates.since("g", metrics, 12.0) == none
    assert rates.since("f", metrics, 12.0) == {"in_per_second": 3.0, "out_per_second": 1.5}
    assert rates.since("f", metrics, 12.0) == none
