"""A WebSocket client that measures, in a process of its own: `python client.py PORT`.

Prints a line when it is connected and, told to end (SIGTERM), one JSON object: for each second (of the wall clock) the
records and how many of each age on arrival in ms, and how many were dropped in all.
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter, defaultdict
from typing import Any

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


class Record(msgspec.Struct):
    """What is looked at of a record."""

    timestamp: int


class Message(msgspec.Struct):
    """What is looked at of a message; of a heartbeat `dropped` is a mapping."""

    type: str
    records: list[Record] = []
    dropped: int | dict[str, int] = 0


async def watch(port: int) -> dict[str, Any]:
    """Count until told to end."""
    ages: defaultdict[int, Counter[int]] = defaultdict(Counter)
    dropped = 0
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    decode = msgspec.json.Decoder(Message).decode
    async with connect(f"ws://127.0.0.1:{port}/", max_size=None, compression=None) as client:
        print("connected", flush=True)  # noqa: T201
        with contextlib.suppress(ConnectionClosed, asyncio.CancelledError):
            async for text in client:
                now = time.time_ns() // 1_000_000
                message = decode(text)
                lost = message.dropped
                dropped += sum(lost.values()) if isinstance(lost, dict) else lost
                if message.type == "records":
                    ages[now // 1000].update(now - record.timestamp for record in message.records)
    return {"dropped": dropped, "seconds": {second: dict(counts) for second, counts in ages.items()}}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watch(int(sys.argv[1])))))  # noqa: T201
