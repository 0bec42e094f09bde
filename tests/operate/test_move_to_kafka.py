"""The recipe of docs/operate/move-to-kafka.md: a pipeline goes on at Kafka without losing or doubling a record."""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

STREAMWEAVER = Path(sys.executable).with_name("streamweaver")

PIPELINE = """\
name: {name}
delivery: exactly_once
dashboard: {{enabled: false}}
topics:
  {name}_lines: {{partitions: 2}}
  {name}_means: {{partitions: 2}}
producers:
  orders: {{use: ndjson_file, path: orders.ndjson, to: {name}_lines, key: who}}
flows:
  means:
    from: {name}_lines
    steps:
      - {{use: moving_average, field: price, by: who, size: 3}}
    to: {name}_means
sinks:
  out: {{use: file, from: {name}_means, path: out.ndjson}}
"""
ORDERS, WHO = 300, 5


def streamweaver(folder: Path, *arguments: object) -> str:
    done = subprocess.run([STREAMWEAVER, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, numbers: range) -> None:
    with (folder / "orders.ndjson").open("a") as file:
        file.writelines(json.dumps({"who": f"w{n % WHO}", "number": n, "price": n}) + "\n" for n in numbers)


def test_a_pipeline_moves_to_kafka_and_goes_on(tmp_path: Path, kafka_address: str) -> None:
    """Stopped with records in front of a flow, moved, started at Kafka: each line comes out once, averages go on."""
    name = f"m{uuid.uuid4().hex[:8]}"
    (tmp_path / "p.yaml").write_text(PIPELINE.format(name=name))
    to = ("broker.use=kafka", f'broker.servers=["{kafka_address}"]')
    up = ("pipeline", "up", "p.yaml", "--json")
    write(tmp_path, range(ORDERS))
    streamweaver(tmp_path, *up, "--until-idle")
    write(tmp_path, range(ORDERS, 2 * ORDERS))
    streamweaver(tmp_path, *up, "--only", "orders", "--until-idle")

    said: dict[str, Any] = json.loads(
        streamweaver(tmp_path, "pipeline", "move", "p.yaml", "--to", to[0], "--to", to[1], "--json")
    )
    assert said["topics"][f"{name}_lines"] == 2 * ORDERS
    assert said["topics"][f"{name}_means"] == ORDERS
    assert said["stages"]["means"] == WHO

    write(tmp_path, range(2 * ORDERS, 3 * ORDERS))
    streamweaver(tmp_path, *up, "--set", to[0], "--set", to[1], "--until-idle")
    rows = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert sorted(row["number"] for row in rows) == list(range(3 * ORDERS))
    assert all(
        row["moving_average"] == sum(range(n, max(n - 3 * WHO, -1), -WHO)) / min(3, n // WHO + 1)
        for row in rows
        for n in [row["number"]]
    )
