"""`streamweaver plugin new`."""

import shlex
from pathlib import Path
from typing import get_args

import click

from streamweaver.plugin import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to put it; must be new or empty.  [default: streamweaver-<name>]",
)
def new(kind: Kind, name: str, folder: Path | None) -> None:
    """Make a new plugin: a distribution of its own, with tests, a pipeline and CI, that works as it is.

    \b
    Example: streamweaver plugin new transform to_celsius
    """
    from streamweaver.errors import PluginError
    from streamweaver.registry import Registry
    from streamweaver.scaffold import create, distribution

    folder = folder or Path(distribution(name))
    try:
        made = create(kind, name, folder)
    except PluginError as error:
        raise click.UsageError(str(error)) from error
    for path in made:
        click.echo(path)
    for origin in Registry().origins(kind):
        if origin.name == name:
            click.echo(
                f"warning: {origin.distribution} {origin.version} has a {kind} {name!r} already; while both are "
                "installed neither can be used: choose another name, or uninstall that one",
                err=True,
            )
    # `--group` came with pip 25.1, which many a fresh environment does not have.
    install = "pip install --upgrade pip && pip install -e . --group test"
    click.echo(f"\nNext: cd {shlex.quote(str(folder))} && {install} && pytest", err=True)
