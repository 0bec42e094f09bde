"""The program `streamweaver`: groups of commands, each in a module that is imported when it is used."""

import importlib
from typing import Any

import click

GROUPS = {
    "pipeline": ("streamweaver.cli.pipeline", "Run, check and look at pipelines."),
}


class LazyGroups(click.Group):
    """Lists the groups from a table, and imports one only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order of the table."""
        return list(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a group's module."""
        if cmd_name not in GROUPS:
            return None
        command: click.Command = importlib.import_module(GROUPS[cmd_name][0]).group
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in GROUPS.items()])


@click.command(cls=LazyGroups, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="streamweaver", prog_name="streamweaver")
def cli() -> None:
    """Plugins for data streams, wired in YAML."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the program; returns never."""
    cli.main(args=arguments, prog_name="streamweaver")
