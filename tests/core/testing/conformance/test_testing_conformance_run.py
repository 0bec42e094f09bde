"""Running a suite, and what its author may claim then."""

from pathlib import Path
from typing import Any

import pytest

from streamweaver import Batch, Record, codec, producer, sink, transform
from streamweaver.plugin import plugin_of
from streamweaver.testing.conformance.run import behaviours, check, guarantee, run
from streamweaver.testing.conformance.suite import Behaviour, Outcome, Suite, Verdict
from streamweaver_brokers.embedded import Embedded
from streamweaver_sinks.console import Console
from streamweaver_sinks.file import File


@transform(example="{use: same}")
def same(record: Record) -> Record:
    """Pass a record on."""
    return record


@producer
def once() -> Any:
    """Bring nothing."""
    return iter(())


SUITE = Suite(plugin=plugin_of(same), targets=(same,))


def behaviour(check: Any = lambda _suite, _folder: None, guards: Any = None, name: str = "holds") -> Behaviour:
    return Behaviour(name, "It holds.", check, guards=guards)


@pytest.mark.parametrize("kind", ["producer", "transform", "sink", "codec", "broker"])
def test_behaviours_have_names_and_promises(kind: Any) -> None:
    """Within a kind no name stands twice, and each promise is a sentence."""
    found = behaviours(kind)
    assert len({one.name for one in found}) == len(found) > 10
    assert [one.name for one in found if not one.promise.endswith((".", ")"))] == []


def test_every_behaviour_gets_a_verdict() -> None:
    """Passed, or not applicable with the reason; each is told as soon as it is known."""
    told: list[Verdict] = []
    verdicts = run(SUITE, told.append)
    assert verdicts == told
    assert [verdict.behaviour for verdict in verdicts] == behaviours("transform")
    assert {verdict.outcome for verdict in verdicts} == {"passed", "not applicable"}
    assert all(bool(verdict.reason) == (verdict.outcome == "not applicable") for verdict in verdicts)


def test_a_check_runs_in_its_folder(tmp_path: Path) -> None:
    """The folder is the working folder while a check runs, and not afterwards."""
    seen: list[Path] = []
    before = Path.cwd()
    check(SUITE, behaviour(lambda _suite, folder: seen.extend([folder, Path.cwd()])), tmp_path)
    assert seen == [tmp_path, tmp_path]
    assert Path.cwd() == before


def test_a_failure_says_the_promise_first(tmp_path: Path) -> None:
    """The text is the promise, then what was found."""

    def fails(_suite: Suite, _folder: Path) -> None:
        raise AssertionError("three of four do not")

    with pytest.raises(AssertionError, match=r"^It holds\. three of four do not$"):
        check(SUITE, behaviour(fails), tmp_path)


def verdicts(outcome: Outcome, guards: Any, reason: str = "") -> list[Verdict]:
    return [Verdict(behaviour(guards=guards), outcome, reason)]


@sink(delivery="exactly_once")
def upsert(_batch: Batch) -> None:
    """Store nothing."""


@codec
class NoCodec:
    """None."""

    __attrs_attrs__ = ()


@pytest.mark.parametrize(
    ("target", "found", "claim"),
    [
        (upsert, verdicts("passed", "exactly_once"), ("exactly_once", "as declared")),
        (upsert, verdicts("failed", "exactly_once"), ("at_least_once", "it fails holds")),
        (upsert, verdicts("failed", "at_least_once"), ("best_effort", "it fails holds")),
        (upsert, verdicts("failed", None), ("exactly_once", "as declared")),
        (
            upsert,
            verdicts("not applicable", "exactly_once", "needs read="),
            ("exactly_once", "as declared; 1 behaviour that shows it was not asked for"),
        ),
        (File, verdicts("not applicable", "exactly_once", "it has no committed"), ("exactly_once", "as declared")),
        (Console, verdicts("failed", "at_least_once"), ("best_effort", "as declared")),
        (once, verdicts("failed", "exactly_once"), ("at_least_once", "as declared")),
        (same, verdicts("failed", "exactly_once"), ("at_least_once", "it fails holds")),
        (Embedded, verdicts("passed", "at_least_once"), ("exactly_once", "as declared")),
        (NoCodec, verdicts("failed", None), (None, "the pipeline's guarantee does not depend on a codec")),
    ],
)
def test_what_may_be_claimed(target: Any, found: list[Verdict], claim: tuple[str | None, str]) -> None:
    """What was declared, lowered by each failed behaviour on which a guarantee rests."""
    assert guarantee(Suite(plugin=plugin_of(target), targets=(target,)), found) == claim
