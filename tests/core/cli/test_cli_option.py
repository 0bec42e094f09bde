"""Types of options that commands share."""

import click
import pytest
from click.testing import CliRunner

from streamweaver.cli.main import cli
from streamweaver.cli.option import DURATION, Duration, Names, dashboard_overrides
from streamweaver.config.words import expected
from streamweaver.units import Seconds


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


def test_help_says_how_a_duration_is_written() -> None:
    """In the very words of the pipeline file, and each form that it names is taken."""
    assert expected(Seconds) == f"a duration ({DURATION})"
    for form in DURATION.split(", ")[:-1]:
        assert Duration().convert(form, None, None) > 0
    for command, option in ((("pipeline", "up"), "--duration"), (("dlq", "list"), "--since")):
        shown = " ".join(CliRunner().invoke(cli, [*command, "--help"]).output.split())
        assert "5m, 1h, 7d" in shown.partition(f" {option} TIME ")[2].partition(" --")[0]


@pytest.mark.parametrize(
    ("port", "off", "said"),
    [
        (None, False, ()),
        (8080, False, ("dashboard.port=8080",)),
        (None, True, ("dashboard.enabled=false",)),
    ],
)
def test_what_is_said_of_the_dashboard_overrides_the_file(port: int | None, off: bool, said: tuple[str, ...]) -> None:
    """Its port, or that there is none."""
    assert dashboard_overrides(port, off) == said


def test_a_port_without_a_dashboard_is_a_contradiction() -> None:
    """One line, exit status 2, before the file is even read; 0, any port, is a port as well."""
    for port in ("0", "8080"):
        ran = CliRunner().invoke(cli, ["pipeline", "up", "no.yaml", "--port", port, "--no-dashboard"])
        assert ran.exit_code == 2
        assert ran.stderr.splitlines()[-1] == (
            f"Error: got --port {port} and --no-dashboard, expected one of them: the port is the dashboard's"
        )
