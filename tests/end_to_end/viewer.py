"""A plain client of the WebSocket sink, in a process of its own, so that it measures and does not disturb.

    python viewer.py PORT [SECONDS OF WARM-UP]

Prints one JSON line when it is connected and, when the server closes or it is told to end (SIGTERM), one with what it
saw: records and dropped ones by channel, and how old records were on arrival (ms since their timestamp; after the
warm-up, without the channels whose timestamps are event times of another kind).
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

NOT_LIVE = {"log_levels"}
"""Its records stand for windows of time that are over."""


def share(ages: Counter[int], wanted: float) -> int:
    """Return the age below which a share of all records lie."""
    seen, total = 0, sum(ages.values())
    for age in sorted(ages):
        seen += ages[age]
        if seen >= wanted * total:
            return age
    return 0


async def watch(port: int, warm_up: float) -> dict[str, Any]:
    """Take everything until the end."""
    records: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    ages: Counter[int] = Counter()
    begins = time.monotonic() + warm_up
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        print(json.dumps({"connected": True}), flush=True)
        with contextlib.suppress(ConnectionClosed, asyncio.CancelledError):
            async for text in client:
                now, warm = time.time_ns() // 1_000_000, time.monotonic() >= begins
                message = json.loads(text)
                if message["type"] == "records":
                    channel = message["channel"]
                    records[channel] += len(message["records"])
                    dropped[channel] += message["dropped"]
                    if warm and channel not in NOT_LIVE:
                        ages.update(now - record["timestamp"] for record in message["records"])
                elif message["type"] == "heartbeat":
                    dropped.update(message["dropped"])
    return {
        "records": dict(records),
        "dropped": dropped.total(),
        "measured": ages.total(),
        **{name: share(ages, part) for name, part in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))},
        "max": max(ages, default=0),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watch(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))))
