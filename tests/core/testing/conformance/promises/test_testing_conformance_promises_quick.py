"""Telling waiting from working."""

import time
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from streamweaver.testing.conformance.promises.quick import LONGEST_SECONDS, blocks_the_loop


@attrs.define
class Writer:
    """A sink whose write takes its time in one way or another."""

    take: Callable[[], Any]
    calls: int = 0

    def write(self, _batch: Any) -> None:
        self.calls += 1
        self.take()


async def tried(writer: Writer) -> None:
    async def once(wrap: Callable[[Any], Any]) -> None:
        wrap(writer).write(None)

    await blocks_the_loop(once, "write")


async def test_waiting_is_told() -> None:
    """A call that does nothing for too long, each time, holds up the loop."""
    writer = Writer(lambda: time.sleep(LONGEST_SECONDS + 0.02))
    with pytest.raises(AssertionError, match=r"write holds up the event loop for \d+ ms: make it async, or declare"):
        await tried(writer)
    assert writer.calls == 3


async def test_once_is_an_accident() -> None:
    """One slow call among quick ones may be the machine's fault."""
    waits = iter([LONGEST_SECONDS + 0.02, 0.0, 0.0])
    writer = Writer(lambda: time.sleep(next(waits)))
    await tried(writer)
    assert writer.calls == 2


async def test_working_is_not_waiting() -> None:
    """A call that uses the processor all the time is no fault of this kind."""

    def work() -> None:
        end = time.thread_time() + LONGEST_SECONDS + 0.02
        while time.thread_time() < end:
            pass

    await tried(Writer(work))
