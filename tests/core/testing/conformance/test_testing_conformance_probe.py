"""A probe is to the engine what the plugin is."""

import inspect
from typing import Any

import attrs

from streamweaver import Batch, sink, transform
from streamweaver.contracts import RecordSink, Sink
from streamweaver.testing.conformance.probe import Probe, probed
from streamweaver.testing.harness import plan_of


@attrs.define
class Both:
    """Has an async verb and a plain one."""

    async def write(self, batch: Any) -> str:
        return f"wrote {batch}"

    def close(self) -> str:
        return "closed"


def test_it_has_what_the_plugin_has() -> None:
    """The same methods, each in the same form, and no others."""
    probe: Any = Probe(Both(), write=lambda own, batch: own(batch))
    assert [isinstance(probe, kind) for kind in (Sink, RecordSink)] == [True, False]
    assert inspect.iscoroutinefunction(probe.write)
    assert not hasattr(probe, "open")
    assert not hasattr(probe, "committed")
    assert probe.close() == "closed"


async def test_calls_go_through_what_stands_between() -> None:
    """What is given in place of a verb gets the plugin's own, to call it or not."""
    probe: Any = Probe(Both(), write=lambda own, batch: own(batch * 2), close=lambda own: own().upper())
    assert await probe.write("x") == "wrote xx"
    assert probe.close() == "CLOSED"
    refusing: Any = Probe(Both(), write=lambda _own, _batch: "nothing")
    assert await refusing.write("x") == "nothing"


def test_a_plan_with_a_probe_in_it() -> None:
    """The plugin of a stage, or of a flow's step, is built and wrapped; the options and the other stages stay."""

    @sink("shelf")
    def shelf(_batch: Batch) -> None:
        """Keep nothing."""

    @transform("same")
    def same(batch: Batch, *, n: int = 1) -> list[Any]:
        """Change nothing."""
        return list(batch) * n

    text = "{name: p, topics: {a: {external: true}}, flows: {f: {from: a, steps: [{use: same, n: 2}], to: b}}, "
    plan = plan_of(text + "sinks: {s: {use: shelf, from: b}}}", [shelf, same])
    built: list[Any] = []

    def wrap(plugin: Any) -> Probe:
        built.append(plugin)
        return Probe(plugin)

    use = probed(plan, "s", wrap).stages["s"].use
    step = probed(plan, "f", wrap).stages["f"].steps[0].use
    assert use is not None
    assert isinstance(use.build(), Probe)
    assert isinstance(step.build(), Probe)
    assert step.options.n == 2
    assert len(built) == 2
    assert probed(plan, "s", wrap).stages["f"] is plan.stages["f"]
