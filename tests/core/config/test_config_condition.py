"""Conditions of alert rules: what can be said, and what is said of mistakes."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.config.condition import COUNTS, MEASURES, TIMES, parse_condition


@pytest.mark.parametrize(
    ("text", "measure", "field", "of", "operator", "value", "for_seconds"),
    [
        ("lag > 10 s for 30 s", "lag", None, None, ">", 10.0, 30.0),
        ("lag of prices >= 500ms", "lag", None, "prices", ">=", 0.5, 0.0),
        ("lag of prices > 1000 for 1m", "lag", None, "prices", ">", 1000.0, 60.0),
        ("dead letter rate of prices>0.5", "dead letter rate", None, "prices", ">", 0.5, 0.0),
        ("latency p99 >= 2 s for 500 ms", "latency p99", None, None, ">=", 2.0, 0.5),
        ("health != ok for 10 s", "health", None, None, "!=", "ok", 10.0),
        ("price of stock_prices <= -3.5", None, "price", "stock_prices", "<=", -3.5, 0.0),
        ("user.level of log.lines == ERROR for 1 s", None, "user.level", "log.lines", "==", "ERROR", 1.0),
    ],
)
def test_a_condition_is_read(text, measure, field, of, operator, value, for_seconds):
    """Measure or field, stage or topic, comparison, value and time are what was written."""
    found = parse_condition(text)
    assert (found.measure, found.field, found.of) == (measure, field, of)
    assert (found.operator, found.value, found.for_seconds) == (operator, value, for_seconds)


def test_lag_is_a_time_or_a_number():
    """The same word measures seconds or records, as the value is written."""
    assert parse_condition("lag > 10 s").is_time
    assert not parse_condition("lag > 10").is_time


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lagg > 1", "did you mean 'lag'"),
        ("lag > soon", "lag: got 'soon', expected a time or a number"),
        ("error rate > 10 s", "error rate: got a time, expected a number"),
        ("latency p99 > 5", "latency p99: got a plain number, expected a time"),
        ("health > ok", "health: expected == or !="),
        ("health == fine", "one of ok, stuck, failed"),
        ("price of orders > dear", "got > with the word 'dear'"),
        ("price of orders > 10 s", "got the time 10 s for the field 'price'"),
        ("lag", "expected MEASURE [of STAGE] or FIELD of TOPIC"),
        ("", "expected MEASURE"),
        ("lag > 1 for ever", "expected MEASURE"),
        ("lag > 1 " + "x" * 400, "expected MEASURE"),
    ],
)
def test_a_mistake_is_said(text, says):
    """Each mistake has an error that says what was got and what was expected."""
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_condition(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text):
    """Any text is a condition or a ValueError."""
    with contextlib.suppress(ValueError):
        parse_condition(text)


@given(
    st.sampled_from([*TIMES, *COUNTS]),
    st.sampled_from([">", ">=", "<", "<="]),
    st.integers(0, 1_000),
    st.floats(-2_000, 2_000),
)
def test_a_condition_holds_as_the_comparison_does(measure, sign, value, got):
    """`holds` is Python's comparison with the value; what cannot be compared does not hold."""
    unit = " s" if measure in TIMES else ""
    condition = parse_condition(f"{measure} {sign} {value}{unit}")
    assert condition.holds(got) == eval(f"{got!r} {sign} {value}")
    assert not condition.holds("text")
    assert not condition.holds(None)


def test_every_measure_is_tried():
    """The lists of measures are all there is."""
    assert set(MEASURES) == {*TIMES, *COUNTS, "health"}
