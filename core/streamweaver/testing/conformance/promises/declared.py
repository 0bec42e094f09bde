"""What a plugin of any kind declares: what can be known of it without running it."""

from pathlib import Path
from typing import Any

import attrs

from streamweaver.config import Findings, parse, structure
from streamweaver.config.checks import option_info
from streamweaver.config.instance import option_types
from streamweaver.errors import ConfigError
from streamweaver.plugin import option_fields
from streamweaver.registry import RESERVED
from streamweaver.testing.conformance.bench import STAGE, bench
from streamweaver.testing.conformance.suite import Behaviours, Need, Suite
from streamweaver.testing.single import as_yaml

DECLARED = Behaviours()

HAS_OPTIONS = Need("it has no options", lambda suite: bool(option_fields(suite.plugin.options)))

HAS_SECRETS = Need("it has no secret options", lambda suite: bool(_secrets(suite)))

GROUPS = Need("it declares no groups_by", lambda suite: suite.plugin.groups_by is not None)

SECRET = "conformance-secret-5f3a"  # noqa: S105 - not one of anybody's

# One of these fits no type that is worth the name.
_ODD: tuple[Any, ...] = ({"conformance": [{}]}, [[[{}]]])


@DECLARED.promise()
def says_what_it_does(suite: Suite, _folder: Path) -> None:
    """The first paragraph of the docstring is one sentence that fits into a list."""
    summary = suite.plugin.summary
    assert summary.endswith("."), f"got the summary {summary!r}, expected a sentence that ends with a full stop"
    assert len(summary) <= 120, f"the summary has {len(summary)} characters, expected at most 120"


@DECLARED.promise()
def example_is_valid(suite: Suite, _folder: Path) -> None:
    """The example of the decorator names the plugin, and its options are accepted."""
    plugin = suite.plugin
    assert plugin.example, f'got no example, expected example="{{use: {plugin.name}, ...}}" in the decorator'
    node = parse(plugin.example, "example")
    example = node.data()
    use = example.get("use") if isinstance(example, dict) else example
    assert use == plugin.name, f"the example uses {use!r}, expected {plugin.name!r}"
    if node.kind == "mapping":
        structure(node, plugin.options, ignore=RESERVED)


@DECLARED.promise(HAS_OPTIONS)
def every_option_has_help(suite: Suite, _folder: Path) -> None:
    """Each option says what it means, so that no user has to guess."""
    bare = [name for name, field in option_fields(suite.plugin.options).items() if not option_info(field).help]
    assert not bare, f'no help for {", ".join(bare)}: write option(help="...") or Annotated[type, "..."]'


@DECLARED.promise(HAS_OPTIONS)
def option_examples_are_valid(suite: Suite, _folder: Path) -> None:
    """The example of each option is a value that the option takes, alone or beside the examples of the others."""
    infos = {name: option_info(field) for name, field in option_fields(suite.plugin.options).items()}
    examples = {name: info.example for name, info in infos.items() if info.example is not None}
    for name, example in examples.items():
        alone = _refusal(suite, name, {**suite.options, name: example})
        if alone is not None and _refusal(suite, name, {**suite.options, **examples}) is not None:
            raise AssertionError(f"the example of {alone}")


def _refusal(suite: Suite, name: str, options: dict[str, Any]) -> str | None:
    """Return what is wrong with one of the options, if anything is."""
    findings = Findings()
    structure(parse(as_yaml(options), "example"), suite.plugin.options, findings=findings)
    return next((item.message for item in findings.items if item.message.startswith(name)), None)


@DECLARED.promise(HAS_OPTIONS)
def options_are_strict(suite: Suite, _folder: Path) -> None:
    """A value of a wrong type is refused when the pipeline file is read, not met while it runs."""
    for name, kind in option_types(suite.plugin.options).items():
        assert kind not in (Any, object), f"{name} takes anything: give it a type"
        lax = True
        for odd in _ODD:
            try:
                structure(parse(as_yaml({**suite.options, name: odd}), "options"), suite.plugin.options)
            except ConfigError:
                lax = False
        assert not lax, f"{name} takes {_ODD[0]} as well as {_ODD[1]}: give it a narrower type"


@DECLARED.promise(GROUPS)
def groups_by_names_an_option(suite: Suite, _folder: Path) -> None:
    """`groups_by` names the option that holds the field by which it keeps its state."""
    known = option_fields(suite.plugin.options)
    assert suite.plugin.groups_by in known, f"groups_by={suite.plugin.groups_by!r}: its options are {', '.join(known)}"


@DECLARED.promise(HAS_SECRETS)
async def secrets_do_not_show(suite: Suite, folder: Path) -> None:
    """No secret option's value shows in its repr, in what it logs, or in the errors that it raises."""
    suite = attrs.evolve(suite, options={**suite.options, **dict.fromkeys(_secrets(suite), SECRET)})
    plugin = suite.build()
    shown = [("repr", f"{plugin!r} {suite.chosen()!r}")]
    if suite.plugin.kind in ("producer", "transform", "sink"):
        async with bench(suite, folder) as made:
            await made.feed([suite.record(0)])
            try:
                async with made.running() as running:
                    await running.until(lambda: running.done_to > 0 or running.task.done(), "a record is to be taken")
            except AssertionError as error:  # that it does not work with this secret is not what is asked
                shown.append(("an error", str(error)))
            ended = running.task.exception() if running.task.done() and not running.task.cancelled() else None
            shown.append(("an error", f"{ended!r} {getattr(ended, '__cause__', None)!r}"))
            shown += [("the log", line) for line in made.lines]
            shown += [("a dead letter", letter.reason) for letter in await made.dead_letters()]
    leaks = [where for where, text in shown if SECRET in text]
    assert not leaks, f"a secret shows in {leaks[0]} of {suite.plugin.name} (stage {STAGE})"


def _secrets(suite: Suite) -> list[str]:
    """Return the secret options that take text."""
    fields = option_fields(suite.plugin.options)
    kinds = option_types(suite.plugin.options)
    return [name for name, field in fields.items() if option_info(field).secret and kinds[name] in (str, str | None)]
