"""`streamweaver pipeline ...`: what the commands take; what they do is in a module of each."""

from pathlib import Path

import click

from streamweaver.cli.option import (
    DURATION,
    Duration,
    WorkerName,
    dashboard_options,
    dashboard_overrides,
    data_option,
    file_argument,
    json_option,
    set_option,
    stages_option,
)


@click.group()
def group() -> None:
    """Run, check and look at pipelines."""


@group.command()
@file_argument
@set_option
@stages_option("--only", "Run some stages only; the rest may run elsewhere.")
@stages_option("--except", "Run all stages but some.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Worker processes, where the broker shares work.",
)
@click.option(
    "--worker-name",
    type=WorkerName(),
    metavar="NAME",
    help="Name of this worker, its own wherever the pipeline runs; one that lasts makes a restart cheap.  "
    "[default: host and process]",
)
@click.option("--supervisor", type=int, hidden=True)
@data_option
@click.option(
    "--duration", type=Duration(), metavar="TIME", help=f"Stop by itself after this time, drained: {DURATION}."
)
@click.option("--until-idle", is_flag=True, help="Stop when every producer has ended and no stage has lag.")
@dashboard_options
@click.option(
    "--health-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    envvar="STREAMWEAVER_HEALTH_FILE",
    help="Renew this file every second while all stages here are well and figures can be published; for health "
    "checks.  [env: STREAMWEAVER_HEALTH_FILE]",
)
@json_option("End with a line of JSON: the counts of each stage.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least level that is logged.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How log lines on standard error look.",
)
@click.pass_context
def up(
    ctx: click.Context,
    /,
    file: Path,
    overrides: tuple[str, ...],
    only: frozenset[str] | None,
    workers: int,
    worker_name: str | None,
    supervisor: int | None,
    data: Path | None,
    duration: float | None,
    until_idle: bool,
    port: int | None,
    no_dashboard: bool,
    health_file: Path | None,
    as_json: bool,
    log_level: str,
    log_format: str,
    **words: frozenset[str] | None,
) -> None:
    """Run a pipeline. Ctrl-C drains and stops; a second one stops at once, and the next start goes on from there.

    \b
    Examples:
      streamweaver pipeline up pipelines/demo.yaml
      streamweaver pipeline up pipelines/demo.yaml --set producers.stocks.rate=2000 --only stocks,prices --duration 10s
    """
    from streamweaver.cli.up import Wishes, up_pipeline

    wishes = Wishes(
        only=only,
        leave_out=words["except"] or frozenset(),
        workers=workers,
        worker_name=worker_name,
        supervisor=supervisor,
        data=data,
        duration_seconds=duration,
        until_idle=until_idle,
        health_file=health_file,
        as_json=as_json,
        log_level=log_level,
        log_format=log_format,
    )
    ctx.exit(up_pipeline(file, overrides + dashboard_overrides(port, no_dashboard), wishes))


@group.command(short_help="Check a pipeline file, and tell every mistake at once.")
@file_argument
@set_option
@data_option
@click.option(
    "--connect", is_flag=True, help="Also open the broker and whatever connections can be tried, moving no data."
)
@json_option("Print one JSON object: what is wrong, or the stages and topics.")
@click.pass_context
def check(
    ctx: click.Context, file: Path, overrides: tuple[str, ...], data: Path | None, connect: bool, as_json: bool
) -> None:
    """Check a pipeline file: every mistake at once, or else its stages, their guarantees, and its topics.

    \b
    Example: streamweaver pipeline check pipelines/demo.yaml
    """
    from streamweaver.cli.check import check_pipeline

    ctx.exit(check_pipeline(file, overrides, data, connect=connect, as_json=as_json))


@group.command()
@file_argument
@set_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def graph(file: Path, overrides: tuple[str, ...], form: str) -> None:
    """Print which stage reads and writes which topic.

    \b
    Example: streamweaver pipeline graph pipelines/demo.yaml --format mermaid
    """
    from streamweaver.cli.graph import print_graph

    print_graph(file, overrides, form)


@group.command(short_help="Show the stages of a running pipeline, and how they do.")
@file_argument
@set_option
@data_option
@json_option("Print one JSON object: the newest figures, and whether the pipeline runs.")
@click.pass_context
def status(ctx: click.Context, file: Path, overrides: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """Show the stages of a running pipeline: rates, lag, latency, health. Exit status 1 when it is not heard to run.

    Of one that was stopped, since when, and what its stages came to. Of one that has said nothing for 5 s and has not
    said that it ends, for how long: it cannot reach its broker, or it has ended without a word. With --json "state" is
    running, stopped, killed, silent (its process is there) or unheard; "running" is null when nobody can know.

    \b
    Example: streamweaver pipeline status pipelines/demo.yaml
    """
    from streamweaver.cli.status import print_status

    ctx.exit(print_status(file, overrides, data, as_json))


@group.command(short_help="Write a first pipeline, with comments, that runs as it is.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".", required=False)
@click.option("--name", metavar="NAME", help="Name of the pipeline.  [default: the folder's]")
def init(folder: Path, name: str | None) -> None:
    """Write a first pipeline, with comments, that runs as it is; nothing is overwritten.

    \b
    Example: streamweaver pipeline init first_steps
    """
    import shlex

    from streamweaver.cli.pipeline_init import init_pipeline

    made = init_pipeline(folder, name)
    for path in made:
        click.echo(path)
    click.echo(f"\nNext: streamweaver pipeline up {shlex.quote(str(made[0]))}", err=True)


@group.command()
@file_argument
@click.option(
    "--to",
    multiple=True,
    required=True,
    metavar="PATH=VALUE",
    help="Where to: overrides that name the new broker; may be repeated.",
)
@set_option
@data_option
@json_option("Print one JSON object: records by topic, values of state by stage.")
def move(file: Path, to: tuple[str, ...], overrides: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """Move a stopped pipeline to another broker: records, offsets, positions and state. The old place is not changed.

    \b
    Example: streamweaver pipeline move demo.yaml --to broker.use=kafka --to 'broker.servers=["kafka:9092"]'
    """
    from streamweaver.cli.pipeline_move import move_pipeline

    move_pipeline(file, overrides, to, data, as_json)


@group.command(short_help="Print the JSON Schema of pipeline files.")
def schema() -> None:
    """Print the JSON Schema of pipeline files, with the options of every installed plugin, for editors and checks.

    \b
    Example: streamweaver pipeline schema > pipelines/schema.json
    """
    import json

    from streamweaver.describe import pipeline_schema
    from streamweaver.registry import Registry

    click.echo(json.dumps(pipeline_schema(Registry()), indent=1, ensure_ascii=False))
