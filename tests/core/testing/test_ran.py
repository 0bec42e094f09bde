"""What a run leaves behind, as a test looks at it."""

from typing import Any

import attrs
import pytest

from streamweaver import Batch, Record, TransformContext, sink, transform
from streamweaver.testing.harness import run
from streamweaver.testing.ran import Ran


@transform
def counted(record: Record, context: TransformContext) -> Record:
    """Count records."""
    context.state["n"] = context.state.get("n", 0) + 1
    return record


FILE = """
name: t
topics: {a: {external: true}}
flows:
  one: {from: a, steps: [{use: counted}, {use: filter, where: n > 1}, {use: counted}], to: b}
  two: {from: b, to: c}
"""


@pytest.fixture(scope="module")
def ran() -> Ran:
    return run(FILE, [counted], records={"a": [{"n": n} for n in range(4)]})


def test_each_step_has_its_state(ran: Ran) -> None:
    """Two steps of one plugin remember apart from each other."""
    assert [ran.state("one", step) for step in range(3)] == [{"n": 4}, {}, {"n": 2}]


def test_each_partition_has_its_state() -> None:
    """A key that stands in several partitions has a value in each; the state of all together then is a question."""
    text = (
        "name: t\ntopics: {a: {partitions: 2, external: true}}\nflows: {f: {from: a, steps: [{use: counted}], to: b}}"
    )
    ran = run(text, [counted], records={"a": [Record({}, key=str(number)) for number in range(20)]})
    held = [sum(len(rows) for rows in ran.rows["a"] if rows.partition == number) for number in range(2)]
    assert min(held) > 0
    assert [ran.state("f", partition=number) for number in range(2)] == [{"n": count} for count in held]
    with pytest.raises(LookupError, match="stage f: the key 'n' stands in several partitions, expected one of them"):
        ran.state("f")
    with pytest.raises(LookupError, match="stage f: got the partition 2, it has 2; they count from 0"):
        ran.state("f", partition=2)


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda ran: ran.state(), "got the stage None, expected one of one, two"),
        (lambda ran: ran.state("three"), "got the stage 'three', expected one of one, two"),
        (lambda ran: ran.state("two"), "stage two: got the step 0, it has 0"),
        (lambda ran: ran.state("one", 3), "stage one: got the step 3, it has 3; they count from 0"),
        (lambda ran: ran.values("x"), "got the topic 'x', expected one of a, b, c"),
        (lambda ran: ran.values(), "got the topic 'output', expected one of a, b, c"),
        (lambda ran: attrs.evolve(ran, kept=None).state("one"), "expected a run on the embedded log"),
    ],
)
def test_what_is_not_there_is_told(ran: Ran, ask: Any, text: str) -> None:
    """With what there is."""
    with pytest.raises(LookupError, match=text):
        ask(ran)


def test_a_sink_makes_no_records() -> None:
    """Whoever asks a sink's run for records is told where they are."""

    @sink
    def nowhere(batch: Batch) -> None:
        """Keep nothing."""

    with pytest.raises(LookupError, match="a sink makes no records: look where it writes them"):
        run(nowhere, records=[{"n": 1}]).values()


def test_figures_of_every_stage(ran: Ran) -> None:
    """The counts are among them."""
    assert ran.metrics.keys() == ran.counts.keys() == {"one", "two"}
    assert all(ran.metrics[stage].items() >= counts.items() for stage, counts in ran.counts.items())
