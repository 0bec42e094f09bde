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
  stocks: {{use: {producer}, to: {trades}, key: symbol, rate: {rate}}}
flows:
  averages:
    from: {trades}
    steps: [{{use: moving_average, field: price, by: symbol, size: 20}}]
    to: {prices}
sinks:
  out: {{use: file, from: {prices}, path: prices.ndjson}}
"""

EMBEDDED = "broker: {use: embedded}"

DATED = """\
import time
from collections.abc import Iterator
from itertools import count
from streamweaver import ProducerContext, Record, producer

@producer(resumes=True)
def dated_trades(context: ProducerContext) -> Iterator[Record]:
    for number in count(context.position or 0):
        trade = {"symbol": f"S{number % 20}", "price": number % 1000 / 8, "made": time.time()}
        yield Record(trade, position=number + 1)
"""
"""Trades with the time at which they were made: that of records is in whole milliseconds, up to one too early."""


def _pipeline(delivery: str, broker: str, rate: str, producer: str = "stock_trades") -> str:
    """Return a pipeline with names that nobody has used before, since a broker keeps its topics."""
    name = f"latency_{time.time_ns()}"
    return LATENCY.format(
        name=name,
        trades=f"{name}_trades",
        prices=f"{name}_prices",
        delivery=delivery,
        broker=broker,
        rate=rate,
        producer=producer,
    )


def _install(folder: Path) -> None:
    """Put the plugin into a folder, as pip would."""
    (folder / "dated.py").write_text(DATED)
    info = folder / "dated-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dated\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[streamweaver.producers]\ndated_trades = dated:dated_trades\n")
    os.environ["PYTHONPATH"] = str(folder)


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
        _wait_for(rows, running, 0.005)
        print(
            f"first record in the file: {(time.perf_counter() - began) * 1000:.0f} ms after the start of `pipeline up`"
        )
        _down(running)


def _up(file: Path) -> "subprocess.Popen[bytes]":
    command = [PROGRAM, "pipeline", "up", str(file), "--data", str(file.parent / "data")]
    with file.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=file.parent)


def _wait_for(rows: Path, running: "subprocess.Popen[bytes]", often: float) -> None:
    """Wait for the first row, as long as the pipeline runs."""
    while not rows.exists() or not rows.stat().st_size:
        if running.poll() is not None:
            sys.exit(next(rows.parent.glob("*.log")).read_text())
        time.sleep(often)


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
    """Measure from a record's making to its row in the file, at so many records a second through one flow."""
    if servers is None:
        kinds = {"exactly_once": EMBEDDED}
    else:
        kinds = dict.fromkeys(("at_least_once", "exactly_once"), f'broker: {{use: kafka, servers: ["{servers}"]}}')
    for delivery, broker in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "latency.yaml")
            _install(Path(folder))
            file.write_text(_pipeline(delivery, broker, rate, "dated_trades"))
            running = _up(file)
            rows = Path(folder, "prices.ndjson")
            _wait_for(rows, running, 0.01)
            ages = sorted(_ages(rows, seconds))
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
            ages += [(now - msgspec.json.decode(line)["made"]) * 1000 for line in lines]
    return ages


def main() -> None:
    what, *arguments = sys.argv[1:]
    if what == "log":
        asyncio.run(log())
    else:
        {"start": start, "idle": idle, "latency": latency}[what](*arguments)


if __name__ == "__main__":
    main()
