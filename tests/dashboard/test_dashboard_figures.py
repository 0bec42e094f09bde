"""Figures of several workers together, health, and alert rules: pure arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.config.dashboard import RuleConfig, make_rule
from streamweaver_dashboard.alert import Alerts, FieldWatch, measured
from streamweaver_dashboard.figures import Figures, merge, status
from streamweaver_dashboard.prometheus import text

NOW = 1_750_000_000_000
STAGES = {"prices": "flow"}


def stage(**figures):
    return {
        "health": "ok",
        "activity": "waiting for input",
        "activity_seconds": 1.0,
        "processing_ms": {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0},
        "latency_ms": {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0},
    } | figures


def published(at, **figures):
    return {"time": at, "stages": {"prices": stage(**figures)}}


def test_workers_are_taken_together():
    """Counts and rates add up; of lag, which each measures for the whole stage, and of health the worst counts."""
    figures = Figures()
    figures.take("0", published(NOW, **{"in": 10, "lag_records": 5, "lag_seconds": 1.5, "counters": {"late": 1}}))
    slow = {"p50": 9.0, "p90": 9.0, "p99": 90.0, "max": 99.0}
    more = {"in": 7, "lag_records": 2, "lag_seconds": 9.0, "health": "stuck", "latency_ms": slow}
    figures.take("1", published(NOW, **more, counters={"late": 2, "new": 1}))
    told = figures.merged(STAGES, NOW)
    assert told["workers"] == 2
    prices = told["stages"]["prices"]
    assert (prices["in"], prices["lag_records"], prices["lag_seconds"], prices["health"]) == (17, 5, 9.0, "stuck")
    assert prices["latency_ms"] == slow
    assert prices["counters"] == {"late": 3, "new": 1}


def test_a_figure_that_no_worker_knows_is_one_that_is_not_there():
    """The last figures of a run whose broker is away have no lag: every figure that programs read is a number still."""
    figures = Figures()
    figures.take("0", published(NOW, lag_records=None, lag_seconds=None))
    told = figures.merged(STAGES, NOW)
    assert (told["stages"]["prices"]["lag_records"], told["stages"]["prices"]["lag_seconds"]) == (0, 0)
    assert b'streamweaver_lag_records{pipeline="t",stage="prices"} 0.0' in text("t", told, figures.workers, 0)
    figures.take("1", published(NOW, lag_records=3, lag_seconds=1.5))
    assert figures.merged(STAGES, NOW)["stages"]["prices"]["lag_records"] == 3


def test_errors_have_a_rate():
    """The rise since the last figures, by the time between; a worker that began anew has none."""
    figures = Figures()
    figures.take("0", published(NOW, errors=10, dead_lettered=4))
    assert figures.merged(STAGES, NOW)["stages"]["prices"]["errors_per_second"] is None
    figures.take("0", published(NOW + 2_000, errors=16, dead_lettered=4))
    prices = figures.merged(STAGES, NOW + 2_000)["stages"]["prices"]
    assert (prices["errors_per_second"], prices["dead_letters_per_second"]) == (3.0, 0.0)
    figures.take("0", published(NOW + 3_000, errors=1, dead_lettered=0))
    assert figures.merged(STAGES, NOW + 3_000)["stages"]["prices"]["errors_per_second"] == 0.0


def test_what_is_old_is_not_told_as_news():
    """A stage of which nothing was heard for ten seconds is unknown, and it is said how old the newest figures are."""
    figures = Figures()
    figures.take("0", published(NOW, **{"in": 10}))
    told = figures.merged(STAGES, NOW + 12_000)
    assert told["stale_seconds"] == 12.0
    assert (told["workers"], told["stages"]["prices"]["health"]) == (0, "unknown")
    assert figures.merged({}, NOW + 120_000)["stale_seconds"] is not None
    assert figures.workers == {}


@pytest.mark.parametrize(
    ("health", "word"),
    [("ok", "ok"), ("ended", "ok"), ("unknown", "starting"), ("stuck", "failing"), ("failed", "failing")],
)
def test_health_in_one_word(health, word):
    """One stage that is not well decides; the reason is told."""
    found, bad = status({"stages": {"prices": merge([stage(health=health, error=None)], "flow")}})
    assert found == word
    assert bool(bad) == (health not in ("ok", "ended"))


def test_silence_is_no_start():
    """A pipeline that was heard, and is not for ten seconds, is silent, unless a stage is known to have failed."""
    unknown = merge([], "flow")
    assert status({"stages": {"prices": unknown}, "stale_seconds": 10.0})[0] == "starting"
    assert status({"stages": {"prices": unknown}, "stale_seconds": 11.0}) == (
        "silent",
        {"prices": {"health": "unknown", "why": "nothing heard for 11 s"}},
    )
    failed = merge([stage(health="failed", error="broken")], "flow")
    assert status({"stages": {"prices": unknown, "out": failed}, "stale_seconds": 11.0})[0] == "failing"


# -- alerts ---------------------------------------------------------------------------------------


def rule(when, **more):
    return make_rule(RuleConfig(when=when, **more), set())


def test_a_rule_fires_after_its_time_and_is_resolved():
    """Pending while the condition holds, firing after `for`, resolved when it holds no more."""
    slow = rule("lag of prices > 10 s for 30 s")
    alerts = Alerts((slow,))

    def judge(seconds, lag):
        return alerts.judge_stages({"prices": merge([stage(lag_seconds=lag)], "flow")}, NOW + seconds * 1_000)

    assert judge(0, 5) == []
    assert judge(1, 11) == []
    assert [state["state"] for state in alerts.as_dict()["states"]] == ["pending"]
    assert judge(30, 12) == []
    fired = judge(31, 13)
    assert [(event["state"], event["subject"], event["value"]) for event in fired] == [("firing", "prices", 13)]
    assert judge(40, 14) == []
    assert alerts.as_dict()["states"][0]["since"] == NOW + 31_000
    assert [event["state"] for event in judge(41, 9)] == ["resolved"]
    assert alerts.as_dict()["states"] == []
    assert [event["state"] for event in alerts.as_dict()["events"]] == ["resolved", "firing"]


def test_a_break_begins_the_time_anew():
    """A condition that holds with breaks never fires."""
    alerts = Alerts((rule("lag > 100 for 10 s"),))
    for second in range(60):
        lag = 50 if second % 9 == 8 else 200
        assert alerts.judge_stages({"a": merge([stage(lag_records=lag)], "flow")}, NOW + second * 1_000) == []


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=40), st.integers(0, 10))
def test_firing_and_resolved_take_turns(steps, span):
    """Over any history events of a subject alternate, beginning with firing, and the states agree with the last."""
    found = rule(f"in rate > 1 for {span} s")
    alerts, events, now = Alerts((found,)), [], NOW
    held_since = None
    for seconds, holds in steps:
        now += seconds * 1_000
        events += alerts.judge(found, {"a": 2 if holds else 0}, now)
        held_since = (now if held_since is None else held_since) if holds else None
        firing = held_since is not None and now - held_since >= span * 1_000
        assert any(state["state"] == "firing" for state in alerts.as_dict()["states"]) == firing
    assert [event["state"] for event in events] == [("firing", "resolved")[n % 2] for n in range(len(events))]


def test_every_measure_reads_its_figure():
    """Each word of a rule is some figure of a stage, durations in seconds."""
    figures = merge(
        [stage(lag_records=3, lag_seconds=1.5, in_per_second=5, out_per_second=4, restarts=2, errors_per_second=0.5)],
        "flow",
    )
    expected = {
        "lag > 1 s": 1.5,
        "lag > 1": 3,
        "in rate > 1": 5,
        "out rate > 1": 4,
        "restarts > 1": 2,
        "error rate > 1": 0.5,
        "dead letter rate > 1": None,
        "health == ok": "ok",
        "latency p99 > 1 s": 0.003,
        "processing p50 > 1 s": 0.001,
    }
    for when, value in expected.items():
        assert measured(figures, rule(when)) == value, when
    assert measured(merge([], "flow"), rule("latency p99 > 1 s")) is None


def test_what_fired_before_a_restart_fires_on():
    """Nothing is told anew, and nothing is taken for over because no figure was heard yet."""
    slow, dear = rule("dead letter rate > 1"), rule("price of orders > 100", by="symbol")
    old = Alerts((slow, dear))
    old.judge(slow, {"prices": 5}, NOW)
    old.judge(dear, {"A": 200, "B": 300}, NOW)
    old.judge(dear, {"A": 200, "B": 3}, NOW + 1_000)
    alerts = Alerts((slow, dear))
    alerts.remember(list(reversed(old.events)), NOW + 60_000)
    firing = [(state["subject"], state["state"], state["since"]) for state in alerts.as_dict()["states"]]
    assert firing == [("prices", "firing", NOW), ("A", "firing", NOW)]
    soon = NOW + 61_000
    assert alerts.judge_stages({"prices": merge([], "flow")}, soon) == []
    assert alerts.judge_stages({"prices": merge([stage()], "flow")}, soon) == []
    assert alerts.judge(dear, {}, soon) == []
    (ended,) = alerts.judge_stages({"prices": merge([stage(dead_letters_per_second=0)], "flow")}, soon)
    assert (ended["subject"], ended["state"]) == ("prices", "resolved")
    assert [event["state"] for event in alerts.judge(dear, {}, NOW + 60_000 + 300_000)] == ["resolved"]


def test_a_field_is_watched_by_series(seen):
    """The last value of each series counts, and an old one says nothing any more."""
    watch = FieldWatch(rule("price of orders > 100", by="symbol"))
    watch.heard(seen([{"symbol": "A", "price": 1}, {"symbol": "B", "price": 200}, {"price": 5}, "x"], [NOW] * 4), NOW)
    watch.heard(seen([{"symbol": "A", "price": 2}], [NOW]), NOW + 1_000)
    assert watch.current(NOW + 2_000) == {"A": 2, "B": 200}
    assert watch.current(NOW + 300_500) == {"A": 2}
    watch.heard(seen([{"symbol": str(n), "price": 1} for n in range(5_000)], [NOW] * 5_000), NOW)
    assert len(watch.values) == 1_000
