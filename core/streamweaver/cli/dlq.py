"""`streamweaver dlq ...`: what the commands take; what they print is in `letters`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from streamweaver.cli.complete import stage_names
from streamweaver.cli.option import data_option, file_argument, json_option

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def group() -> None:
    """Look at dead letters, replay or discard them. All of it works while the pipeline runs, and while it does not."""


class Moment(click.ParamType[int]):
    """A time, or how long ago: `2025-06-15T12:00`, `1h`; as ms since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the ms."""
        import time
        from datetime import datetime

        from streamweaver.units import to_seconds

        if isinstance(value, int):
            return value
        if (seconds := to_seconds(value)) is not None:
            return round((time.time() - seconds) * 1000)
        try:
            return round(datetime.fromisoformat(value).timestamp() * 1000)
        except (ValueError, OverflowError, OSError):
            self.fail(f"got {value!r}, expected how long ago (1h, 2d) or a time (2025-06-15T12:00Z)", param, ctx)


class Id(click.ParamType[str]):
    """The id of a dead letter."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id in its one spelling."""
        from streamweaver.runtime.letter_box import parse_id

        try:
            partition, offset = parse_id(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return f"{partition}:{offset}"


def _filters(command: F) -> F:
    """Add the options that say which letters are meant."""
    for option in (
        click.option(
            "--since",
            type=Moment(),
            metavar="TIME",
            help="Failed after this time (2025-06-15T12:00, with Z for UTC), or at most so long ago (30s, 5m, 1h, 7d).",
        ),
        click.option("--reason", metavar="TEXT", help="The reason holds this text."),
        click.option("--error", metavar="CLASS", help="Failed with this class of error."),
        click.option("--step", metavar="NAME", help="Failed in this step."),
        click.option("--stage", metavar="NAME", help="Failed in this stage.", shell_complete=stage_names),
    ):
        command = option(command)
    return command


def _wanted(filters: dict[str, Any], ids: tuple[str, ...] = ()) -> Any:
    from streamweaver.runtime.letter_box import Filter

    return Filter(ids=frozenset(ids), **filters)


@group.command(name="list")
@file_argument
@_filters
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="Show the newest N; 0 for all.",
)
@click.option("--all", "settled", is_flag=True, help="Also those that were replayed or discarded.")
@data_option
@json_option("Print one JSON object a line.")
def list_letters(file: Path, limit: int, settled: bool, data: Path | None, as_json: bool, **filters: Any) -> None:
    """List dead letters, oldest first: id, time, stage, step, error, where the record came from, reason.

    \b
    Example: streamweaver dlq list pipelines/demo.yaml --stage prices --since 1h
    """
    from streamweaver.cli.letters import print_list

    print_list(file, data, _wanted(filters), limit or None, settled=settled, as_json=as_json)


@group.command()
@file_argument
@click.argument("letter_id", metavar="ID", type=Id())
@data_option
@json_option("Print one JSON object.")
@click.pass_context
def show(ctx: click.Context, file: Path, letter_id: str, data: Path | None, as_json: bool) -> None:
    """Show everything about a dead letter, with the record as it came.

    \b
    Example: streamweaver dlq show pipelines/demo.yaml 0:17
    """
    from streamweaver.cli.letters import print_letter

    ctx.exit(print_letter(file, data, letter_id, as_json))


def _deed(command: F) -> F:
    """Add the options of what changes something."""
    for option in (
        json_option("Print one JSON object: the ids done, done before, refused, and absent."),
        data_option,
        click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the oldest N."),
        click.option("--all", "everything", is_flag=True, help="All letters, where neither ids nor filters are given."),
        _filters,
        click.argument("ids", metavar="[ID]...", nargs=-1, type=Id()),
        file_argument,
    ):
        command = option(command)
    return command


def _asked(ids: tuple[str, ...], everything: bool, filters: dict[str, Any]) -> Any:
    """Return which letters are meant; a usage error where nothing says so."""
    if not (ids or everything or any(value is not None for value in filters.values())):
        raise click.UsageError("got neither ids nor filters; give some, or --all for every dead letter")
    return _wanted(filters, ids)


@group.command()
@_deed
@click.option(
    "--set",
    "edits",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the value first: VALUE is JSON, else text; PATH `.` is the whole value. May be repeated.",
)
@click.pass_context
def replay(
    ctx: click.Context,
    /,
    file: Path,
    ids: tuple[str, ...],
    everything: bool,
    limit: int | None,
    dry_run: bool,
    data: Path | None,
    as_json: bool,
    edits: tuple[str, ...],
    **filters: Any,
) -> None:
    """Give dead letters back to their stages, changed if need be. Each once: what was replayed is skipped and counted.

    A record of a flow or sink meets the steps of its stage again. One that a producer could not store goes straight
    to its topic, past the producer's steps.

    \b
    Examples:
      streamweaver dlq replay pipelines/demo.yaml 0:17 --set price=12.5
      streamweaver dlq replay pipelines/demo.yaml --stage prices --error BadRecord --dry-run
    """
    from streamweaver.cli.letters import replay_letters
    from streamweaver.runtime.edit import parse_edit

    try:
        parsed = [parse_edit(edit) for edit in edits]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--set") from error
    wanted = _asked(ids, everything, filters)
    ctx.exit(replay_letters(file, data, wanted, parsed, limit, dry_run=dry_run, as_json=as_json))


@group.command()
@_deed
@click.pass_context
def discard(
    ctx: click.Context,
    /,
    file: Path,
    ids: tuple[str, ...],
    everything: bool,
    limit: int | None,
    dry_run: bool,
    data: Path | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Mark dead letters as dealt with; `dlq list --all` still shows them.

    \b
    Example: streamweaver dlq discard pipelines/demo.yaml --stage prices --since 1d
    """
    from streamweaver.cli.letters import discard_letters

    ctx.exit(discard_letters(file, data, _asked(ids, everything, filters), limit, dry_run=dry_run, as_json=as_json))
