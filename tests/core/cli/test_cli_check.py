"""`pipeline check`: findings, what a valid file describes, and connections."""

import sys
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import option, sink
from streamweaver.cli import check
from streamweaver.cli.check import Connection, connect_all, retention
from streamweaver.cli.load import load
from streamweaver.graph.plan import PluginUse
from streamweaver.plugin import plugin_of


def test_a_valid_file_is_described(run, shop: Path) -> None:
    """Stages with their guarantees, then topics, on standard output; exit status 0; nothing is made."""
    said = run("pipeline", "check", "shop.yaml")
    assert said.status == 0
    assert said.out.startswith("shop.yaml: ok")
    assert "at_least_once" in said.out
    assert "priced" in said.out
    assert not Path(".streamweaver").exists()


def test_a_valid_file_as_json(run, shop: Path) -> None:
    """One object with ok, stages and topics."""
    described = run("pipeline", "check", "shop.yaml", "--json").json
    assert described["ok"] is True
    assert [stage["name"] for stage in described["stages"]] == ["file", "prices", "out"]
    assert [topic["name"] for topic in described["topics"]] == ["orders", "priced"]


def test_findings_are_errors_with_their_place(run, shop: Path) -> None:
    """Each mistake is a line FILE:line:column on standard error, exit status 2."""
    Path("shop.yaml").write_text(Path("shop.yaml").read_text().replace("use: file", "use: fil"))
    said = run("pipeline", "check", "shop.yaml", "--set", "delivery=never")
    assert said.status == 2
    assert not said.out
    assert "did you mean 'file'?" in said.err
    assert any(line.startswith("shop.yaml:14:") for line in said.err.splitlines())
    assert "--set delivery" in said.err


def test_findings_as_json(run, shop: Path) -> None:
    """With --json the findings are one object on standard output, exit status 2 still."""
    said = run("pipeline", "check", "shop.yaml", "--json", "--set", "delivery=never")
    assert said.status == 2
    assert said.json["ok"] is False
    assert [set(finding) for finding in said.json["findings"]] == [{"file", "line", "column", "message", "warning"}]


def test_warnings_do_not_fail(run, shop: Path) -> None:
    """A topic that nobody uses is a warning on standard error, exit status 0."""
    said = run("pipeline", "check", "shop.yaml", "--set", "topics.idle.partitions=1")
    assert said.status == 0
    assert "warning" in said.err


def test_connect_before_the_first_start_makes_nothing(run, shop: Path) -> None:
    """Where nothing is stored yet, --connect looks whether the folder could be made."""
    said = run("pipeline", "check", "shop.yaml", "--connect")
    assert said.status == 0
    assert "the first start makes .streamweaver/shop" in said.out
    assert not Path(".streamweaver").exists()


def test_connect_opens_the_broker(run, ran: Path) -> None:
    """After a run the log is opened, and its topics are counted."""
    said = run("pipeline", "check", "shop.yaml", "--connect", "--json")
    assert said.status == 0
    assert said.json["connections"][0]["ok"] is True


def test_connect_finds_topics_that_differ(run, ran: Path) -> None:
    """A topic that exists with another number of partitions is told, exit status 1."""
    said = run("pipeline", "check", "shop.yaml", "--connect", "--set", "topics.orders.partitions=3")
    assert said.status == 1
    assert "topic orders has 2 partitions, declared are 3" in said.err


@sink("probed")
@attrs.frozen
class Probed:
    """A sink that can be reached, or not."""

    up: bool = option(default=True, help="whether it can be reached")

    async def probe(self) -> None:
        """Reach what it needs."""
        if not self.up:
            raise ConnectionError("nobody answers")

    def write(self, batch) -> None:
        """Write nothing."""


@sink("stubborn")
@attrs.frozen
class Stubborn:
    """A sink whose plain probe waits for ever."""

    def probe(self) -> None:
        """Wait."""
        threading.Event().wait()

    def write(self, batch) -> None:
        """Write nothing."""


@sink("quitter")
@attrs.frozen
class Quitter:
    """A sink whose probe ends the process."""

    def probe(self) -> None:
        """Give up as programs do."""
        sys.exit("no licence")

    def write(self, batch) -> None:
        """Write nothing."""


def connected(*plugins: type[Any]) -> list[Connection]:
    """Connect a pipeline whose stages have these plugins; return what became of each, the broker left out."""
    plan = load(Path("shop.yaml")).plan
    stages = {
        plugin.__name__: attrs.evolve(
            plan.stages["out"], name=plugin.__name__, use=PluginUse(plugin_of(plugin), plugin())
        )
        for plugin in plugins
    }
    return connect_all(attrs.evolve(plan, stages=stages), Path("data"))[1:]


def test_a_probe_that_ends_the_process_ends_only_itself(shop: Path) -> None:
    """It is told as a failure of its plugin at once; the others are still tried."""
    quitter, probed = connected(Quitter, Probed)
    assert (quitter.ok, probed.ok) == (False, True)
    assert quitter.text == "the plugin tried to end the program, with 'no licence'"


def test_a_probe_that_does_not_end_is_given_up(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain ones run in a thread that keeps neither the others nor the process."""
    monkeypatch.setattr(check, "CONNECT_SECONDS", 0.1)
    stubborn, probed = connected(Stubborn, Probed)
    assert (stubborn.ok, probed.ok) == (False, True)
    assert stubborn.text.startswith("no answer within")


@pytest.mark.parametrize("command", ["check", "graph"])
def test_a_warning_does_nothing_to_a_terminal(run, shop: Path, command: str) -> None:
    """It may quote what the file says, its own name even: shown escaped, as every other finding is."""
    file = Path("\x1b[31mshop.yaml")
    file.write_text(Path("shop.yaml").read_text().replace("topics:", "topics:\n  idle: {}"))
    said = run("pipeline", command, file)
    assert said.status == 0
    assert "warning: " in said.err
    assert "\x1b" not in said.err
    assert "\\u001b[31mshop.yaml" in said.err


def test_what_is_missing_and_may_come_is_a_warning(run, shop: Path) -> None:
    """Plugins say it, and it is told at the stage's place; the file is valid all the same."""
    Path("orders.ndjson").unlink()
    said = run("pipeline", "check", "shop.yaml")
    assert said.status == 0
    assert "shop.yaml:" in said.err
    assert "warning: stage file: there is no file orders.ndjson yet" in said.err
    (finding,) = run("pipeline", "check", "shop.yaml", "--json").json["findings"]
    assert (finding["warning"], finding["line"] > 0) == (True, True)


def test_connect_looks_at_files(run, shop: Path) -> None:
    """An input file that is not there, or an output that cannot be written, fails --connect."""
    Path("orders.ndjson").unlink()
    Path("out.ndjson").mkdir()
    said = run("pipeline", "check", "shop.yaml", "--connect")
    assert said.status == 1
    assert "stage file: cannot be used: ndjson_file: cannot read orders.ndjson: No such file or directory" in said.err
    assert "stage out: cannot be used: file: " in said.err
    assert "out.ndjson is a folder; check `path`" in said.err


@pytest.mark.parametrize("up", [True, False])
def test_connect_lets_plugins_probe(shop: Path, up: bool) -> None:
    """A plugin that can probe its connection does, and its error is told under the stage's name."""
    plan = load(Path("shop.yaml")).plan
    use = PluginUse(plugin_of(Probed), Probed(up=up))
    stages = {**plan.stages, "out": attrs.evolve(plan.stages["out"], use=use)}
    *_, probed = connect_all(attrs.evolve(plan, stages=stages), Path("data"))
    assert (probed.part, probed.ok) == ("stage out", up)
    assert up or probed.text == "ConnectionError: nobody answers"


@pytest.mark.parametrize(
    ("ms", "size", "text"),
    [(86_400_000, None, "1d"), (5_400_000, None, "90m"), (1500, 10, "1.5s, 10 B"), (None, None, "all")],
)
def test_retention_is_readable(ms: int | None, size: int | None, text: str) -> None:
    """Age in the largest unit that fits, and size."""
    assert retention({"retention_ms": ms, "retention_bytes": size}) == text
