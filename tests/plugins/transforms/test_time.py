"""Timestamps: text to milliseconds and back."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver_transforms._time import check_format, from_iso, iso, reader, zone_of

moments = st.integers(-62_135_596_800_000, 253_402_300_799_999)


@given(moments)
def test_iso_round_trip(ms: int) -> None:
    """Every millisecond of the years 1 to 9999 survives being text."""
    assert from_iso(iso(ms)) == ms


@given(st.integers(0, 4_000_000_000_000), st.sampled_from([-720, -90, 0, 330, 840]))
def test_offsets_are_heeded(ms: int, minutes: int) -> None:
    """The same moment written with any offset is the same time."""
    moment = datetime.fromtimestamp(ms // 1000, timezone(timedelta(minutes=minutes)))
    assert from_iso(moment.isoformat()) == ms // 1000 * 1000
    assert reader("%Y-%m-%d %H:%M:%S %z")(moment.strftime("%Y-%m-%d %H:%M:%S %z")) == ms // 1000 * 1000


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("iso", "2025-06-15T15:06:40Z", 1_750_000_000_000),
        ("iso", "2025-06-15 15:06:40", 1_750_000_000_000),
        ("iso", "2025-06-15", 1_749_945_600_000),
        ("iso", datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC), 1_750_000_000_000),
        ("s", 1_750_000_000, 1_750_000_000_000),
        ("s", 1_750_000_000.25, 1_750_000_000_250),
        ("s", " 1750000000.25 ", 1_750_000_000_250),
        ("ms", "1750000000000", 1_750_000_000_000),
        ("ms", -1, -1),
        ("us", 1_750_000_000_000_999, 1_750_000_000_000),
        ("%d.%m.%Y %H:%M", "15.06.2025 15:06", 1_749_999_960_000),
    ],
)
def test_formats(form: str, value: Any, expected: int) -> None:
    """Each format reads its times; without an offset they are UTC."""
    assert reader(form)(value) == expected


def test_zone() -> None:
    """A time without an offset is taken to be in the zone, one with an offset is not."""
    read = reader("iso", zone_of("Europe/Berlin"))
    assert read("2025-06-15T17:06:40") == read("2025-06-15T15:06:40Z") == 1_750_000_000_000


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("iso", "yesterday", 'got "yesterday", expected a time as ISO 8601 text'),
        (
            "iso",
            1_750_000_000,
            "got 1750000000, expected a time as ISO 8601 text; a number needs its unit: s, ms or us",
        ),
        ("iso", None, "got null, expected a time as ISO 8601 text"),
        ("s", True, "got true, expected a time as a number of s since 1970"),
        ("ms", "1e5", 'got "1e5", expected a time as a number of ms since 1970'),
        ("us", float("nan"), "got null, expected a time as a number of us since 1970"),
        ("s", 10**30, "expected a time as a number of s since 1970"),
        ("%Y-%m-%d", "15.06.2025", 'got "15.06.2025", expected a time like 2024-12-31'),
    ],
)
def test_errors(form: str, value: Any, text: str) -> None:
    """A time that cannot be read is an error with what was got and what was expected."""
    with pytest.raises(ValueError) as raised:
        reader(form)(value)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("epoch", "expected iso, s, ms, us or a pattern"),
        ("%H:%M", "expected year, month and day"),
        ("%Y %Q", "time format"),
    ],
)
def test_bad_formats(form: str, text: str) -> None:
    """A format that cannot give a whole date is refused."""
    with pytest.raises(ValueError, match=text):
        check_format(form)


def test_out_of_range_and_unknown_zone() -> None:
    """Times beyond the calendar and zones that do not exist are errors."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        iso(10**18)
    with pytest.raises(ValueError, match="got time zone 'Mars/Base'"):
        zone_of("Mars/Base")
