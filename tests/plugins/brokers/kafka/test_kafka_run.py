"""Whole pipelines on Kafka, by the command line."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from streamweaver.testing.broker import fresh
from streamweaver_brokers.kafka import Kafka


async def run(file: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a pipeline until it is idle; returns the exit status and the counts of each stage."""
    program = Path(sys.executable).with_name("streamweaver")
    process = await asyncio.create_subprocess_exec(
        *(str(program), "pipeline", "up", str(file), "--until-idle", "--json", "--data", str(file.parent / "data")),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output.splitlines()[-1])["stages"]


async def values(broker: Kafka, topic: str) -> list[tuple[bytes | None, dict[str, bytes]]]:
    """Return value and headers of every record of a topic with one partition."""
    held = (await broker.ranges(topic))[0]
    reader = await broker.reader({(topic, 0): held.begin})
    found: list[tuple[bytes | None, dict[str, bytes]]] = []
    at = held.begin
    while at < held.end:
        for rows in await reader.poll():
            at = rows.next_offset
            headers = rows.headers or [()] * len(rows)
            found += [(value, dict(pairs)) for value, pairs in zip(rows.values, headers, strict=True)]
    await reader.close()
    return found


async def test_a_record_too_large_is_one_dead_letter(kafka_address: str, tmp_path: Path, launch: Any) -> None:
    """What the broker does not take is a dead letter, cut to what it takes; its neighbours go through, once."""
    name = fresh("large").replace("-", "_")
    (tmp_path / "in.ndjson").write_text(
        "".join(json.dumps({"n": n, "x": "y" * (3_000 * (n == 5))}) + "\n" for n in range(10))
    )
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        f"""
name: {name}
delivery: exactly_once
broker: {{use: kafka, servers: ["{kafka_address}"], max_record_bytes: 2000}}
producers:
  lines: {{use: ndjson_file, path: {tmp_path / "in.ndjson"}, to: {name}.out}}
"""
    )
    status, counts = await run(file)
    assert status == 0
    assert (counts["lines"]["out"], counts["lines"]["dead_lettered"]) == (9, 1)
    broker = await launch()
    assert [json.loads(value)["n"] for value, _ in await values(broker, f"{name}.out")] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    ((value, headers),) = await values(broker, f"{name}.dead_letters")
    assert value is not None
    assert value.startswith(b'{"n":5')
    assert len(value) + sum(len(key) + len(data) for key, data in headers.items()) <= 2_000
    assert b"bytes" in headers["streamweaver.reason"]
    # A second run has nothing to do.
    status, counts = await run(file)
    assert (status, counts["lines"]["out"]) == (0, 0)


async def test_dead_letters_are_replayed_once_by_two_at_once(kafka_address: str, tmp_path: Path, launch: Any) -> None:
    """`dlq` works beside Kafka as elsewhere: two commands at once share the letters, and none comes twice."""
    name = fresh("letters").replace("-", "_")
    (tmp_path / "in.ndjson").write_text("".join(f'{{"n": "{n}"}}\n' for n in range(5)) + '{"n": "x"}\n' * 5)
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        f"""
name: {name}
broker: {{use: kafka, servers: ["{kafka_address}"]}}
producers:
  lines: {{use: ndjson_file, path: {tmp_path / "in.ndjson"}, to: {name}.in}}
flows:
  numbers: {{from: {name}.in, steps: [{{use: convert, types: {{n: int}}}}], to: {name}.out}}
"""
    )
    status, counts = await run(file)
    assert (status, counts["numbers"]["dead_lettered"]) == (0, 5)

    async def dlq(*arguments: str) -> Any:
        program = Path(sys.executable).with_name("streamweaver")
        process = await asyncio.create_subprocess_exec(
            *(str(program), "dlq", *arguments, "--json", "--data", str(tmp_path / "data")),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return [json.loads(line) for line in output.splitlines()]

    ids = [letter["id"] for letter in await dlq("list", str(file))]
    assert len(ids) == 5
    both = await asyncio.gather(*(dlq("replay", str(file), "--all", "--set", "n=7") for _ in range(2)))
    assert sorted(one for (said,) in both for one in said["replayed"]) == sorted(ids)
    assert await dlq("list", str(file)) == []
    status, counts = await run(file)
    assert (status, counts["numbers"]["in"], counts["numbers"]["out"]) == (0, 5, 5)
