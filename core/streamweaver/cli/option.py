"""Arguments and options that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from streamweaver.cli.complete import stage_names

F = TypeVar("F", bound=Callable[..., Any])


DURATION = "500ms, 10s, 5m, 1h, 7d, or a number of seconds"
"""How a duration may be written, for the help of an option that takes one."""


class Duration(click.ParamType[float]):
    """A time such as `10s`, as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        from streamweaver.units import to_seconds

        seconds = to_seconds(float(value) if isinstance(value, str) and value.isdecimal() else value)
        if not seconds:
            self.fail(f"got {value!r}, expected a time such as 500ms, 10s or 5m", param, ctx)
        return seconds


class Names(click.ParamType[frozenset[str]]):
    """Names of stages, separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        """Return the names."""
        if isinstance(value, frozenset):
            return value
        names = frozenset(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail("got no name, expected NAME[,NAME...]", param, ctx)
        return names


class WorkerName(click.ParamType[str]):
    """A worker's name, as it may stand in the names of members of consumer groups."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        text = str(value)
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text):
            self.fail(f"got {text!r}, expected up to 100 letters, digits, dots, dashes or underscores", param, ctx)
        return text


def file_argument(command: F) -> F:
    """Add FILE, the pipeline file."""
    # Reading it says why it cannot be read, in the one form that findings have.
    return click.argument("file", type=click.Path(path_type=Path, readable=False))(command)


def set_option(command: F) -> F:
    """Add `--set`."""
    text = (
        "Override one value of the file, checked like the file; may be repeated.  [env: STREAMWEAVER_SET, one a line]"
    )
    return click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help=text)(command)


def dashboard_options(command: F) -> F:
    """Add `--port` and `--no-dashboard`; `dashboard_overrides` makes overrides of them."""
    port = click.option("--port", type=click.IntRange(0, 65_535), metavar="N", help="Port of the dashboard; 0 for any.")
    off = click.option("--no-dashboard", is_flag=True, help="Run without the dashboard.")
    return port(off(command))


def dashboard_overrides(port: int | None, no_dashboard: bool) -> tuple[str, ...]:
    """Return what the two options say, in the words of the file; a usage error where they contradict each other."""
    if no_dashboard and port is not None:
        raise click.UsageError(
            f"got --port {port} and --no-dashboard, expected one of them: the port is the dashboard's"
        )
    if no_dashboard:
        return ("dashboard.enabled=false",)
    return () if port is None else (f"dashboard.port={port}",)


def data_option(command: F) -> F:
    """Add `--data`."""
    text = "Where the embedded log and local state live.  [default: .streamweaver/<pipeline name>]"
    return click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help=text)(command)


def json_option(text: str) -> Callable[[F], F]:
    """Add `--json`, with what it prints as the help."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def stages_option(flag: str, text: str) -> Callable[[F], F]:
    """Add an option that takes names of stages, completed from the file."""
    return click.option(flag, type=Names(), metavar="NAME[,NAME]", help=text, shell_complete=stage_names)
