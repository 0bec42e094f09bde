"""The harness with which authors test whole pipelines."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streamweaver import Record, Rejected, producer, transform
from streamweaver.errors import CodecError, ConfigError, RunError
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
