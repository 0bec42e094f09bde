"""The program `streamweaver`: its groups of commands, and the one place where an error becomes an exit status."""

import gc
import importlib
import sys
from typing import Any, NoReturn

import click

TABLE = {
    "pipeline": ("streamweaver.cli.pipeline", "group", "Run, check and look at pipelines."),
    "plugin": ("streamweaver.cli.plugin", "group", "List the installed plugins, and what each can do."),
    "topic": ("streamweaver.cli.topic", "group", "List a pipeline's topics, and read records."),
    "dlq": ("streamweaver.cli.dlq", "group", "Look at dead letters, replay or discard them."),
    "dashboard": ("streamweaver.cli.dashboard", "dashboard", "Show a pipeline that runs elsewhere, in the browser."),
    "log": ("streamweaver.cli.log", "group", "Verify an embedded log."),
    "completion": ("streamweaver.cli.completion", "completion", "Print a shell's completion script."),
}


class LazyGroup(click.Group):
    """A group whose `commands` are `name: (module, attribute, one line of help)`.

    Its help and the completion of its names import none of the modules.
    """

    def __init__(self, *arguments: Any, table: dict[str, tuple[str, str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names, or suggest the one that may be meant."""
        name = args[0]
        if name not in self.table and not name.startswith("-"):
            from streamweaver.config.node import suggest

            hint = suggest(name, self.table) or f"; there are {', '.join(self.table)}"
            ctx.fail(f"no command {name!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self.table.items()])


class Program(LazyGroup):
    """The outermost group: whatever a command raises ends here, as one line (or one a finding) and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BaseException as error:
            from streamweaver.cli.failure import status_of

            ctx.exit(status_of(error, ctx))


EPILOG = "Exit status: 0 done, 1 failed, 2 wrong usage or an invalid file, 3 stopped before it was drained."


@click.command(
    cls=Program,
    table=TABLE,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
@click.version_option(package_name="streamweaver", prog_name="streamweaver")
def cli() -> None:
    """Plugins for data streams, wired in YAML.

    \b
    Example: streamweaver pipeline up pipelines/demo.yaml
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program."""
    # Imports make no garbage; looking for it costs a seventh of the time of `check`. Loading a file ends this.
    gc.disable()
    try:
        cli.main(args=arguments, prog_name="streamweaver")
    except SystemExit:
        # What is printed last may fail only now.
        try:
            sys.stdout.flush()
        except OSError as error:
            _unwritten(error)
        raise
    except OSError as error:
        # Of what click prints before there is a command: help, the version.
        _unwritten(error)
    raise AssertionError("click ends the process")


def _unwritten(error: OSError) -> NoReturn:
    """End the process because what it printed could not be written."""
    from streamweaver.cli.failure import quietly, status_of_output

    status = status_of_output(error)
    quietly()
    raise SystemExit(status) from None
