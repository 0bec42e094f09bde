"""The harness with which authors test whole pipelines."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import attrs
import pytest

from streamweaver import (
    BadRecord,
    Batch,
    ProducerContext,
    Record,
    Rejected,
    Retriable,
    TransformContext,
    option,
    producer,
    sink,
    transform,
)
from streamweaver.codecs import Json
from streamweaver.errors import BrokerError, CodecError, ConfigError, RunError
from streamweaver.hooks import observer
from streamweaver.testing import FakeClock
from streamweaver.testing.harness import run, run_async


@producer
def three() -> Any:
    """Bring three, and one that is none."""
    yield from (Record({"n": n}, key=f"k{n}") for n in range(3))
    yield Rejected(b"?", "unreadable")


@transform
def shout(record: Record) -> Record:
    """Fail for one."""
    if record.value["n"] == 1:
        raise ValueError("one")
    return record


PIPELINE = """
name: t
topics: {a: {partitions: 2}}
producers: {p: {use: three, to: a}}
flows: {f: {from: a, steps: [{use: shout}], to: b}}
"""


def test_a_test_sees_everything_that_a_run_left() -> None:
    """Values, records, dead letters, counts; nothing has to be cleaned up."""
    ran = run(PIPELINE, [three, shout])
    assert sorted(value["n"] for value in ran.values("b")) == [0, 2]
    assert {record.key for record in ran.records("a")} == {b"k0", b"k1", b"k2"}
    assert sorted((letter.stage, letter.reason) for letter in ran.dead_letters) == [("f", "one"), ("p", "unreadable")]
    assert ran.counts["f"]["dead_lettered"] == 1
    assert ran.summary.drained
    assert ran.log == []


def test_a_wrong_text_raises_before_anything_runs() -> None:
    """With every finding."""
    with pytest.raises(ConfigError, match=r"pipeline.yaml:3:[0-9]+: producers.p.too: unknown key 'too'"):
        run(
            "name: t\nproducers:\n  p: {use: three, to: a, upto: 1, too: 2}\n".replace(", upto: 1", "        "), [three]
        )


async def test_a_pipeline_that_fails_raises_unless_expected() -> None:
    """So that no test passes by overlooking it."""

    @producer
    def broken() -> Any:
        raise ValueError("no")
        yield  # type: ignore[unreachable]

    text = "name: t\nproducers: {p: {use: broken, to: a, restart: {attempts: 0}}}\n"
    with pytest.raises(RunError, match=r"^stage p: ValueError: no$"):
        await run_async(text, [broken])
    assert (await run_async(text, [broken], fails=True)).summary.error == "stage p: ValueError: no"


async def test_a_failing_test_ends_the_pipeline(tmp_path: Path) -> None:
    """What `during` raises comes out, and nothing goes on running behind it."""

    @producer
    async def endless() -> Any:
        while True:
            yield Record(1)
            await asyncio.sleep(0)

    async def wrong(engine: Any) -> None:
        raise AssertionError("the test's own")

    before = asyncio.all_tasks()
    with pytest.raises(AssertionError, match="the test's own"):
        await run_async("name: t\nproducers: {p: {use: endless, to: a}}\n", [endless], data_dir=tmp_path, during=wrong)
    assert asyncio.all_tasks() == before


async def test_who_waits_for_a_pipeline_that_fails_is_told(tmp_path: Path) -> None:
    """Its error comes out, or is in what comes back if it was expected, and `during` does not wait for ever."""

    @producer
    def broken() -> Any:
        raise ValueError("no")
        yield  # type: ignore[unreachable]

    ended: list[BaseException] = []

    async def wait(engine: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            ended.append(error)
            raise

    text = "name: t\nproducers: {p: {use: broken, to: a, restart: {attempts: 0}}}\n"
    before = asyncio.all_tasks()
    with pytest.raises(RunError, match=r"^stage p: ValueError: no$"):
        await run_async(text, [broken], data_dir=tmp_path, during=wait)
    ran = await run_async(text, [broken], data_dir=tmp_path, during=wait, fails=True)
    assert ran.summary.error == "stage p: ValueError: no"
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError):
        await run_async(text, [broken], data_dir=tmp_path / "file", during=wait)
    assert len(ended) == 3
    assert asyncio.all_tasks() == before


async def test_what_looks_at_a_run_may_outlast_it(tmp_path: Path) -> None:
    """A run that ends well is no reason to leave out what `during` still has to check."""
    left = asyncio.Event()

    class Watching:
        @observer
        def pipeline_stopped(self, pipeline: str, error: str | None) -> None:
            left.set()

    async def wrong(engine: Any) -> None:
        await left.wait()
        for _ in range(10):  # in which the run ends, and whoever waits for it hears of that
            await asyncio.sleep(0)
        raise AssertionError("the test's own")

    with pytest.raises(AssertionError, match="the test's own"):
        await run_async(PIPELINE, [three, shout], data_dir=tmp_path, during=wrong, observers=[Watching()])


async def test_what_cannot_be_decoded_raises(tmp_path: Path) -> None:
    """A test that reads a topic is told of bytes that its codec does not know."""

    @producer
    def odd() -> Any:
        yield Record(b"\xff")

    text = "name: t\ntopics: {a: {codec: %s}}\nproducers: {p: {use: odd, to: a}}\n"
    await run_async(text % "bytes", [odd], data_dir=tmp_path)
    ran = await run_async(text % "text", [odd], data_dir=tmp_path)
    with pytest.raises((UnicodeDecodeError, CodecError)):
        ran.records("a")


# -- one plugin -----------------------------------------------------------------------------------


@transform
def visits(record: Record, context: TransformContext, *, by: Annotated[str, "field"] = "user") -> Record | None:
    """Number the records of each user; drops empty ones."""
    if not record.value:
        return None
    user = record.value[by]
    context.state[user] = record.value["visit"] = context.state.get(user, 0) + 1
    context.count("visits")
    context.gauge("last", record.value["visit"])
    return record


def test_a_transform_over_given_records() -> None:
    """Outputs, dead letters, state and figures of a plugin that is not installed."""
    ran = run(visits, records=[{"who": "ada"}, {}, {"user": "bob"}, {"who": "ada"}], options={"by": "who"})
    assert ran.values() == [{"who": "ada", "visit": 1}, {"who": "ada", "visit": 2}]
    assert [(letter.stage, letter.step, letter.reason) for letter in ran.dead_letters] == [
        ("visits", "visits", "'who'")
    ]
    assert ran.state() == {"ada": 2}
    assert (ran.counts["visits"]["in"], ran.counts["visits"]["filtered"]) == (4, 1)


def test_what_a_plugin_counts() -> None:
    """Its own figures are beside those of the engine."""
    figures = run(visits, records=[{"user": "ada"}, {"user": "ada"}]).metrics["visits"]
    assert (figures["counters"], figures["gauges"], figures["out"]) == ({"visits": 2}, {"last": 2.0}, 2)


def test_a_record_brings_its_key_its_time_and_its_headers() -> None:
    """What is given as a record arrives as that record; a value alone gets the clock's time."""
    given = Record({"user": "ada"}, key="k", timestamp=5, headers=(("h", b"1"),))
    first, second = run(visits, records=[given, {"user": "ada"}], clock=FakeClock(7)).records()
    assert (first.key, first.timestamp, first.headers) == (b"k", 5, (("h", b"1"),))
    assert (second.key, second.timestamp) == (None, 7)


def test_a_restart_goes_on_with_the_state(tmp_path: Path) -> None:
    """On the same data the next run reads what is new, with what the last one remembered."""
    run(visits, records=[{"user": "ada"}], data_dir=tmp_path)
    ran = run(visits, records=[{"user": "ada"}], data_dir=tmp_path)
    assert [value["visit"] for value in ran.values()] == [1, 2]
    assert ran.counts["visits"]["in"] == 1


@producer(resumes=True)
async def ticks(context: ProducerContext, *, last: Annotated[int, "ticks"] = 3) -> AsyncIterator[Record | Rejected]:
    """Bring one an hour."""
    for number in range(context.position or 0, last):
        await context.sleep(3600)
        yield Record({"at": context.now()}, position=number + 1)
    yield Rejected(b"?", "no tick", position=last)


def test_a_producer_that_waits_takes_no_time() -> None:
    """Hours pass on the clock of the test, and what it could not read is among the dead letters."""
    began, clock = time.perf_counter(), FakeClock(0)
    ran = run(ticks, clock=clock)
    assert ran.values() == [{"at": hours * 3_600_000} for hours in (1, 2, 3)]
    assert [letter.reason for letter in ran.dead_letters] == ["no tick"]
    assert clock.now() == 3 * 3_600_000
    assert time.perf_counter() - began < 60


def test_the_stages_words_stand_among_the_options() -> None:
    """`count` ends a producer that has no end."""
    assert len(run(ticks, options={"last": 1_000_000, "count": 2}).values()) == 2


def test_a_sink_over_given_records(tmp_path: Path) -> None:
    """What it could not take are dead letters; a retry takes no time."""
    taken: list[Any] = []
    busy = [Retriable("busy", after=3600.0)]

    @sink("shelf")
    @attrs.define
    class Shelf:
        """Keep numbers."""

        least: int = option(help="smallest number", default=0)

        async def write(self, batch: Batch) -> None:
            if busy:
                raise busy.pop()
            for index, record in enumerate(batch):
                if record.value < self.least:
                    raise BadRecord(index, "too small")
            taken.extend(record.value for record in batch)

    ran = run(Shelf, records=[3, 1, 2], options={"least": 2})
    assert sorted(taken) == [2, 3]
    assert [letter.reason for letter in ran.dead_letters] == ["too small"]
    assert ran.counts["shelf"]["retries"] == 1


def test_records_for_the_topics_of_a_pipeline() -> None:
    """By topic, keyed records in the partition of their key."""
    ran = run(
        """
        name: t
        topics: {a: {partitions: 2, external: true}}
        flows: {f: {from: a, steps: [{use: visits}], to: b}}
        """,
        [visits],
        records={"a": [Record({"user": user}, key=user) for user in ("ada", "bob", "ada", "cy", "dan")]},
    )
    assert sorted((value["user"], value["visit"]) for value in ran.values("b")) == [
        ("ada", 1),
        ("ada", 2),
        ("bob", 1),
        ("cy", 1),
        ("dan", 1),
    ]
    assert ran.state("f") == {"ada": 2, "bob": 1, "cy": 1, "dan": 1}
    assert len({letter.partition for letter in ran.rows["a"]}) == 2


FLOW = "name: t\ntopics: {a: {external: true}}\nflows: {f: {from: a, to: b}}\n"


@pytest.mark.parametrize(
    ("what", "given", "text"),
    [
        (FLOW, {"records": [1]}, "got a list of records beside a pipeline, expected a list for each topic"),
        (FLOW, {"records": {"x": [1]}}, "got records for 'x', which is no topic of the pipeline"),
        (FLOW, {"options": {"a": 1}}, "got options beside a pipeline, expected them in its text"),
        (visits, {"records": {"input": [1]}}, "got records by topic for one plugin, expected a list"),
        (ticks, {"records": [1]}, "got records for a producer, expected none: it brings its own"),
        (visits, {"duration_seconds": 1}, "got duration_seconds on a clock that stands .* run the plugin in the text"),
        (FLOW, {"duration_seconds": 1, "clock": FakeClock()}, "got duration_seconds on a clock that stands"),
        (Json, {"records": [1]}, "json is a codec, expected a producer, transform or sink"),
    ],
)
def test_what_does_not_go_together_is_refused(what: object, given: dict[str, Any], text: str) -> None:
    """Before anything runs, with what was expected."""
    with pytest.raises((ValueError, TypeError), match=text):
        run(what, **given)


def test_wrong_options_of_a_plugin_are_told() -> None:
    """As in a pipeline file."""
    with pytest.raises(ConfigError, match="unknown key 'bye'; did you mean 'by'"):
        run(visits, options={"bye": "x"})
