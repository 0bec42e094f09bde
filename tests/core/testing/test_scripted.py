"""Producers and sinks that do what a test says."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streamweaver.runtime.engine import Engine
from streamweaver.testing import Ran, run, run_async, scripted_producer, scripted_sink

FILE = """
name: test
producers: {in: {use: scripted, to: topic, restart: {initial: 1ms, longest: 1ms}}}
sinks: {out: {use: scripted, from: topic, retry: {initial: 1ms, longest: 1ms}, restart: {initial: 1ms, longest: 1ms}}}
"""


def through(values: list[int], source: dict[str, Any], target: dict[str, Any]) -> tuple[Ran, list[Any]]:
    """Run values from a scripted producer to a scripted sink."""
    out, taken = scripted_sink(**target)
    return run(FILE, [scripted_producer(values, **source), out]), taken


def test_it_brings_and_takes_everything() -> None:
    """Without a script each value goes through once, and the run ends."""
    assert through([1, 2, 3], {}, {})[1] == [1, 2, 3]


def test_an_order_of_its_own() -> None:
    """Values come in the order of the script, some of them twice if it says so."""
    assert through([10, 20, 30], {"order": [2, 0, 0]}, {})[1] == [30, 10, 10]


def test_a_crash_of_the_producer() -> None:
    """It raises once at each place; the next start goes on behind the last durable record."""
    ran, taken = through([1, 2, 3, 4], {"crash_at": [0, 2]}, {})
    assert taken == [1, 2, 3, 4]
    assert sum("scripted crash" in str(line.fields) for line in ran.log) >= 2


def test_input_that_is_rejected() -> None:
    """It becomes a dead letter, and the others go on."""
    ran, taken = through([1, 2, 3], {"reject_at": [1]}, {})
    assert taken == [1, 3]
    assert [letter.stage for letter in ran.dead_letters] == ["in"]


@pytest.mark.parametrize("script", [{"crash_at": [1]}, {"retry_at": [0, 2]}])
def test_a_sink_that_fails_for_a_time(script: dict[str, Any]) -> None:
    """What it refused for a time it takes in the end, each value once."""
    assert sorted(through([1, 2, 3], {}, script)[1]) == [1, 2, 3]


def test_a_sink_that_rejects() -> None:
    """Only the values that the script calls bad become dead letters."""
    ran, taken = through([1, 2, 3, 4], {}, {"reject": lambda value: value % 2 == 0})
    assert taken == [1, 3]
    assert len(ran.dead_letters) == 2


@pytest.mark.parametrize("script", [{"stall_at": 2}, {"ends": False}])
async def test_a_producer_that_stalls_or_waits(script: dict[str, Any], tmp_path: Path) -> None:
    """It brings what comes before, and then nothing, until it is stopped."""
    out, taken = scripted_sink()

    async def during(engine: Engine) -> None:
        async with asyncio.timeout(30):
            while len(taken) < 2:
                await asyncio.sleep(0.01)
        engine.stop()

    values = [1, 2, 3] if "stall_at" in script else [1, 2]
    await run_async(FILE, [scripted_producer(values, **script), out], data_dir=tmp_path, during=during)
    assert taken == [1, 2]
