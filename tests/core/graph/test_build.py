"""From text to plan; what is wrong with a file is in the tests of broken pipelines."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import Batch, Record, option, producer, sink, transform
from streamweaver.config import Findings, parse, resolve
from streamweaver.errors import ConfigError
from streamweaver.graph.build import build
from streamweaver.registry import Registry
from streamweaver.testing.harness import plan_of


@producer(key="symbol")
def trades() -> Any:
    """Produce."""


@transform
def work(record: Record) -> Record:
    """Work."""
    return record


@sink("vault")
@attrs.define
class Vault:
    """Has a secret."""

    password: str = option(help="x", secret=True)

    def write(self, batch: Batch) -> None: ...


PLUGINS = [trades, work, Vault]


def test_everything_has_its_place_in_the_plan() -> None:
    """Our words, the plugins' options, defaults, and names of what the engine adds."""
    plan = plan_of(
        """
name: t
broker: embedded
drain_timeout: 5s
topics:
  a: {partitions: 4, retention: 1d, retention_size: 1MiB, cleanup: compact, codec: text, settings: {x: "1"}}
  empty:
producers:
  p: {use: trades, to: a, rate: 5, count: 9, steps: [{use: work}, {use: work}]}
flows:
  f: {from: [a], to: b, key: k, steps: }
sinks:
  s: {use: vault, from: [a, b], password: hunter2, timeout: 3s, on_error: skip, retry: {attempts: 2}}
""",
        PLUGINS,
    )
    assert list(plan.stages) == ["p", "f", "s"]
    p, f, s = plan.stages.values()
    assert (p.kind, p.output, p.key, p.rate, p.count) == ("producer", "a", "symbol", 5.0, 9)
    assert [step.name for step in p.steps] == ["work", "work.2"]
    assert (f.kind, f.inputs, f.output, f.key, f.steps, f.use) == ("flow", ("a",), "b", "k", (), None)
    assert (s.inputs, s.timeout_seconds, s.on_error, s.retry.attempts) == (("a", "b"), 3.0, "skip", 2)
    a = plan.topics["a"].spec
    assert (a.partitions, a.retention_ms, a.retention_bytes, a.cleanup) == (4, 86_400_000, 1 << 20, "compact")
    assert plan.topics["a"].codec_name == "text"
    assert plan.topics["a"].codec.encode("x") == b"x"
    assert (plan.topics["b"].spec.partitions, plan.topics["b"].declared, plan.topics["empty"].declared) == (
        4,
        False,
        True,
    )
    assert plan.drain_seconds == 5.0
    assert (plan.dead_letters, plan.metrics, plan.replay("f"), plan.group("f")) == (
        *("t.dead_letters", "t.metrics"),
        *("t.f.replay", "t.f"),
    )


def test_secrets_are_blanked_in_texts() -> None:
    """And do not show in the plan itself."""
    plan = plan_of(
        """
name: t
producers: {p: {use: trades, to: a}}
sinks: {s: {use: vault, from: a, password: hunter2}}
""",
        PLUGINS,
    )
    assert plan.redact("the word is hunter2!") == "the word is ***!"
    assert "hunter2" not in repr(plan)


def test_findings_of_reading_are_told_with_those_of_the_graph() -> None:
    """A reference that cannot be resolved is not judged further, and everything else is."""
    registry = Registry()
    registry.add(PLUGINS)
    findings = Findings()
    text = 'name: "${env:NO_SUCH_NAME}"\nproducers: {p: {use: trades, to: a, too: b}}\n'
    tree = resolve(parse(text, "f.yaml"), {}, Path(), findings)
    with pytest.raises(ConfigError) as caught:
        build(tree, registry, findings)
    assert [finding.line for finding in caught.value.findings] == [1, 2]


@pytest.mark.parametrize("broker", ["embedded", "{use: embedded}", "{durability: process}"])
def test_a_broker_may_be_named_in_short(broker: str) -> None:
    """Its name, its name with options, or options of the default one."""
    plan = plan_of(f"name: t\nbroker: {broker}\nproducers: {{p: {{use: trades, to: a}}}}\n", PLUGINS)
    assert plan.broker.plugin.name == "embedded"


def test_an_option_that_no_yaml_value_fits_is_the_plugins_mistake() -> None:
    """It is a finding at the plugin's name, not an exception."""

    @sink("odd")
    @attrs.define
    class Odd:
        """Wants what a file cannot say."""

        when: complex = option(help="x", default=1j)

        def write(self, batch: Batch) -> None: ...

    with pytest.raises(ConfigError, match="no YAML value fits the type"):
        plan_of(
            "name: t\nproducers: {p: {use: trades, to: a}}\nsinks: {s: {use: odd, from: a, when: 1}}", [*PLUGINS, Odd]
        )
