"""What the simulators share: payloads become records, and a seeded sequence goes on where it was."""

import collections
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from streamweaver import ProducerContext, Record


async def resumed(
    payloads: Iterator[dict[str, Any]], seed: int | None, context: ProducerContext
) -> Iterator[dict[str, Any]]:
    """Pass over what an earlier run of the same seeded sequence has made durable.

    The sequence is made again up to there, in a thread: one or two seconds for a million records.
    """
    if seed is not None and context.emitted:
        passed = itertools.islice(payloads, context.emitted)
        await context.run_blocking(collections.deque, passed, 0)
    return payloads


def stamped(payloads: Iterator[dict[str, Any]], context: ProducerContext) -> Iterator[Record]:
    """Make records of payloads, each with the time at which it is asked for (payload field `timestamp`)."""
    now = context.now
    text, text_ms = "", -1
    for payload in payloads:
        ms = now()
        if ms != text_ms:
            text, text_ms = iso(ms), ms
        payload["timestamp"] = text
        yield Record(payload, None, ms)


def iso(ms: int) -> str:
    """Write a time as ISO 8601 in UTC with milliseconds."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def zipf(count: int, steepness: float = 1.0) -> list[float]:
    """Return cumulative weights of `count` things of which the first is the most popular."""
    return list(itertools.accumulate(1 / rank**steepness for rank in range(1, count + 1)))
