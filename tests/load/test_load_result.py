"""The arithmetic of `make load`, and its page."""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.load.report import _round_up, page, plot
from tools.load.result import Client, Load, Sample, percentile


def load(*clients: Client, made: int = 6) -> Load:
    samples = [Sample(float(s), 3.0 * s, 0.1 * s, {"kafka": 500.0 + s}, {"kafka": 0.5}) for s in range(1, 4)]
    return Load(rate=2, made=made, seconds=3.0, warm_up=1, clients=list(clients), samples=samples)


WHOLE = Client({100: {900: 1, 901: 1}, 101: {5: 1, 7: 1}, 102: {6: 2}}, dropped=0)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_percentile_is_the_least_age_that_enough_records_do_not_exceed(ages: list[int], share: float) -> None:
    """As counted by hand over all ages."""
    found = percentile(Counter(ages), share)
    assert sum(age <= found for age in ages) >= share * len(ages)
    assert found in ages
    assert sum(age < found for age in ages) < share * len(ages)


def test_what_did_not_come_and_was_not_told_is_lost() -> None:
    """Dropped records are told apart from lost ones; all clients count."""
    some = Client({100: {5: 3}}, dropped=2)
    assert (load(WHOLE).lost, load(WHOLE).dropped) == (0, 0)
    assert (load(WHOLE, some).lost, load(WHOLE, some).dropped) == (1, 2)


def test_the_warm_up_counts_for_loss_only() -> None:
    """Its records are there, and their ages are not among the percentiles."""
    found = load(WHOLE).latency()
    assert (found["p50"], found["max"]) == (6, 7)
    assert load(WHOLE).lost == 0


def test_the_summary_is_of_the_steady_part() -> None:
    """Lag after the warm-up; memory at its most."""
    found = load(WHOLE).summary()
    assert (found["reached"], found["lag_seconds_most"], found["lag_records_most"]) == (2, pytest.approx(0.3), 9.0)
    assert found["memory_mb_most"] == {"kafka": 503}
    assert found["cores"] == {"kafka": 0.5}


def test_the_page_is_complete_and_fetches_nothing() -> None:
    """A row and five plots for each rate, losses marked, no address of anywhere."""
    text = page([load(WHOLE), load(WHOLE, made=9)], "two <loads>")
    assert text.count("<svg") == 10
    assert "two &lt;loads&gt;" in text
    assert text.count('class="bad"') == 1
    assert "http" not in text.replace("http-equiv", "")


def test_a_plot_is_well_formed_and_stays_in_its_frame() -> None:
    """Every point lies within the picture."""
    drawn = plot("Age", "ms", {"a&b": [(0, 0), (1, 3_333), (2, 17)], "c": [(0, 5)]})
    root = ElementTree.fromstring(drawn)
    points = [
        tuple(map(float, pair.split(","))) for line in root.iter("polyline") for pair in line.get("points", "").split()
    ]
    assert len(points) == 4
    assert all(0 <= x <= 560 and 0 <= y <= 220 for x, y in points)
    assert re.search("Age, ms", drawn)
    assert plot("nothing", "", {}) == ""


@given(st.floats(0, 1e7))
def test_axes_end_at_round_numbers(value: float) -> None:
    """Not below the largest value, and not ten times above it."""
    assert value <= _round_up(value)
    assert value < 0.01 or _round_up(value) <= 10 * value
