"""`streamweaver pipeline ...`."""

from pathlib import Path

import click


@click.group()
def group() -> None:
    """Run, check and look at pipelines."""


@group.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one value of the file.")
@click.option("--only", metavar="NAME[,NAME]", help="Run some stages only.")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Where the log and local state live.")
@click.option("--duration", metavar="TIME", help="Stop by itself after this time, drained.")
@click.option("--until-idle", is_flag=True, help="Stop when nothing is left to do.")
@click.option("--json", "as_json", is_flag=True, help="End with a line of JSON.")
def up(
    file: Path,
    overrides: tuple[str, ...],
    only: str | None,
    data: Path | None,
    duration: str | None,
    until_idle: bool,
    as_json: bool,
) -> None:
    """Run a pipeline. Ctrl-C drains and stops; a second one stops at once."""
    from streamweaver.cli.up import run_up

    raise SystemExit(run_up(file, overrides, only, data, duration, until_idle, as_json))
