"""The embedded broker against a hand-written loop over the same SQLite, in the same run."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from streamweaver import Rows, TopicSpec
from streamweaver_brokers.embedded import Embedded

Launch = Callable[..., Awaitable[Embedded]]

BATCHES = 600
SIZE = 500


def _rows(number: int) -> Rows:
    values: list[bytes | None] = [b"%0100d" % (number + index) for index in range(SIZE)]
    return Rows([None] * SIZE, values, [1_750_000_000_000 + number + index for index in range(SIZE)])


def by_hand(path: Path) -> tuple[float, float]:
    """Append and read with the shortest loop that is as durable; returns both in records a second."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, rows BLOB)")
    batches = [_rows(number * SIZE) for number in range(BATCHES)]
    started = time.perf_counter()
    for rows in batches:
        blob = msgspec.msgpack.encode((rows.keys, rows.values, rows.timestamps))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO log (rows) VALUES (?)", (blob,))
        connection.execute("COMMIT")
    appended = time.perf_counter()
    for (blob,) in connection.execute("SELECT rows FROM log ORDER BY id"):
        msgspec.msgpack.decode(blob)
    done = time.perf_counter()
    connection.close()
    return BATCHES * SIZE / (appended - started), BATCHES * SIZE / (done - appended)


@pytest.mark.bench
async def test_batches_are_as_fast_as_by_hand(launch: Launch, tmp_path: Path) -> None:
    """Four tasks that append reach 0.6 of a loop that does nothing else; reading, with checksums, reaches 0.25."""
    append_by_hand, read_by_hand = await asyncio.to_thread(by_hand, tmp_path / "by-hand.sqlite")
    broker = await launch()
    await broker.create([TopicSpec(name="t", partitions=4)])
    batches = [_rows(number * SIZE) for number in range(BATCHES)]

    async def run(part: int) -> None:
        for rows in batches[part::4]:
            unit = broker.begin()
            unit.append("t", part, rows)
            await unit.commit()

    started = time.perf_counter()
    await asyncio.gather(*map(run, range(4)))
    appended = BATCHES * SIZE / (time.perf_counter() - started)
    reader = await broker.reader({("t", part): 0 for part in range(4)})
    count = 0
    started = time.perf_counter()
    while count < BATCHES * SIZE:
        count += sum(map(len, await reader.poll(max_records=SIZE)))
    read = count / (time.perf_counter() - started)
    await reader.close()
    print(
        f"append {appended:,.0f}/s, by hand {append_by_hand:,.0f}/s; read {read:,.0f}/s, by hand {read_by_hand:,.0f}/s"
    )
    assert appended > 0.6 * append_by_hand
    assert read > 0.25 * read_by_hand


@pytest.mark.bench
async def test_small_units_are_answered_quickly(launch: Launch) -> None:
    """A thousand small units a second from six tasks: 99 of 100 are durable within 20 ms."""
    broker = await launch()
    await broker.create([TopicSpec(name="t", partitions=6)])
    took: list[float] = []

    async def run(part: int) -> None:
        due = time.perf_counter()
        for number in range(500):
            due += 0.006
            await asyncio.sleep(due - time.perf_counter())
            unit = broker.begin()
            unit.append("t", part, Rows([b"k"], [b"%0100d" % number], [number]))
            unit.put_state("store", part, {b"%d" % (number % 50): b"v" * 50})
            started = time.perf_counter()
            await unit.commit()
            took.append(time.perf_counter() - started)

    busy = time.process_time()
    await asyncio.gather(*map(run, range(6)))
    took.sort()
    p50, p99 = took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3
    print(f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, {(time.process_time() - busy) / len(took) * 1e6:.0f} us of CPU a unit")
    assert p99 < 20
