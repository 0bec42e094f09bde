"""Counts that balance, and histograms whose percentiles are right to a bucket's width."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.errors import BalanceError
from streamweaver.metrics import BOUNDS, PERIODS, Histogram, Recent, StageMetrics, Tally

DURATIONS = st.lists(st.floats(0.07, 8_000_000), min_size=1, max_size=200)


@given(DURATIONS, st.floats(0.01, 1.0))
def test_a_percentile_is_right_to_a_bucket(values: list[float], share: float) -> None:
    """It is not below the true value and at most 19 % above it."""
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    wanted = share * len(values)
    true = next(value for count, value in enumerate(sorted(values), 1) if count >= wanted)
    assert true <= histogram.percentile(share) * (1 + 1e-12)
    assert histogram.percentile(share) <= max(true * 2**0.25, BOUNDS[0]) * (1 + 1e-12)
    assert histogram.largest == max(values)


def test_an_empty_histogram_is_all_zero() -> None:
    """Nothing measured is no error."""
    assert Histogram().summary() == {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}


def test_what_lies_beyond_all_bounds_is_the_largest() -> None:
    """Ages of days are shown as they are."""
    histogram = Histogram()
    histogram.add(10.0**9)
    assert histogram.summary()["p50"] == 10.0**9


@given(st.lists(st.integers(-100, 100), min_size=1))
def test_ages_count_each_record_once(ages: list[int]) -> None:
    """A clock that runs ahead gives an age of 0."""
    histogram = Histogram()
    histogram.add_ages(1000, [1000 - age for age in ages])
    assert histogram.total == len(ages)
    assert histogram.largest == max(0, *ages)


def test_summary_is_in_order() -> None:
    """p50, p90, p99 and the largest, in ms."""
    histogram = Histogram()
    for value in range(1, 1001):
        histogram.add(value)
    summary = histogram.summary()
    assert summary["p50"] == pytest.approx(statistics.median(range(1, 1001)), rel=0.2)
    assert summary["p50"] < summary["p90"] <= summary["p99"] <= summary["max"] == 1000


@given(st.lists(st.lists(st.floats(0.07, 1_000), max_size=5), max_size=3 * PERIODS))
def test_only_recent_periods_count(periods: list[list[float]]) -> None:
    """What came in the last periods is told as if nothing had been before."""
    recent, wanted = Recent(), Histogram()
    for number, values in enumerate(periods):
        for value in values:
            recent.add(value)
            if number > len(periods) - PERIODS:
                wanted.add(value)
        recent.end_period()
    assert recent.summary() == wanted.summary()
    assert recent.together().total == wanted.total


def test_the_period_that_has_not_ended_counts() -> None:
    """A first snapshot shows what there is."""
    recent = Recent()
    recent.add_ages(1_000, [990, 995])
    assert recent.together().total == 2
    assert recent.summary()["max"] == 10


@given(st.lists(st.sampled_from(["out", "filtered", "dead_lettered", "skipped"])), st.integers(0, 5))
def test_settled_units_balance(fates: list[str], added: int) -> None:
    """Every record that was received has one fate; what was added came out."""
    metrics = StageMetrics(received=len(fates))
    tally = Tally(received=len(fates), added=added, out=added)
    for fate in fates:
        setattr(tally, fate, getattr(tally, fate) + 1)
    assert tally.unsettled == 0
    metrics.settle(tally)
    assert metrics.in_flight == 0
    metrics.check_balance("s")
    counts = metrics.counts()
    assert counts["in"] + counts["added"] == sum(counts[f] for f in ("out", "filtered", "dead_lettered", "skipped"))


def test_what_does_not_balance_is_an_error() -> None:
    """The text names the stage, how many are missing, and all counts."""
    with pytest.raises(BalanceError, match=r"stage s: counts do not balance, 2 records unaccounted for: {'in': 5,"):
        StageMetrics(received=5, out=3).check_balance("s")


def test_what_was_returned_is_not_in() -> None:
    """An aborted unit is read and counted again."""
    metrics = StageMetrics(received=8, returned=3, out=5)
    assert metrics.counts()["in"] == 5
    assert metrics.in_flight == 0


def test_a_snapshot_is_plain_and_detached() -> None:
    """It can be stored, and does not change with the stage."""
    metrics = StageMetrics(counters={"a": 1}, gauges={"b": 2.0})
    snapshot = metrics.snapshot()
    metrics.counters["a"] = 5
    assert snapshot["counters"] == {"a": 1}
    assert snapshot["gauges"] == {"b": 2.0}
    assert {"in", "out", "units", "processing_ms", "latency_ms", "restarts", "lost"} <= snapshot.keys()


@given(st.lists(st.integers(-50, 10**7) | st.integers(10**6, 10**6 + 3), min_size=1))
def test_ages_of_a_batch_are_those_of_its_records(ages: list[int]) -> None:
    """Counting a whole batch at once, in one bucket or several, gives what counting each record gives."""
    quick, slow = Histogram(), Histogram()
    quick.add_ages(10**8, [10**8 - age for age in ages])
    for age in ages:
        slow.add(max(0.0, float(age)))
    assert quick == slow
