"""`streamweaver log ...`."""

from pathlib import Path

import click

from streamweaver.cli.option import json_option

BROKER = "embedded"
"""The broker whose log is a folder; its class says how to verify one, with `check(path)`."""


@click.group()
def group() -> None:
    """Verify an embedded log."""


@group.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@json_option("Print one JSON object: whether all is whole, and each damage.")
@click.pass_context
def check(ctx: click.Context, directory: Path, as_json: bool) -> None:
    """Verify every record of an embedded log; says what is damaged and what can be saved. Changes nothing.

    \b
    Example: streamweaver log check .streamweaver/demo
    """
    import attrs

    from streamweaver.cli.failure import FAILED
    from streamweaver.cli.output import print_json
    from streamweaver.registry import Registry
    from streamweaver.text import printable

    damages = Registry().load("broker", BROKER).options.check(directory)
    if as_json:
        print_json({"path": str(directory), "whole": not damages, "damages": [attrs.asdict(d) for d in damages]})
    elif not damages:
        click.echo(f"{directory}: whole; every record can be read")
    else:
        for damage in damages:
            click.echo(printable(str(damage)))
        click.echo(f"{directory}: {len(damages)} damages; stop the pipeline and copy the folder before anything else")
    ctx.exit(FAILED if damages else 0)
