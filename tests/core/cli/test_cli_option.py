"""Types of options that commands share."""

import click
import pytest

from streamweaver.cli.option import Duration, Names


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10.0), ("500ms", 0.5), ("2", 2.0), (1.5, 1.5)])
def test_durations(text: object, seconds: float) -> None:
    """With a unit, or seconds."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "-1s", "soon", "", "1e3", "inf"])
def test_what_is_no_duration(text: str) -> None:
    """The message shows some."""
    with pytest.raises(click.BadParameter, match="such as 500ms"):
        Duration().convert(text, None, None)


def test_names_are_separated_by_commas() -> None:
    """Spaces and a comma at the end do no harm."""
    assert Names().convert(" a, b,", None, None) == {"a", "b"}
