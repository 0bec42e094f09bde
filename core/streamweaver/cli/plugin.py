"""`streamweaver plugin ...`."""

import textwrap
from typing import Any, get_args

import click

from streamweaver.cli.complete import plugin_names
from streamweaver.cli.option import json_option
from streamweaver.cli.plugin_new import new
from streamweaver.cli.plugin_test import test
from streamweaver.plugin import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)

WIDTH = 80
"""Columns that a text may take."""


@click.group()
def group() -> None:
    """List the installed plugins and what each can do, test them, and make new ones."""


group.add_command(new)
group.add_command(test)


@group.command(name="list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option("--long", "-l", "summaries", is_flag=True, help="Also what each does, which imports all of them.")
@json_option("Print one JSON array of objects.")
def list_plugins(kind: Kind | None, summaries: bool, as_json: bool) -> None:
    """List the installed plugins with their distributions; imports none of them.

    \b
    Example: streamweaver plugin list sink
    """
    from streamweaver.cli.output import print_json, print_table
    from streamweaver.describe import plugin_rows
    from streamweaver.registry import Registry

    rows = plugin_rows(Registry(), KINDS if kind is None else (kind,), summaries=summaries)
    if as_json:
        print_json(rows)
        return
    heads = ["kind", "name", "distribution", "version", *(["summary"] if summaries else [])]
    print_table(heads, [[row[head] for head in heads] for row in rows])


@group.command()
@click.argument("names", nargs=-1, required=True, metavar="[KIND] NAME", shell_complete=plugin_names)
@json_option("Print one JSON object.")
def show(names: tuple[str, ...], as_json: bool) -> None:
    """Show a plugin: what it does, its options, an example, its guarantee. KIND is needed only where names repeat.

    \b
    Example: streamweaver plugin show transform moving_average
    """
    from streamweaver.cli.output import print_json
    from streamweaver.describe import plugin
    from streamweaver.registry import Registry

    registry = Registry()
    found = plugin(registry, *chosen(registry, names))
    if as_json:
        print_json(found)
    else:
        _print(found)


def chosen(registry: Any, names: tuple[str, ...]) -> tuple[Kind, str]:
    """Return the kind and the name that are meant."""
    if len(names) > 2:
        raise click.UsageError(f"got {len(names)} names, expected [KIND] NAME")
    name = names[-1]
    if len(names) == 2:
        kind = next((kind for kind in KINDS if kind == names[0]), None)
        if kind is None:
            raise click.BadParameter(f"got {names[0]!r}, expected one of {', '.join(KINDS)}", param_hint="KIND")
        if name not in registry.names(kind):
            raise click.BadParameter(_unknown(registry, (kind,), name), param_hint="NAME")
        return kind, name
    kinds = [kind for kind in KINDS if name in registry.names(kind)]
    if not kinds:
        raise click.BadParameter(_unknown(registry, KINDS, name), param_hint="NAME")
    if len(kinds) > 1:
        raise click.UsageError(
            f"{name!r} is the name of a {' and of a '.join(kinds)}: say which, as in `{kinds[0]} {name}`"
        )
    return kinds[0], name


def _unknown(registry: Any, kinds: tuple[Kind, ...], name: str) -> str:
    from streamweaver.config import suggest

    known = [known for kind in kinds for known in registry.names(kind)]
    what = kinds[0] if len(kinds) == 1 else "plugin"
    return f"no {what} is named {name!r}{suggest(name, known) or '; see `streamweaver plugin list`'}"


def _print(found: dict[str, Any]) -> None:
    from streamweaver.describe import facts, takes

    click.echo(f"{found['kind']} {found['name']}  ({found['distribution']} {found['version']})")
    click.echo()
    _paragraphs(found["doc"] or found["summary"])
    for label, sentence in facts(found).items():
        click.echo()
        _wrapped(f"{label}: {sentence}")
    if found["options"]:
        click.echo("\noptions:")
    for row in found["options"]:
        _wrapped(f"{row['name']}: {takes(row)}", "  ", "      ")
        _wrapped(row["help"], "      ", "      ")
    if found["example"]:
        click.echo("\nexample:")
        click.echo("\n".join(f"  {line}" for line in found["example"].rstrip().splitlines()))


def _paragraphs(text: str) -> None:
    """Print a docstring; what is indented in it, or a list, stays as it stands."""
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            click.echo()
        if any(line.startswith((" ", "- ", "* ")) for line in paragraph.splitlines()):
            click.echo(paragraph)
        else:
            _wrapped(paragraph)


def _wrapped(text: str, first: str = "", rest: str = "") -> None:
    if text:
        lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
        click.echo("\n".join(lines))
