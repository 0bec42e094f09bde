"""Each promise of a producer is one that a producer can break, and no other promise tells."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from streamweaver import ProducerContext, Record, Rejected, producer
from streamweaver.testing.conformance.promises.producer import PRODUCER

T = TypeVar("T", bound=type)

BROKEN: dict[str, tuple[type, dict[str, Any]]] = {}
"""By the behaviour that catches it: a broken producer, and what its suite says beside."""

END = 12


def broken(behaviour: str, said: dict[str, Any] | None = None, **declared: Any) -> Callable[[T], T]:
    """Make a class the producer that breaks a promise."""

    def declare(cls: T) -> T:
        made = producer("numbers", example="{use: numbers}", **declared)(attrs.define(eq=False, slots=False)(cls))
        BROKEN[behaviour] = made, said or {}
        return made

    return declare


@producer("numbers", resumes=True, example="{use: numbers}")
@attrs.define
class Numbers:
    """Bring numbers, some of them in lists, and something that is none."""

    def produce(self, context: ProducerContext) -> Iterator[Record | list[Record | Rejected]]:
        for number in range(context.position or 0, END, 2):
            if number % 4:
                yield [Rejected(b"none", "no number"), Record({"n": number}, position=number + 2)]
            else:
                yield Record({"n": number}, position=number + 2)


@producer("numbers", key="n", example="{use: numbers}")
@attrs.define
class Endless:
    """Bring numbers without end, one a second."""

    async def produce(self, context: ProducerContext) -> AsyncIterator[Record]:
        number = 0
        while True:
            yield Record({"n": number})
            number += 1
            await context.sleep(1.0)


def more() -> None:
    """Write another line into the file that is followed."""
    with Path("lines").open("a") as file:
        file.write("line\n")


LINES: dict[str, Any] = {"prepare": more, "more": more}


@producer("numbers", resumes=True, blocking=True, example="{use: numbers}")
@attrs.define
class Lines:
    """Follow a file from a thread."""

    closed: threading.Event = attrs.field(factory=threading.Event, init=False)

    def open(self, _context: Any) -> None:
        self.closed.clear()

    def produce(self, context: ProducerContext) -> Iterator[Record | list[Record]]:
        position = context.position or 0
        while not self.closed.wait(0.01):
            with Path("lines").open() as file:
                file.seek(position)
                line = file.readline()
                position = file.tell()
            yield Record(line, position=position) if line else []

    def close(self) -> None:
        self.closed.set()


# -- what comes -----------------------------------------------------------------------------------


@broken("brings_records")
class Odd:
    """Bring something that no topic can hold."""

    def produce(self, _context: ProducerContext) -> Iterator[Record]:
        yield Record({"n": 0})
        yield Record(object)


@broken("has_its_key", key="n")
class Keyless:
    """Leave the key out once."""

    def produce(self, _context: ProducerContext) -> Iterator[Record]:
        yield Record({"n": 0})
        yield Record({"m": 0})


@broken("resumes_at_every_position", resumes=True)
class Behind:
    """Give one position that is too early."""

    def produce(self, context: ProducerContext) -> Iterator[Record]:
        for number in range(context.position or 0, END):
            yield Record({"n": number}, position=number + (number != 3))


@broken("brings_nothing_after_its_end", resumes=True)
class Encore:
    """Bring the last number again."""

    def produce(self, context: ProducerContext) -> Iterator[Record]:
        for number in range(min(context.position or 0, END - 1), END):
            yield Record({"n": number}, position=number + 1)


@broken("keeps_to_a_rate")
class Impatient:
    """Pass over a number when it is late."""

    def produce(self, context: ProducerContext) -> Iterator[Record]:
        last = context.now()
        for number in range(END):
            late, last = context.now() - last, context.now()
            if late < 150:
                yield Record({"n": number})


@broken("goes_on_after_a_silence", LINES)
class Once:
    """Look into the file once."""

    async def produce(self, _context: ProducerContext) -> AsyncIterator[Record]:
        for line in Path("lines").read_text().splitlines():
            yield Record(line)
        await asyncio.Event().wait()


# -- stopping -------------------------------------------------------------------------------------


@broken("stops_when_asked")
class Clinging:
    """Fail when it is closed."""

    def produce(self, _context: ProducerContext) -> Iterator[Record]:
        try:
            for number in range(END):
                yield Record({"n": number})
        except GeneratorExit as error:
            raise RuntimeError("it was not finished") from error


@broken("cancelled_in_the_middle")
class Stubborn:
    """Take its time when it is cancelled while it fetches the second number."""

    async def produce(self, _context: ProducerContext) -> AsyncIterator[Record]:
        for number in range(END):
            yield Record({"n": number})
            try:
                await asyncio.sleep(0.1 if number == 0 else 0.0)
            except asyncio.CancelledError:
                await asyncio.sleep(60)


@broken("does_not_spin")
class Spinning:
    """Ask again and again whether there is something to do."""

    task: Any = attrs.field(default=None, init=False)

    async def open(self, _context: Any) -> None:
        self.task = asyncio.create_task(self.spin())

    async def spin(self) -> None:
        while True:
            await asyncio.sleep(0)

    def produce(self, _context: ProducerContext) -> Iterator[Record]:
        for number in range(END):
            yield Record({"n": number})

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task


# -- its life -------------------------------------------------------------------------------------


@broken("opens_again_after_close")
class Closed:
    """Stay closed."""

    closed: bool = attrs.field(default=False, init=False)

    def produce(self, _context: ProducerContext) -> Iterator[Record]:
        for number in range(0 if self.closed else END):
            yield Record({"n": number})

    def close(self) -> None:
        self.closed = True


@broken("leaves_nothing_running")
class Threaded:
    """Start a thread, and forget it."""

    def produce(self, _context: ProducerContext) -> Iterator[Record]:
        threading.Thread(target=threading.Event().wait, args=(3.0,), daemon=True).start()
        for number in range(END):
            yield Record({"n": number})


@broken("does_not_block_the_loop")
class Slow:
    """Wait where others wait for it."""

    def produce(self, _context: ProducerContext) -> Iterator[Record]:
        time.sleep(0.13)
        for number in range(END):
            yield Record({"n": number})


@broken("close_follows_a_failed_open")
class Open:
    """Take an open that has succeeded for granted."""

    stage: str = attrs.field(default="", init=False)

    def open(self, context: Any) -> None:
        self.stage = context.stage

    def produce(self, _context: ProducerContext) -> Iterator[Record]:
        yield Record({"n": 0})

    def close(self) -> None:
        assert self.stage


@pytest.mark.parametrize(("healthy", "said"), [(Numbers, {}), (Endless, {}), (Lines, LINES)])
def test_healthy_producers_keep_every_promise(healthy: type, said: dict[str, Any], caught: Any) -> None:
    """Lists, positions, rejected input, threads, and records without end break no promise."""
    assert caught(healthy, **said, patience_seconds=5.0) == {}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_only_this_behaviour_tells(behaviour: str, caught: Any) -> None:
    """A producer that breaks one promise fails the behaviour of that promise, and no other."""
    target, said = BROKEN[behaviour]
    found = caught(target, **said)
    assert list(found) == [behaviour], found


def test_every_behaviour_can_fail() -> None:
    """There is a broken producer for each behaviour."""
    assert {behaviour.name for behaviour in PRODUCER} <= BROKEN.keys()
