"""What plugins may rely on: the names around the facade, versions of the contract, and warnings before anything goes.

The facade's own names are listed in `test_facade`.
"""

import inspect
import json
from typing import Any

import attrs
import pytest

import streamweaver
from streamweaver import Record, decorators, describe, option, plugin, testing, transform
from streamweaver.config import fields_table, json_schema, parse
from streamweaver.errors import PluginError
from streamweaver.graph.build import build
from streamweaver.hooks import Hooks, Observers, observer
from streamweaver.registry import Origin, Registry
from streamweaver.testing import conformance, fixtures

TESTING = [
    *("FakeClock", "FakeContext", "FakeState", "Ran", "ScratchLog"),
    *("run", "run_async", "scripted_producer", "scripted_sink"),
]

FIXTURES = ["ADDRESS", "embedded_log", "kafka_log", "kafka_servers"]

RUN = [
    *("what", "plugins", "records", "options", "log", "data_dir", "fails", "until_idle", "duration_seconds"),
    *("only", "clock", "observers", "during"),
]

CONFORMANCE = [
    *("VALUES", "Behaviour", "Suite", "Test", "Verdict"),
    *("behaviours", "broker", "check", "codec", "guarantee", "producer", "run", "sink", "transform"),
]

HOOKS = {
    "pipeline_starting": ["pipeline", "stages", "surroundings"],
    "pipeline_viewed": ["pipeline", "surroundings"],
    "pipeline_stopped": ["pipeline", "error"],
    "stage_started": ["stage"],
    "stage_failed": ["stage", "error", "restart_in"],
    "stage_ended": ["stage"],
    "unit_done": ["stage", "received", "out", "seconds"],
    "metrics_published": ["pipeline", "metrics"],
}

DECLARED = {
    "producer": ["api", "resumes", "blocking", "key", "example", "deprecated"],
    "transform": ["api", "blocking", "groups_by", "example", "deprecated"],
    "sink": ["api", "delivery", "blocking", "single", "example", "deprecated"],
    "codec": ["api", "example", "deprecated"],
    "broker": ["api", "example", "deprecated"],
}
"""What a decorator takes beside the name; a word may be added, none may go or change its meaning."""

SUITES = {
    "producer": ["target", "options", "prepare", "more", "patience_seconds"],
    "transform": ["target", "records", "options", "bad", "prepare", "patience_seconds"],
    "sink": ["target", "options", "read", "record", "bad", "fail", "restore", "prepare", "patience_seconds"],
    "codec": ["target", "options", "values"],
    "broker": ["target", "options", "prepare"],
}


def words(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_public_names_of_the_testing_kit() -> None:
    """The tests of plugins rely on these: adding one is a decision, removing one breaks them."""
    assert sorted(testing.__all__) == sorted(TESTING)
    assert sorted(conformance.__all__) == sorted(CONFORMANCE)
    assert sorted(fixtures.__all__) == sorted(FIXTURES)
    assert words(testing.run_async) == RUN
    assert {name: words(getattr(conformance, name)) for name in SUITES} == SUITES


def test_public_words_of_decorators_and_hooks() -> None:
    """Plugins and observers rely on these."""
    assert {name: words(getattr(decorators, name))[1:] for name in DECLARED} == DECLARED
    assert {name: words(hook) for name, hook in vars(Hooks).items() if not name.startswith("_")} == HOOKS


@transform("sized")
@attrs.frozen
class Sized:
    """A transform with an option that has got another name."""

    length: int = option(default=1, help="how long")
    size: int = option(default=0, help="how long", deprecated="write `length`")

    def process_record(self, record: Record, _context: Any) -> Record:
        return record


FILE = """\
name: page
topics: {given: {external: true}}
flows:
  one:
    from: given
    steps:
      - {use: sized, size: 3}
    to: made
"""


def test_a_deprecated_option_warns_with_what_to_write() -> None:
    """At its line, and the pipeline is taken all the same; who does not set it is left in peace."""
    known = Registry()
    known.add([Sized])
    plan, warnings = build(parse(FILE, "page.yaml"), known)
    assert plan.stages["one"].steps[0].use.options.size == 3
    assert [str(warning) for warning in warnings] == [
        "page.yaml:7:28: warning: flows.one.steps[0].size: deprecated: write `length`"
    ]
    assert build(parse(FILE.replace("size: 3", "length: 3"), "page.yaml"), known)[1] == []


def test_a_deprecated_option_is_shown_as_such() -> None:
    """In `plugin show`, in the reference, and to editors."""
    assert fields_table(Sized)[1].help == "how long (deprecated: write `length`)"
    assert json_schema(Sized)["properties"]["size"]["deprecated"] is True
    assert "deprecated" not in json_schema(Sized)["properties"]["length"]


@transform("measured", deprecated="write `use: sized`", example="{use: measured}")
def measured(record: Record) -> Record:
    """Do what `sized` does."""
    return record


def test_a_deprecated_plugin_warns_with_what_to_write() -> None:
    """At the line of the file that names it, once, and it is used all the same."""
    known = Registry()
    known.add([measured, Sized])
    plan, warnings = build(parse(FILE.replace("sized, size: 3", "measured"), "page.yaml"), known)
    assert plan.stages["one"].steps[0].use.plugin.name == "measured"
    assert [str(warning) for warning in warnings] == [
        "page.yaml:7:15: warning: flows.one.steps[0].use: measured is deprecated: write `use: sized`"
    ]


def test_a_deprecated_plugin_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """In `plugin show`, in its page, and to editors; the others have no word of it."""
    known = Registry()
    known.add([measured, Sized])
    monkeypatch.setattr(known, "origin", lambda kind, name: Origin(kind, name, "dist", "1", "a:b"))
    told = [describe.facts(describe.plugin(known, "transform", name)) for name in ("measured", "sized")]
    assert [facts.get("deprecated") for facts in told] == ["write `use: sized`", None]
    monkeypatch.setattr(known, "names", lambda kind: ["measured", "sized"] if kind == "transform" else [])
    schema = json.dumps(describe.pipeline_schema(known))
    assert schema.count('"deprecated": true') == 2  # the plugin, and the option of the other one


def test_an_old_name_of_the_facade_warns_with_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken meanwhile; what never was a name is an error as ever."""
    monkeypatch.setitem(streamweaver._OLD, "Row", "Record")
    with pytest.warns(FutureWarning, match=r"^streamweaver.Row is deprecated: write streamweaver.Record$") as told:
        found = streamweaver.Row  # type: ignore[attr-defined]
    assert found is Record
    assert told[0].filename == __file__
    with pytest.raises(ImportError, match="Column"):
        exec("from streamweaver import Column")
    with pytest.raises(AttributeError, match="module 'streamweaver' has no attribute 'Column'"):
        _ = streamweaver.Column  # type: ignore[attr-defined]


def test_old_names_lead_to_new_ones() -> None:
    """Each name that is on its way out stands for a public one, and is public no more."""
    assert set(streamweaver._OLD.values()) <= set(streamweaver.__all__)
    assert not streamweaver._OLD.keys() & set(streamweaver.__all__)


@observer(api=1)
class Watcher:
    """Says for which contract it was written."""

    @observer
    def stage_started(self, stage: str) -> None: ...


class Silent:
    """Says it at its hook only."""

    @observer(api=1)
    def stage_started(self, stage: str) -> None: ...


@pytest.mark.parametrize("kind", [Watcher, Silent])
def test_an_observer_declares_its_contract_too(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for the contract before warns, one for another is refused, each with what to do."""
    monkeypatch.setattr(plugin, "API_VERSION", 2)
    with pytest.warns(FutureWarning, match=rf"observer '{kind.__name__}' was written for .* 1, .*@observer\(api=2\)"):
        Observers(print).connect(kind())
    monkeypatch.setattr(plugin, "OLDEST_API", 2)
    watching = Observers(print)
    with pytest.raises(PluginError, match="made for plugin API 1, this streamweaver offers 2: upgrade the plugin"):
        watching.connect(kind())
    assert not watching.wants("stage_started")


def test_a_plugin_for_an_older_contract_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the next contract is being introduced, plugins for the one before work, and say what to do."""
    monkeypatch.setattr(plugin, "API_VERSION", 2)
    known = Registry()
    with pytest.warns(FutureWarning, match=r"transform 'sized' was written for plugin API 1, .*@transform\(api=2\)"):
        known.add([Sized])
    assert known.load("transform", "sized").options is Sized
