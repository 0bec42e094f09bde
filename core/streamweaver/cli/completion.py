"""`streamweaver completion SHELL`."""

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a shell's completion script: commands, options, and the names of stages and topics of a file.

    \b
    Examples:
      eval "$(streamweaver completion bash)"                                in ~/.bashrc
      eval "$(streamweaver completion zsh)"                                 in ~/.zshrc
      streamweaver completion fish > ~/.config/fish/completions/streamweaver.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows the shells of the table"
    # The program's own name decides what the script calls, and under which variable.
    program = click.get_current_context().find_root().command
    click.echo(found(program, {}, "streamweaver", "_STREAMWEAVER_COMPLETE").source())
