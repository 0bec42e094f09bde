"""What the engine promises about failing stages holds on Kafka: offsets, dead letters, stops with a deadline."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults import kill_at
from faults.running import Launcher, options, unmeasured, until
from streamweaver import (
    BadRecord,
    Batch,
    BrokerContext,
    ProducerContext,
    Record,
    Retriable,
    producer,
    sink,
    transform,
)
from streamweaver.errors import RunError
from streamweaver.testing.broker import PATIENCE, fresh
from streamweaver.testing.harness import run_async
from streamweaver_brokers.kafka import Kafka

SLOW_DISK = Path(__file__).parents[3] / "faults/slow_disk.py"


@producer(resumes=True)
def numbers(context: ProducerContext) -> Iterator[Record]:
    """Count to ten."""
    for n in range(context.position or 0, 10):
        yield Record({"n": n}, position=n + 1)


def named(what: str) -> str:
    """Return a pipeline's name that nobody has used."""
    return fresh(what).replace("-", "_")


def pipeline(name: str, address: str, stages: str) -> str:
    """Return a pipeline on Kafka whose stages give up soon."""
    soon = "{attempts: 1, initial: 100ms}"
    return f"""
name: {name}
delivery: exactly_once
broker: {{use: kafka, servers: ["{address}"]}}
{stages.replace("NAME", name).replace("SOON", soon)}
"""


async def offsets(address: str, folder: Path, group: str) -> int:
    """Return the offset that a group with one partition has committed."""
    broker = Kafka(servers=[address])
    await broker.open(BrokerContext(pipeline="judge", data_dir=folder, role="tool"))
    try:
        return sum((await broker.offsets(group)).values())
    finally:
        await broker.close()


async def test_an_offset_never_passes_a_record_that_a_sink_refuses(kafka_address: str, tmp_path: Path) -> None:
    """A sink that stops at a record: its offset stays before it, and the next run goes on there."""
    name = named("refuse")
    text = pipeline(
        name,
        kafka_address,
        """
producers: {p: {use: numbers, to: NAME.n}}
sinks:
  picky: {use: picky, from: NAME.n, delivery: at_least_once, on_error: stop, restart: SOON}
""",
    )
    taken: list[int] = []
    refused = {5}

    @sink
    def picky(batch: Batch) -> None:
        """Take everything but one."""
        for index, record in enumerate(batch):
            if record.value["n"] in refused:
                raise BadRecord(index, "not this one")
        taken.extend(record.value["n"] for record in batch)

    with pytest.raises(RunError, match="picky"):
        await run_async(text, [numbers, picky], data_dir=tmp_path)
    assert 5 not in taken
    assert await offsets(kafka_address, tmp_path, f"{name}.picky") <= 5
    refused.clear()
    await run_async(text, [numbers, picky], data_dir=tmp_path)
    assert sorted(set(taken)) == list(range(10))


async def test_of_three_sinks_one_fails(kafka_address: str, tmp_path: Path) -> None:
    """An outage is waited out, a bad record becomes a dead letter, and neither touches the other sinks of a topic."""
    name = named("three")
    text = pipeline(
        name,
        kafka_address,
        """
producers: {p: {use: numbers, to: NAME.n}}
sinks:
  plain: {use: plain, from: NAME.n, delivery: at_least_once}
  picky: {use: picky, from: NAME.n, delivery: at_least_once, on_error: dead_letter}
  shaky: {use: shaky, from: NAME.n, delivery: at_least_once, retry: {initial: 10ms}}
""",
    )
    taken: dict[str, list[int]] = {"plain": [], "picky": [], "shaky": []}
    outages = iter(range(2))

    def take(who: str, batch: Batch) -> None:
        taken[who] += [record.value["n"] for record in batch]

    @sink
    def plain(batch: Batch) -> None:
        """Take everything."""
        take("plain", batch)

    @sink
    def picky(batch: Batch) -> None:
        """Take everything but one."""
        for index, record in enumerate(batch):
            if record.value["n"] == 5:
                raise BadRecord(index, "not this one")
        take("picky", batch)

    @sink
    def shaky(batch: Batch) -> None:
        """Fail twice."""
        if next(outages, None) is not None:
            raise Retriable("not now", after=0.01)
        take("shaky", batch)

    ran = await run_async(text, [numbers, plain, picky, shaky], data_dir=tmp_path)
    all_of_them = list(range(10))
    assert taken == {"plain": all_of_them, "picky": [n for n in all_of_them if n != 5], "shaky": all_of_them}
    assert [(letter.stage, json.loads(letter.value or b"")["n"]) for letter in ran.dead_letters] == [("picky", 5)]


async def test_without_dead_letters_no_offset_moves(
    kafka_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that fails while its dead letter cannot be stored stops the stage before it; later it is one letter."""
    monkeypatch.setattr("streamweaver_brokers.kafka.cluster.FRESH_SECONDS", 0.5)
    name = named("letters")
    text = pipeline(
        name,
        kafka_address,
        """
producers: {p: {use: halting, to: NAME.n}}
flows:
  f: {from: NAME.n, to: NAME.out, steps: [{use: fussy}], restart: SOON}
""",
    )
    door = asyncio.Event()

    @producer(resumes=True)
    async def halting(context: ProducerContext) -> AsyncIterator[Record]:
        """Count to ten, with a halt in between."""
        for n in range(context.position or 0, 10):
            if n == 5:
                await door.wait()
            yield Record({"n": n}, position=n + 1)

    @transform
    def fussy(record: Record) -> Record:
        """Refuse one record."""
        if record.value["n"] == 5:
            raise ValueError("five")
        return record

    async def break_letters(_engine: Any) -> None:
        broker = Kafka(servers=[kafka_address])
        await broker.open(BrokerContext(pipeline="judge", data_dir=tmp_path, role="tool"))
        async with asyncio.timeout(PATIENCE):
            while not sum((await broker.offsets(f"{name}.f")).values()):
                await asyncio.sleep(0.05)
        await broker._session.cluster._admin.delete_topics([f"{name}.dead_letters"])
        await broker.close()
        door.set()

    with pytest.raises(RunError, match=f"{name}.dead_letters"):
        await run_async(text, [halting, fussy], data_dir=tmp_path, during=break_letters)
    # Offsets count the marks of transactions as well; what comes out below tells for certain.
    ran = await run_async(text, [halting, fussy], data_dir=tmp_path)
    assert [value["n"] for value in ran.values(f"{name}.out")] == [n for n in range(10) if n != 5]
    assert [json.loads(letter.value or b"")["n"] for letter in ran.dead_letters] == [5]


@pytest.fixture
def numbered(launcher: Launcher, kafka_address: str) -> Path:
    """Return a pipeline on Kafka from a log file of numbered lines to a file."""
    name = named("numbers")
    file = launcher.folder / "numbers.yaml"
    file.write_text(
        f"""
name: {name}
delivery: exactly_once
broker: {{use: kafka, servers: ["{kafka_address}"], instance: worker}}
producers:
  lines: {{use: file_tail, paths: [numbers.log], to: {name}.lines, steps: [{{use: parse_log, format: json}}]}}
sinks:
  rows: {{use: file, from: {name}.lines, path: numbers.ndjson}}
"""
    )
    return file


def write_numbers(launcher: Launcher, count: int) -> None:
    """Leave a log file of so many lines."""
    (launcher.folder / "numbers.log").write_text("".join(f'{{"n": {n}}}\n' for n in range(count)))


def written(launcher: Launcher) -> list[int]:
    """Return the numbers in the sink's file."""
    rows = launcher.folder / "numbers.ndjson"
    return [json.loads(line)["n"] for line in rows.read_bytes().splitlines()]


def test_what_a_deadline_cuts_off_comes_with_the_next_start(launcher: Launcher, numbered: Path) -> None:
    """With full queues before a slow sink a stop ends in time, with status 3, and nothing is lost or doubled."""
    count = 30_000
    write_numbers(launcher, count)
    running = launcher.up(numbered, *options(drain_timeout="300ms"), script=SLOW_DISK, env=unmeasured())
    rows = launcher.folder / "numbers.ndjson"

    def some() -> bool:
        assert running.process.poll() is None, running.stderr[-3000:]
        return rows.exists() and rows.stat().st_size > 0

    until(some, "rows in the file")
    running.signal(signal.SIGTERM)
    assert running.wait() == 3, running.stderr
    launcher.up(numbered, *options(producers__lines__follow=False), "--until-idle").finish()
    assert written(launcher) == list(range(count))


def test_a_sink_that_stores_its_own_offset_goes_on_there(launcher: Launcher, numbered: Path) -> None:
    """Killed after the sink has written and before its offset is committed: no row is written twice."""
    count = 2_000
    write_numbers(launcher, count)
    once = options(producers__lines__follow=False)
    killed = launcher.up(
        numbered,
        *once,
        script=Path(kill_at.__file__),
        # The first save is that of an empty file.
        env=unmeasured({kill_at.VARIABLE: "state saved, the mark not#2"}),
    )
    assert killed.wait() == -signal.SIGKILL, killed.stderr
    assert written(launcher)
    launcher.up(numbered, *once, "--until-idle").finish()
    assert written(launcher) == list(range(count))
