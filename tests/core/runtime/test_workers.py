"""The figures of several workers, taken together."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.metrics import StageMetrics
from streamweaver.runtime.scope import STANDBY
from streamweaver.runtime.workers import FORGET_MS, added, last_run, merged


def stage(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "flow",
        **StageMetrics().snapshot(),
        "in_per_second": 0.0,
        "out_per_second": 0.0,
        "lag_records": 0,
        "lag_seconds": 0.0,
        "activity": "processing",
        "activity_seconds": 0.1,
        "health": "ok",
        "error": None,
        "delivery": "exactly_once",
        **changes,
    }


def snapshot(time: int = 1, running: bool = True, **stages: dict[str, Any]) -> dict[str, Any]:
    return {"pipeline": "t", "time": time, "running": running, "stages": stages}


COUNTS = st.dictionaries(st.sampled_from("ab"), st.fixed_dictionaries({"in": st.integers(0, 9), "out": st.just(1)}))


@given(st.lists(COUNTS))
def test_counts_of_a_stage_are_added_up(parts: list[dict[str, dict[str, int]]]) -> None:
    """Each stage that any worker has is there, with the sum of each count."""
    total = added(parts)
    assert total.keys() == {name for part in parts for name in part}
    for name, counts in total.items():
        assert counts["in"] == sum(part[name]["in"] for part in parts if name in part)
        assert counts["out"] == sum(name in part for part in parts)


def test_one_worker_alone_is_told_as_it_is() -> None:
    """The form that a single worker publishes does not change."""
    alone = snapshot(f=stage(out=3))
    assert merged([alone]) == alone


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ({"published": 7}, {"published": 3}, 3),
        ({"published": 7}, {"published": None}, None),
        ({}, {"published": 3}, None),
    ],
)
def test_what_not_every_worker_has_published_is_not_published(first: Any, second: Any, both: int | None) -> None:
    """Together they are as far as the last of them; one whose figures were never stored keeps all back."""
    assert merged([{**snapshot(), **first}, {**snapshot(), **second}])["published"] == both


def test_counts_and_rates_are_summed_but_lag_is_not() -> None:
    """Every worker measures the lag of the whole stage, so the largest measurement is told."""
    parts = [snapshot(3, f=stage(out=3, in_per_second=1.25, lag_records=7)), snapshot(9, f=stage(out=4, lag_records=8))]
    found = merged(parts)
    assert (found["workers"], found["time"], found["running"]) == (2, 9, True)
    one = found["stages"]["f"]
    assert (one["out"], one["in_per_second"], one["lag_records"]) == (7, 1.25, 8)
    assert one.keys() == stage().keys()


def test_the_worst_health_is_told_with_its_reason() -> None:
    """What the worker that does worst is at is what one wants to see."""
    parts = [snapshot(f=stage()), snapshot(f=stage(health="failed", error="broken", activity=STANDBY))]
    one = merged(parts)["stages"]["f"]
    assert (one["health"], one["error"]) == ("failed", "broken")


def test_who_stands_by_does_not_hide_how_the_stage_does() -> None:
    """A producer that ended where it ran has ended, although others stand by for it; all standing by is told."""
    ended = snapshot(p=stage(health="ended", activity="ended"))
    waits = snapshot(p=stage(activity=STANDBY, lag_records=9))
    one = merged([waits, ended, waits])["stages"]["p"]
    assert (one["health"], one["lag_records"]) == ("ended", 0)
    assert merged([waits, waits])["stages"]["p"]["activity"] == STANDBY


def test_latencies_are_the_slowest_workers() -> None:
    """Percentiles of several workers cannot be added."""
    slow = {"p50": 1.0, "p90": 2.0, "p99": 30.0, "max": 31.0}
    one = merged([snapshot(f=stage(latency_ms=slow)), snapshot(f=stage())])["stages"]["f"]
    assert one["latency_ms"] == slow


def test_stages_that_only_some_workers_run_are_there() -> None:
    """`--only` splits a pipeline over commands; figures of a plugin's own are summed."""
    found = merged(
        [snapshot(f=stage(counters={"a": 1})), snapshot(g=stage()), snapshot(f=stage(counters={"a": 2, "b": 1}))]
    )
    assert list(found["stages"]) == ["f", "g"]
    assert found["stages"]["f"]["counters"] == {"a": 3, "b": 1}


def test_small_figures_of_a_plugin_stay_what_they_are() -> None:
    """Only the engine's own rates are rounded."""
    parts = [snapshot(f=stage(gauges={"share": share}, in_per_second=0.1)) for share in (0.0004, 0.0)]
    one = merged([*parts, snapshot(f=stage(in_per_second=0.1))])["stages"]["f"]
    assert one["gauges"] == {"share": 0.0004}
    assert one["in_per_second"] == 0.3


def test_what_one_does_not_know_the_others_tell() -> None:
    """A lag that is None is no measurement; when nobody knows it, it stays unknown."""
    away, there = snapshot(f=stage(lag_records=None, lag_seconds=None)), snapshot(f=stage(lag_records=5))
    assert merged([away, there])["stages"]["f"]["lag_records"] == 5
    assert merged([away, away])["stages"]["f"]["lag_seconds"] is None


def spoken(started: int, time: int, out: int, **more: Any) -> dict[str, Any]:
    """What a worker said last, in seconds; it has ended unless more is said."""
    running = more.pop("running", False)
    return {**snapshot(time * 1_000, running, f=stage(out=out, **more)), "started": started * 1_000}


def test_the_last_run_is_all_that_ran_together() -> None:
    """Workers that end one after the other, and whom one of them had replaced; not what had ended before they began."""
    run = [spoken(100, 200, 1), spoken(100, 203, 2), spoken(50, 120, 4)]
    found = last_run([spoken(0, 49, 100), *run])
    assert (found["stages"]["f"]["out"], found["workers"], found["time"]) == (7, 3, 203_000)
    assert (found["running"], found["started"]) == (False, 50_000)
    assert last_run([spoken(0, 49, 100), spoken(50, 60, 1)]) == spoken(50, 60, 1)


def test_a_run_goes_on_as_long_as_one_has_not_said_that_it_ends() -> None:
    """Nothing has been heard since that one's last word; but one that others have long outlived has ended, too."""
    found = last_run([spoken(0, 100, 1, running=True), spoken(0, 110, 2)])
    assert (found["running"], found["time"]) == (True, 100_000)
    later = 101 + FORGET_MS // 1_000
    found = last_run([spoken(0, 100, 1, running=True, lag_records=9, health="stuck"), spoken(0, later, 2)])
    assert (found["running"], found["time"]) == (False, later * 1_000)
    assert (found["stages"]["f"]["out"], found["stages"]["f"]["lag_records"]) == (3, 0)
    assert found["stages"]["f"]["health"] == "ok"


def test_figures_of_an_older_release_are_a_run_of_their_own() -> None:
    """They do not say when their worker started."""
    older = [snapshot(10, False, f=stage(out=1)), snapshot(12, False, f=stage(out=2))]
    assert last_run(older)["stages"]["f"]["out"] == 2
