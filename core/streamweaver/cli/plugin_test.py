"""`streamweaver plugin test`."""

import contextlib
import io
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamweaver.cli.complete import plugin_names
from streamweaver.cli.option import json_option
from streamweaver.errors import ConfigError

if TYPE_CHECKING:
    from streamweaver.testing.conformance import Suite, Verdict


SEVERAL = 3
"""So many failures for one reason are one failure."""

NO_INPUT = ("filenotfounderror", "no such file", "brought no record")
"""What the reasons say of a plugin without its input."""


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="[KIND] NAME", shell_complete=plugin_names)
@click.option("--options", metavar="YAML", help="The plugin's options, as in a pipeline.  [default: its example]")
@click.option("--records", metavar="YAML", help="A list of values that a transform or codec takes.")
@click.option(
    "--file",
    "copies",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="A file that it reads; each behaviour gets a copy in its working folder.",
)
@click.option("--read", metavar="MODULE:FUNCTION", help="What reads back the numbers of the records a sink has stored.")
@json_option("Print one JSON object.")
def test(
    names: tuple[str, ...],
    options: str | None,
    records: str | None,
    copies: tuple[Path, ...],
    read: str | None,
    as_json: bool,
) -> None:
    """Test whether an installed plugin keeps the promises of its kind, and tell what it may guarantee.

    Each behaviour runs in an empty folder of its own, which is the working folder.

    \b
    Example: streamweaver plugin test file --options '{path: out.ndjson}'
    """
    from streamweaver.cli.output import print_json, print_table
    from streamweaver.cli.plugin import chosen
    from streamweaver.registry import Registry
    from streamweaver.testing.conformance import guarantee, run

    registry = Registry()
    kind, name = chosen(registry, names)
    suite = _suite(registry.load(kind, name), options, records, [path.resolve() for path in copies], read)
    try:
        suite.chosen()  # A mistake in the options is the user's, and no fault of the plugin.
    except ConfigError as error:
        raise click.UsageError(f"{error}\n{_options_hint(suite.plugin)}") from error
    # What a plugin prints is no result of ours.
    with contextlib.redirect_stdout(io.StringIO()):
        verdicts = run(suite)
    delivery, why = guarantee(suite, verdicts)
    failed = sum(verdict.outcome == "failed" for verdict in verdicts)
    hints = list(_hints(suite, verdicts, example=options is None, made_up=not records, files=bool(copies)))
    if as_json:
        rows = [_row(verdict) for verdict in verdicts]
        found = {"kind": kind, "name": name, "guarantee": delivery, "why": why, "behaviours": rows, "hints": hints}
        print_json(found)
    else:
        print_table(["behaviour", "outcome", ""], [[v.behaviour.name, v.outcome, v.reason] for v in verdicts])
        click.echo(f"\nguarantee: {delivery or 'none of its own'} ({why})")
        if failed:
            click.echo(f"{failed} of {len(verdicts)} behaviours failed")
        for hint in hints:
            click.echo(f"hint: {hint}")
    if failed:
        raise click.exceptions.Exit(1)


def _hints(suite: "Suite", verdicts: "list[Verdict]", *, example: bool, made_up: bool, files: bool) -> Iterator[str]:
    """Say what its author can do about what came out; `example`, `made_up` and `files` tell what was not said."""
    from streamweaver.testing.single import as_yaml

    kind, said = suite.plugin.kind, as_yaml(suite.options)
    reasons = [verdict.reason for verdict in verdicts if verdict.outcome == "failed"]
    same, times = Counter(reasons).most_common(1)[0] if reasons else ("", 0)
    if times >= SEVERAL:
        yield f"{times} behaviours fail with one and the same reason, so mend that first: {same.removeprefix('with ')}"
    if not files and any(sign in reason.lower() for reason in reasons for sign in NO_INPUT):
        yield "if it reads a file: --file PATH puts a copy of that name into each behaviour's folder"
    if reasons and example and kind != "codec":
        yield f"it ran with the options of its example, {said}" if suite.plugin.example else "it has no example"
        yield _options_hint(suite.plugin)
    if made_up and kind == "transform":
        yield f"its records were made up, such as {as_yaml(suite.values[0])}: --records '[...]' gives values it takes"
    if kind == "sink" and suite.read is None and suite.plugin.delivery != "best_effort":
        yield "whether it keeps every record was not asked: --read MODULE:FUNCTION reads back what it has stored"


def _options_hint(plugin: Any) -> str:
    """Show how its options are said: those that it requires, with their examples."""
    import attrs

    from streamweaver.config.checks import option_info
    from streamweaver.plugin import option_fields
    from streamweaver.testing.single import as_yaml

    fields = option_fields(plugin.options)
    needed = {name: option_info(field).example for name, field in fields.items() if field.default is attrs.NOTHING}
    shown = ", ".join(f"{name}: {'...' if value is None else as_yaml(value)}" for name, value in needed.items())
    return f"say its options with --options '{{{shown or '...'}}}'; `streamweaver plugin show {plugin.name}` lists them"


def _row(verdict: "Verdict") -> dict[str, Any]:
    return {
        "name": verdict.behaviour.name,
        "promise": verdict.behaviour.promise,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
    }


def _suite(plugin: Any, options: str | None, records: str | None, copies: list[Path], read: str | None) -> "Suite":
    from streamweaver.testing.conformance import Suite

    def prepare() -> None:
        for path in copies:
            shutil.copy(path, Path(path.name))

    values = _yaml(records, "--records", []) if records else []
    if plugin.kind == "codec" and not values:
        values = _encodable(plugin)
    return Suite(
        plugin=plugin,
        options=_options(plugin, options),
        records=values,
        read=_imported(read) if read else None,
        prepare=prepare if copies else None,
    )


def _options(plugin: Any, options: str | None) -> dict[str, Any]:
    """Return what was given, else what the example says, without the words that are the stage's."""
    from streamweaver.registry import RESERVED

    where = "--options" if options is not None else "the plugin's example"
    found = _yaml(options or plugin.example or "{}", where, {}) if plugin.kind != "codec" or options else {}
    return {key: value for key, value in found.items() if key not in RESERVED}


def _yaml(text: str, where: str, like: Any) -> Any:
    from streamweaver.config import parse

    value = parse(text, where).data()
    if type(value) is not type(like):
        wanted = "a list" if isinstance(like, list) else "a mapping"
        raise click.UsageError(f"{where}: got {text!r}, expected {wanted}")
    return value


def _encodable(plugin: Any) -> list[Any]:
    """Return those of the usual values that a codec takes."""
    from streamweaver.testing.conformance import VALUES

    codec = plugin.build(plugin.options())
    found = []
    for value in VALUES:
        with contextlib.suppress(Exception):  # It is not for this kind of value.
            codec.encode(value)
            found.append(value)
    return found or [b"", b"\x00\xff"]


def _imported(name: str) -> Any:
    """Return what `module:function` names; also modules of the working folder are found."""
    import importlib
    import sys

    module, _, function = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"got {name!r}, expected MODULE:FUNCTION: {error}", param_hint="--read") from error
    finally:
        del sys.path[0]
