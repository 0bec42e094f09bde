# ruff: noqa: E501 - tables of whole messages
"""Durations and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.config import to_seconds, to_size


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("500ms", 0.5), ("10s", 10.0), ("1.5m", 90.0), ("1h", 3600.0), ("7d", 604800.0), (5, 5.0), (0.25, 0.25), (0, 0.0),
        ("10", None), ("10 s", None), ("-1s", None), ("1w", None), ("s", None), ("1S", None), ("", None), ("10s\n", None),
        (-1, None), (float("inf"), None), (float("nan"), None), (True, None), (None, None), ("9" * 400 + "d", None),
    ],
)  # fmt: skip
def test_a_duration_is_a_number_of_seconds_or_has_a_unit(value: object, seconds: float | None) -> None:
    """A duration has a unit, or is a number of seconds; anything else is none."""
    assert to_seconds(value) == seconds


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("64KiB", 65536), ("1MiB", 1 << 20), ("10MB", 10_000_000), ("1GiB", 1 << 30), ("2kB", 2000), ("2KB", 2000),
        ("3B", 3), ("1.5KiB", 1536), ("1TiB", 1 << 40), (7, 7), (0, 0),
        ("1.5B", None), ("10", None), ("1kb", None), ("-1B", None), (1.5, None), (-1, None), (True, None), (None, None),
    ],
)  # fmt: skip
def test_a_size_is_a_number_of_bytes_or_has_a_unit(value: object, size: int | None) -> None:
    """A size has a unit, or is a whole number of bytes; anything else is none."""
    assert to_size(value) == size


@given(st.integers(0, 10**12))
def test_units_are_exact(number: int) -> None:
    """Whole numbers with a unit are exact: a thousand of one unit are one of the next."""
    assert to_seconds(f"{number}000ms") == to_seconds(f"{number}s") == float(number)
    assert to_size(f"{number}000kB") == to_size(f"{number}MB") == number * 10**6
