"""What clients cost the server, and each other: measured on a pipeline in a process of its own."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest
from websockets.asyncio.client import connect

from forked_program import Forker
from streamweaver_dashboard.hub import now_ms

PIPELINE = """
name: busy
producers:
  stocks: {{use: stock_trades, to: trades, rate: 1200}}
dashboard:
  port: {port}
  panels:
    - {{title: Prices, from: trades, kind: line, y: price, by: symbol, top: 6}}
    - {{title: Trades, from: trades, kind: feed}}
    - {{title: Symbols, from: trades, kind: bar, by: symbol, span: 10s}}
    - {{title: Rate, from: trades, kind: number}}
"""
PANELS = ("prices", "trades", "symbols", "rate")
WATCH = json.dumps({"type": "watch", "panels": dict.fromkeys(PANELS), "metrics": True, "alerts": True})


@attrs.frozen
class Busy:
    """A pipeline of 1,200 records a second."""

    process: psutil.Process
    port: int

    def cpu(self) -> float:
        """Return the seconds of processor time that it has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def look(self) -> Any:
        return connect(f"ws://127.0.0.1:{self.port}/live", max_size=None, max_queue=None)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    """A pipeline whose dashboard listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = tmp_path / "busy.yaml"
    file.write_text(PIPELINE.format(port=port))
    process, said = Forker().start("pipeline", "up", str(file), folder=tmp_path)
    with said, os.fdopen(os.dup(said.fileno())) as lines:
        assert any("event=dashboard" in line for line in lines)
        yield Busy(psutil.Process(process.pid), port)
        process.kill()
        process.wait()


async def watching(busy: Busy, late: list[float] | None = None) -> None:
    """Be a client that looks at everything; notes how late frames come, in ms."""
    async with busy.look() as connection:
        await connection.send(WATCH)
        async for text in connection:
            if late is not None and (message := json.loads(text))["type"] == "frame":
                late.append(now_ms() - message["time"])


@pytest.mark.soak
async def test_a_further_client_costs_little(busy):
    """With 1,200 records a second one client more costs the server under 2 % of a core."""

    async def cost(clients: int) -> float:
        tasks = [asyncio.create_task(watching(busy)) for _ in range(clients)]
        await asyncio.sleep(5)
        begun, used = time.monotonic(), busy.cpu()
        await asyncio.sleep(15)
        share = (busy.cpu() - used) / (time.monotonic() - begun)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return share

    one, more = await cost(1), await cost(11)
    print(f"1 client {one:.1%} of a core, 11 clients {more:.1%}, each further one {(more - one) / 10:.2%}")
    assert (more - one) / 10 < 0.02


@pytest.mark.soak
async def test_clients_that_never_read_do_not_slow_one_that_does(busy):
    """200 clients that take nothing leave the frames of one that reads as punctual as they were, and memory bounded."""

    async def lateness() -> tuple[float, float]:
        late: list[float] = []
        task = asyncio.create_task(watching(busy, late))
        await asyncio.sleep(3)
        late.clear()
        await asyncio.sleep(12)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        late.sort()
        return late[len(late) // 2], late[len(late) * 99 // 100]

    before = await lateness()
    memory = busy.process.memory_info().rss
    silent = []
    try:
        for _ in range(200):
            raw = await asyncio.to_thread(never_reading, busy.port)
            silent.append(raw)
        # Until what the system keeps for each is full they are clients like others; after 30 seconds they are cut off.
        await asyncio.sleep(10)
        after = await lateness()
        grown = busy.process.memory_info().rss - memory
    finally:
        for raw in silent:
            raw.close()
    print(f"p50 and p99 alone {before} ms, beside 200 that never read {after} ms; {grown / 1e6:.0f} MB more")
    assert after[1] <= before[1] * 1.5 + 20
    assert grown < 150_000_000


def never_reading(port: int) -> socket.socket:
    """Be a client that asks for everything and takes nothing."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    raw.connect(("127.0.0.1", port))
    raw.sendall(
        b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    body = WATCH.ljust(200).encode()
    raw.sendall(b"\x81\xfe" + len(body).to_bytes(2, "big") + b"\0\0\0\0" + body)
    return raw
