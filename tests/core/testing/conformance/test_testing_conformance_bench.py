"""A plugin's stage, run as the engine runs it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streamweaver import Fatal, Record, transform
from streamweaver.plugin import plugin_of
from streamweaver.testing.conformance.bench import CountingLoop, bench, finish, pipeline
from streamweaver.testing.conformance.suite import Suite


@transform
def double(record: Record) -> list[Record] | None:
    """Return each number twice, without zero."""
    if record.value == "end":
        raise Fatal("the end")
    number = record.value + 0
    return [Record(number), Record(number)] if number else None


SUITE = Suite(plugin=plugin_of(double), targets=(double,), patience_seconds=2.0)


async def test_what_goes_in_and_comes_out(tmp_path: Path) -> None:
    """Records go through the real stage: outputs, dead letters and the committed offset are there; runs go on."""
    async with bench(SUITE, tmp_path) as made:
        running = await made.process([1, 0, "bad"])
        assert running.done_to == 3
        assert [record.value for record in await made.outputs()] == [1, 1]
        assert [letter.offset for letter in await made.dead_letters()] == [2]
        assert await made.committed() == 3
        await made.process([2])
        assert [record.value for record in await made.outputs()] == [1, 1, 2, 2]


async def test_a_stage_that_fails_is_told_at_once(tmp_path: Path) -> None:
    """Who waits for something hears that the stage has ended, and how."""
    async with bench(SUITE, tmp_path) as made:
        with pytest.raises(AssertionError, match="the stage ended before, with Fatal: the end"):
            await made.process(["end"])


async def test_what_does_not_happen_ends_the_wait(tmp_path: Path) -> None:
    """When time is up the failure says what was waited for, and what the stage is doing."""
    suite = Suite(plugin=SUITE.plugin, targets=(double,), patience_seconds=0.05)
    async with bench(suite, tmp_path) as made, made.running() as running:
        with pytest.raises(AssertionError, match=r"5 records are to be settled: not within 0.05 s; the stage is "):
            await running.settled(5)


async def test_logs_are_one_folder_each(tmp_path: Path) -> None:
    """Benches of different names do not see each other's records; the folder is prepared once."""
    prepared: list[bool] = []
    suite = Suite(plugin=SUITE.plugin, targets=(double,), prepare=lambda: prepared.append(True))
    async with bench(suite, tmp_path, "one") as one, bench(suite, tmp_path, "two") as two:
        await one.process([1])
        assert await two.outputs() == []
    assert prepared == [True]


def test_the_pipeline_is_one_that_a_file_could_hold() -> None:
    """Words beside the plugin's options are those of the stage, or of the step."""

    @transform
    async def same(record: Record) -> Record:
        """Return a record."""
        return record

    suite = Suite(plugin=plugin_of(same), targets=(same,))
    stage = pipeline(suite, on_error="skip", concurrency=3).stages["stage"]
    assert stage.on_error == "skip"
    assert stage.steps[0].concurrency == 3


def test_an_endless_task_does_not_hold_up_the_kit() -> None:
    """A task that refuses to end is left behind, and its loop is closed."""

    async def check() -> None:
        tasks.append(asyncio.create_task(stubborn()))
        await asyncio.sleep(0)

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    tasks: list[Any] = []
    finish(check())
    assert not tasks[0].done()
    # It is this test's, and must not be told of when it is collected.
    tasks[0]._log_destroy_pending = False


def test_a_loop_that_counts_its_turns() -> None:
    """A turn of the loop is one step of a task that does not wait."""
    loop = CountingLoop()

    async def turn() -> int:
        before = loop.turns
        for _ in range(100):
            await asyncio.sleep(0)
        return loop.turns - before

    assert loop.run_until_complete(turn()) == 100
    loop.close()


async def test_an_event_of_a_stage_that_has_ended(tmp_path: Path) -> None:
    """Who waits for an event that cannot come any more hears how the stage has ended."""
    async with bench(SUITE, tmp_path) as made:
        await made.feed(["end"])
        async with made.running() as running:
            with pytest.raises(AssertionError, match=r"the call: it is not; .* with Fatal: the end"):
                await running.told(asyncio.Event(), "the call")
