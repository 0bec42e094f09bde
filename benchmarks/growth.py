"""How a record's cost changes as the work grows: `growth.py [partitions|keys|size|steps|flows|log]...`, all if none.

Each line runs a pipeline on the embedded log to its end, with some records and with three times as many: what the
others take of the processor's time is their cost, start and end of the process left out. `log` fills a log with 20
million records, and looks at it beside an empty one.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from streamweaver import BrokerContext, Rows, TopicSpec
from streamweaver_brokers.embedded import Embedded

PROGRAM = str(Path(sys.executable).with_name("streamweaver"))
AVERAGE = "{use: moving_average, field: price, by: key, size: 20}"
FILTER = '{use: filter, where: "price > 0"}'
COUNT = 50_000
ROUNDS = 3

Costs = dict[str, float]
"""Microseconds of processor time a record, by what was tried."""


def pipeline(*, partitions: int = 4, steps: int = 1, flows: int = 1) -> str:
    """Return a pipeline: lines of a file, through flows one behind the other, into a file."""
    topics = ", ".join(f"t{number}: {{partitions: {partitions}}}" for number in range(flows + 1))
    filters = [FILTER] * (steps - 1)
    made = [f"  f{n}: {{from: t{n}, steps: [{', '.join([AVERAGE, *filters])}], to: t{n + 1}}}" for n in range(flows)]
    return "\n".join(
        [
            "name: growth",
            f"topics: {{{topics}}}",
            "producers:",
            "  lines: {use: ndjson_file, path: lines.ndjson, to: t0, key: key}",
            "flows:",
            *made,
            "sinks:",
            f"  rows: {{use: file, from: t{flows}, path: rows.ndjson}}",
        ]
    )


def write_lines(path: Path, count: int, *, keys: int = 100, each: bool = False, filling: int = 0) -> None:
    """Write records of about 70 bytes and their filling; with `each`, one of every key comes first."""
    rng = random.Random(1)
    filler = "x" * filling
    numbers = [*(range(keys) if each else ()), *(rng.randrange(keys) for _ in range(count))]
    with path.open("w") as file:
        for number in numbers:
            file.write(f'{{"key": "K{number:07d}", "price": {rng.randrange(1_000, 50_000) / 100}, "f": "{filler}"}}\n')


def spent(text: str, write: Callable[[Path], None]) -> float:
    """Run a pipeline to its end; return the seconds of processor time of its process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "growth.yaml").write_text(text)
        write(folder / "lines.ndjson")
        command = [PROGRAM, "pipeline", "up", "growth.yaml", "--until-idle", "--no-dashboard"]
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            _, status, used = os.wait4(running.pid, 0)
        if status:
            raise SystemExit((folder / "log").read_text())
    return used.ru_utime + used.ru_stime


def cost(text: str, count: int = COUNT, rounds: int = ROUNDS, *, keys: int = 100, **lines: int | bool) -> float:
    """Return a record's cost in microseconds: the least of some rounds."""

    def once() -> float:
        some, more = (
            spent(text, lambda path, n=n: write_lines(path, n, keys=keys, **lines))  # type: ignore[misc, arg-type]
            for n in (count, 3 * count)
        )
        return (more - some) / (2 * count) * 1e6

    return min(once() for _ in range(rounds))


def partitions() -> Costs:
    """Try more partitions, of both topics."""
    return {f"{number} partitions": cost(pipeline(partitions=number)) for number in (1, 8, 64)}


def keys() -> Costs:
    """Try a state of more keys, all of them there before the records that count."""
    return {
        f"{number:,} keys of state": cost(pipeline(), 2 * COUNT, 1, keys=number, each=True)
        for number in (100, 10_000, 1_000_000)
    }


def size() -> Costs:
    """Try larger records; the cost is that of 100 bytes."""
    return {
        f"100 of {filling + 70:,} bytes": cost(pipeline(), 5_000_000 // (filling + 70), filling=filling)
        * (100 / (filling + 70))
        for filling in (30, 930, 9_930)
    }


def steps() -> Costs:
    """Try more steps in the flow: a moving average, then filters that drop nothing."""
    return {f"{number} steps": cost(pipeline(steps=number)) for number in (1, 5, 20)}


def flows() -> Costs:
    """Try more flows, one behind the other in one process; the cost is that of a record in all of them."""
    return {f"{number} flows": cost(pipeline(flows=number), COUNT // 5) for number in (1, 5, 20)}


async def log(millions: int = 20, size: int = 500) -> None:
    """Append to a log and read it, empty and full; open it when it is full."""
    with tempfile.TemporaryDirectory() as name:
        context = BrokerContext(pipeline="growth", data_dir=Path(name))
        broker = Embedded()
        await broker.open(context)
        await broker.create([TopicSpec(name="t", partitions=4)])
        rows = Rows([b"K%06d" % n for n in range(size)], [b"%0100d" % n for n in range(size)], [time.time_ns()] * size)

        async def appended(count: int) -> float:
            began = time.perf_counter()
            for number in range(count // size):
                unit = broker.begin()
                unit.append("t", number % 4, rows)
                await unit.commit()
            return count / (time.perf_counter() - began)

        async def read(count: int) -> float:
            found = await broker.ranges("t")
            reader = await broker.reader({("t", p): found[p].end - count // 4 for p in range(4)})
            began, seen = time.perf_counter(), 0
            while seen < count:
                seen += sum(map(len, await reader.poll(max_records=size)))
            await reader.close()
            return count / (time.perf_counter() - began)

        some = 400_000
        print(f"empty log: append {await appended(some):,.0f}/s, read {await read(some):,.0f}/s", flush=True)
        await appended(millions * 1_000_000 - 2 * some)
        print(f"{millions} million: append {await appended(some):,.0f}/s, read {await read(some):,.0f}/s")
        await broker.close()
        broker = Embedded()
        began = time.perf_counter()
        await broker.open(context)
        print(f"opened in {(time.perf_counter() - began) * 1000:.0f} ms")
        await broker.close()


GROWTHS = {found.__name__: found for found in (partitions, keys, size, steps, flows)}


def main() -> None:
    for name in sys.argv[1:] or [*GROWTHS, "log"]:
        if name == "log":
            asyncio.run(log())
            continue
        first = None
        for what, micros in GROWTHS[name]().items():
            first = first or micros
            print(f"{what}: {micros:.1f} us, {micros / first:.2f} times the first", flush=True)


if __name__ == "__main__":
    main()
