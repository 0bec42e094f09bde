"""What the graph decides: order, partitions, guarantees."""

from typing import Any

import pytest

from streamweaver import Batch, Record, producer, sink, transform
from streamweaver.errors import ConfigError
from streamweaver.graph.check import weaker
from streamweaver.testing.harness import plan_of


@producer(resumes=True)
def exact() -> Any:
    """Has positions."""


@producer
def loose() -> Any:
    """Has none."""


@sink(delivery="exactly_once")
def upsert(batch: Batch) -> None:
    """Harmless to repeat."""


@sink
def append(batch: Batch) -> None:
    """Appends."""


@sink(delivery="best_effort")
def view(batch: Batch) -> None:
    """Shows."""


@transform(groups_by="by")
def group(record: Record, *, by: str = "k") -> Record:
    """Groups."""
    return record


PLUGINS = [exact, loose, upsert, append, view, group]


def plan(rest: str, asked: str = "at_least_once") -> Any:
    return plan_of(f"name: t\ndelivery: {asked}\n{rest}", PLUGINS)


def test_writers_come_before_readers() -> None:
    """Whatever the order of the file; a loop keeps that of the file."""
    found = plan(
        """
flows:
  third: {from: b, to: c}
  second: {from: a, to: b}
producers:
  first: {use: exact, to: a}
"""
    )
    assert list(found.stages) == ["first", "second", "third"]
    found = plan(
        """
producers: {p: {use: exact, to: a}}
flows:
  there: {from: [a, back], to: b}
  again: {from: b, to: back}
"""
    )
    assert list(found.stages) == ["p", "there", "again"]


def test_a_topic_that_is_only_named_has_its_inputs_partitions() -> None:
    """The most of them, along the whole way."""
    found = plan(
        """
topics: {a: {partitions: 3}, b: {partitions: 5}}
producers: {p: {use: exact, to: a}, q: {use: exact, to: b}, r: {use: exact, to: solo}}
flows:
  f: {from: [a, b], to: c}
  g: {from: c, to: d}
"""
    )
    assert {name: topic.spec.partitions for name, topic in found.topics.items()} == {
        "a": 3,
        "b": 5,
        "c": 5,
        "d": 5,
        "solo": 1,
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("best_effort", dict.fromkeys("pqfuav", "best_effort")),
        ("at_least_once", dict.fromkeys("pqfua", "at_least_once") | {"v": "best_effort"}),
    ],
)
def test_a_stage_guarantees_the_weaker_of_what_is_asked_and_what_it_can(asked: str, expected: dict[str, str]) -> None:
    """A live view is best effort whatever is asked of the pipeline."""
    found = plan(
        """
producers: {p: {use: exact, to: a}, q: {use: loose, to: a}}
flows: {f: {from: a, to: b}}
sinks: {u: {use: upsert, from: b}, a: {use: append, from: b}, v: {use: view, from: b}}
""",
        asked,
    )
    assert {name: stage.delivery for name, stage in found.stages.items()} == expected


def test_one_stage_may_ask_for_less() -> None:
    """The others keep what the pipeline asks."""
    found = plan(
        """
producers: {p: {use: exact, to: a}}
sinks: {u: {use: upsert, from: a}, a: {use: append, from: a, delivery: at_least_once}}
""",
        "exactly_once",
    )
    assert [stage.delivery for stage in found.stages.values()] == ["exactly_once", "exactly_once", "at_least_once"]


def test_grouping_is_fine_where_equal_values_meet() -> None:
    """By the key of the writers, also through a flow that keeps keys; in one partition; or in a topic of others."""
    plan(
        """
topics: {a: {partitions: 4}, x: {partitions: 4, external: true}}
producers: {p: {use: exact, to: a, key: k}, q: {use: exact, to: one}}
flows:
  keep: {from: a, to: b}
  f: {from: b, steps: [{use: group}], to: c}
  g: {from: one, steps: [{use: group}], to: d}
  h: {from: x, steps: [{use: group}], to: e}
"""
    )


@pytest.mark.parametrize(
    ("producers", "flows"),
    [
        (
            "{p: {use: exact, to: a, key: k, rat: 500}}",
            "{f: {from: a, steps: [{use: group}], to: z}}",
        ),
        (
            "{p: {use: exact, to: a, key: k, rate: many}}",
            "{keep: {from: a, to: b}, f: {from: b, steps: [{use: group}], to: z}}",
        ),
        (
            "{p: {use: exact, key: k}, q: {use: exact, to: a}}",
            "{f: {from: a, steps: [{use: group}], to: z}}",
        ),
        (
            "{p: {use: exact, to: a, key: k}}",
            "{keep: {from: a, to: b, wrong: 1}, f: {from: [a, b], steps: [{use: group}], to: z}}",
        ),
    ],
)
def test_nothing_is_concluded_from_a_stage_that_cannot_be_read(producers: str, flows: str) -> None:
    """Its mistake is the only finding: which keys it writes, and into how many partitions, is not known."""
    with pytest.raises(ConfigError) as raised:
        plan(f"topics: {{a: {{partitions: 4}}}}\nproducers: {producers}\nflows: {flows}")
    (found,) = raised.value.findings
    assert "group" not in found.message


def test_what_another_mistake_does_not_touch_is_still_found() -> None:
    """A declared topic whose writer sets the key is judged, though what the writer reads is not known."""
    with pytest.raises(ConfigError) as raised:
        plan(
            """
topics: {a: {partitions: 4}, b: {partitions: 4}}
producers: {p: {use: exact, to: a, rat: 500}}
flows:
  keyed: {from: a, key: other, to: b}
  f: {from: b, steps: [{use: group}], to: z}
"""
        )
    assert ["rat" in found.message for found in raised.value.findings] == [True, False]
    assert "keyed by 'other'" in raised.value.findings[1].message


def test_the_weaker_is_found() -> None:
    """In either order."""
    assert weaker("exactly_once", "at_least_once") == weaker("at_least_once", "exactly_once") == "at_least_once"
    assert weaker("best_effort", "exactly_once") == "best_effort"
