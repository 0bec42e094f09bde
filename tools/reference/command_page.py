"""The page of the command line: every command with its arguments, options and example."""

import inspect
from collections.abc import Iterator

import click
from tools.reference.markdown import NOTE, cell, fence, prose, table

from streamweaver.cli.main import EPILOG, cli

KEEP = "\b\n"
"""What click has at the beginning of a paragraph whose lines stay as they are."""


def page() -> str:
    """Return the page."""
    text = f"# The command line\n\n{NOTE}\n{EPILOG}\n"
    for words, command in commands(cli, "streamweaver"):
        text += f"\n## `{words}`\n\n{_body(words, command)}"
    return text


def commands(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    """Go through every command that does something, with the words that name it."""
    context = click.Context(group, info_name=words)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{words} {name} is listed and cannot be had"
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")
        elif not command.hidden:
            yield f"{words} {name}", command


def _body(words: str, command: click.Command) -> str:
    context = click.Context(command, info_name=words)
    usage = " ".join([words, *command.collect_usage_pieces(context)])
    text = fence(usage, "text")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        kept = paragraph.removeprefix(KEEP)
        text += "\n" + (prose(kept) if kept == paragraph else _verbatim(kept)).rstrip() + "\n"
    rows = [
        [
            f"`{', '.join([*option.opts, *option.secondary_opts])}{_value(option)}`".replace("|", r"\|"),
            cell(option.help or ""),
        ]
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    return text + ("\n" + table(["option", "meaning"], rows) if rows else "")


def _value(option: click.Option) -> str:
    """Return what follows the name of an option on the command line."""
    if option.is_flag or option.count:
        return ""
    if option.metavar:
        return f" {option.metavar}"
    if isinstance(option.type, click.Choice):
        return " " + "/".join(map(str, option.type.choices))
    return f" {option.type.name.upper()}"


def _verbatim(text: str) -> str:
    """Return lines that stand as they are: an example, which becomes code."""
    return fence("\n".join(line.strip().removeprefix("Example: ") for line in text.splitlines()), "text")
