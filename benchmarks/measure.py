"""Figures of this machine, for the table in README.md: `start`, `log`, `idle`, `latency [RATE [HOST:PORT]]`.

Absolute numbers, so nothing is held to them; `ratios.py` holds what can be held.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from streamweaver import BrokerContext, Rows, TopicSpec
from streamweaver_brokers.embedded import Embedded

PROGRAM = str(Path(sys.executable).with_name("streamweaver"))
DEMO = Path(__file__).parents[1] / "pipelines/demo.yaml"

BATCHES, SIZE = 1_200, 500

LATENCY = """
name: {name}
delivery: {delivery}
{broker}
topics: {{{trades}: {{partitions: 2}}, {prices}: {{partitions: 2}}}}
producers:
  stocks: {{use: stock_trades, to: {trades}, rate: {rate}}}
flows:
  averages:
    from: {trades}
    steps: [{{use: moving_average, field: price, by: symbol, size: 20}}]
    to: {prices}
sinks:
  out: {{use: file, from: {prices}, path: prices.ndjson}}
"""

EMBEDDED = "broker: {use: embedded}"


def _pipeline(delivery: str, broker: str, rate: str) -> str:
    """Return a pipeline with names that nobody has used before, since a broker keeps its topics."""
    name = f"latency_{time.time_ns()}"
    return LATENCY.format(
        name=name, trades=f"{name}_trades", prices=f"{name}_prices", delivery=delivery, broker=broker, rate=rate
    )


def start() -> None:
    """Time commands from the process's start to its end; the least and the median of ten, after one to warm up.

    With compiled files, as an installed program has them.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name, command in {
        "--help": [PROGRAM, "--help"],
        "check of the demo": [PROGRAM, "pipeline", "check", str(DEMO)],
    }.items():
        took = []
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        for _ in range(10):
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            took.append((time.perf_counter() - began) * 1000)
        print(f"{name}: median {statistics.median(took):.0f} ms, least {min(took):.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        file, rows = Path(folder, "first.yaml"), Path(folder, "prices.ndjson")
        file.write_text(_pipeline("exactly_once", EMBEDDED, "1000"))
        began = time.perf_counter()
        running = _up(file)
        while not rows.exists() or not rows.stat().st_size:
            time.sleep(0.005)
        print(
            f"first record in the file: {(time.perf_counter() - began) * 1000:.0f} ms after the start of `pipeline up`"
        )
        _down(running)


def _up(file: Path) -> "subprocess.Popen[bytes]":
    command = [PROGRAM, "pipeline", "up", str(file), "--data", str(file.parent / "data")]
    with file.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=file.parent)


def _down(running: "subprocess.Popen[bytes]") -> None:
    running.terminate()
    running.wait(40)


async def log() -> None:
    """Append to the embedded log and read it, in batches of 500, from one task; then look at its size."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Embedded()
        await broker.open(BrokerContext(pipeline="measure", data_dir=Path(folder)))
        await broker.create([TopicSpec(name="t")])
        values: list[bytes | None] = [b"%0100d" % index for index in range(SIZE)]
        keys: list[bytes | None] = [b"SYM%03d" % (index % 100) for index in range(SIZE)]
        count, payload = BATCHES * SIZE, BATCHES * SIZE * 106
        began = time.perf_counter()
        for number in range(BATCHES):
            unit = broker.begin()
            unit.append("t", 0, Rows(keys, values, [1_750_000_000_000 + number] * SIZE))
            await unit.commit()
        appended = time.perf_counter() - began
        reader = await broker.reader({("t", 0): 0})
        began, read = time.perf_counter(), 0
        while read < count:
            read += sum(map(len, await reader.poll(max_records=SIZE)))
        print(f"append {count / appended:,.0f}/s, read {count / (time.perf_counter() - began):,.0f}/s, by {SIZE}")
        await reader.close()
        await broker.close()
        stored = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        print(f"{stored / payload:.2f} bytes on disk for a byte of keys and values")


def idle(seconds: float = 20.0) -> None:
    """Measure the processor's time of a pipeline in which nothing happens."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "idle.yaml")
        file.write_text(_pipeline("exactly_once", EMBEDDED, "0.01"))
        running = _up(file)
        process = psutil.Process(running.pid)
        time.sleep(3)
        before = process.cpu_times()
        time.sleep(seconds)
        after = process.cpu_times()
        used = after.user + after.system - before.user - before.system
        print(f"idle: {used / seconds:.2%} of a core")
        _down(running)


def latency(rate: str = "1000", servers: str | None = None, seconds: float = 15.0) -> None:
    """Measure from a record's timestamp to its row in the file, at so many records a second through one flow."""
    if servers is None:
        kinds = {"exactly_once": EMBEDDED}
    else:
        kinds = dict.fromkeys(("at_least_once", "exactly_once"), f'broker: {{use: kafka, servers: ["{servers}"]}}')
    for delivery, broker in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "latency.yaml")
            file.write_text(_pipeline(delivery, broker, rate))
            running = _up(file)
            ages = sorted(_ages(Path(folder, "prices.ndjson"), seconds))
            _down(running)
            p50, p99 = ages[len(ages) // 2], ages[len(ages) * 99 // 100]
            where = "kafka" if servers else "embedded"
            print(
                f"{delivery} on {where}, {rate} records/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
                f"largest {ages[-1]:.1f} ms, {len(ages)} records"
            )


def _ages(rows: Path, seconds: float) -> list[float]:
    """Watch a file grow and return how old each new row is when it is there; the first five seconds do not count."""
    import msgspec

    ages: list[float] = []
    while not rows.exists():
        time.sleep(0.01)
    ends, begins = time.time() + seconds + 5.0, time.time() + 5.0
    rest = b""
    with rows.open("rb") as file:
        while time.time() < ends:
            data = file.read()
            now = time.time()
            if not data:
                time.sleep(0.0005)
                continue
            *lines, rest = (rest + data).split(b"\n")
            if now < begins:
                continue
            ages += [(now - made_at(msgspec.json.decode(line))) * 1000 for line in lines]
    return ages


def made_at(row: dict[str, Any]) -> float:
    """Return when a trade was made, in seconds."""
    from datetime import datetime

    return datetime.fromisoformat(row["timestamp"]).timestamp()


def main() -> None:
    what, *arguments = sys.argv[1:]
    if what == "log":
        asyncio.run(log())
    else:
        {"start": start, "idle": idle, "latency": latency}[what](*arguments)


if __name__ == "__main__":
    main()
