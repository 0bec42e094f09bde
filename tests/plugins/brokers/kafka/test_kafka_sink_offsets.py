"""The offset that a sink is told of a record is the one that the broker gave it, whatever lies between two of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from streamweaver import Batch, Rows, TopicSpec, sink
from streamweaver.testing import ScratchLog, run_async
from streamweaver.testing.fixtures import embedded_log, kafka_log  # noqa: F401 - fixtures

UNITS, EACH = 4, 3


@pytest.fixture(scope="session")
def kafka_servers(kafka_address: str) -> list[str]:
    """The broker of these tests."""
    return [kafka_address]


@pytest.fixture(params=["embedded", "kafka"])
def log(request: pytest.FixtureRequest) -> ScratchLog:
    """A log of either broker."""
    found: ScratchLog = request.getfixturevalue(f"{request.param}_log")
    return found


async def test_every_record_of_a_sink_has_its_offset(log: ScratchLog, tmp_path: Path) -> None:
    """Records of several units, which on Kafka have marks between them, read at once; with a step that drops some."""
    topic = log.name("n")
    async with log.opened() as broker:
        await broker.create([TopicSpec(name=topic)])
        # In the units of a producer, each of which is a transaction on Kafka.
        group = await broker.join(log.name("g"), [], single=True)
        async for lane in group.lanes():
            for unit in range(UNITS):
                numbers = range(unit * EACH, unit * EACH + EACH)
                begun = lane.begin()
                begun.append(topic, 0, Rows([None] * EACH, [b'{"n":%d}' % n for n in numbers], [1] * EACH))
                await begun.commit()
            await lane.release()
            break
        await group.leave()
    told: list[tuple[int, int | None]] = []
    sizes: list[int] = []

    @sink
    def listener(batch: Batch) -> None:
        sizes.append(len(batch))
        told.extend((record.value["n"], batch.offset(index)) for index, record in enumerate(batch))

    out, odd = tmp_path / "out.ndjson", tmp_path / "odd.ndjson"
    ran = await run_async(
        f"""
name: {log.name("p")}
topics: {{{topic}: {{external: true}}}}
sinks:
  out: {{use: file, from: {topic}, path: {out}, include: record}}
  odd: {{use: file, from: {topic}, path: {odd}, include: record, steps: [{{use: filter, where: "n % 2 == 1"}}]}}
  listener: {{use: listener, from: {topic}}}
""",
        [listener],
        log=log,
    )
    stored = [
        (json.loads(value or b"null")["n"], offset)
        for rows in ran.rows[topic]
        for value, offset in zip(rows.values, rows.offsets, strict=True)
    ]
    assert [n for n, _ in stored] == list(range(UNITS * EACH))
    assert max(sizes) > EACH, "a sink got records of several units at once"
    assert offsets_in(out) == stored
    assert told == stored
    assert offsets_in(odd) == [(n, offset) for n, offset in stored if n % 2]


def offsets_in(path: Path) -> list[tuple[Any, Any]]:
    """Return the numbers in a file, each with its offset."""
    return [(line["value"]["n"], line["offset"]) for line in map(json.loads, path.read_text().splitlines())]
