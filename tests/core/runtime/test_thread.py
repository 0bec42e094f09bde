"""A thread for blocking calls: order, errors, what is called off, and its end."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from streamweaver.runtime.thread import Thread

NAME = "thread-under-test"


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


@pytest.fixture
async def thread() -> AsyncIterator[Thread]:
    made = Thread(NAME)
    threads = alive()
    yield made
    made.close()
    for one in threads:
        one.join(10)
    assert not alive()


class Held:
    """A call that is under way until it is let go."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._go = threading.Event()
        self.begun = asyncio.Event()
        self.ended = threading.Event()

    def __call__(self) -> str:
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self._go.wait(10)
        self.ended.set()
        return "done"

    def let_go(self) -> None:
        self._go.set()


async def test_calls_are_made_one_at_a_time_in_order(thread: Thread) -> None:
    """All in the one thread that has the name, which is not the event loop's."""
    made: list[int] = []

    def call(number: int) -> str:
        made.append(number)
        return threading.current_thread().name

    assert set(await asyncio.gather(*(thread.run(partial(call, number)) for number in range(20)))) == {NAME}
    assert made == list(range(20))


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__
)
async def test_what_a_call_raises_its_caller_gets(thread: Thread, error: BaseException) -> None:
    """Whatever it is; the thread lives on."""

    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await thread.run(fails)
    assert raised.value is error
    assert await thread.run(lambda: 1) == 1


async def test_the_end_of_a_generator_is_an_error(thread: Thread) -> None:
    """A caller that is a coroutine would end silently with StopIteration, or wait for ever."""
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await thread.run(lambda: next(iter([])))


async def test_a_call_that_has_not_begun_can_be_called_off(thread: Thread) -> None:
    """One that has begun goes on, and its result is nobody's."""
    held, made = Held(), list[int]()
    first, second = thread.run(held), thread.run(lambda: made.append(2))
    third = thread.run(lambda: made.append(3))
    await held.begun.wait()
    first.cancel()
    second.cancel()
    held.let_go()
    await third
    assert held.ended.is_set()
    assert made == [3]


async def test_close_cancels_what_waits_and_lets_what_runs_end() -> None:
    """The thread then ends by itself."""
    thread, held = Thread(NAME), Held()
    (running,) = alive()
    first, second = thread.run(held), thread.run(lambda: 2)
    await held.begun.wait()
    thread.close()
    held.let_go()
    assert await first == "done"
    with pytest.raises(asyncio.CancelledError):
        await second
    running.join(10)
    assert not running.is_alive()


def test_an_answer_for_a_loop_that_is_closed_is_dropped() -> None:
    """The thread goes on with calls of the next loop."""
    thread = Thread(NAME)
    (running,) = alive()

    async def leave() -> Held:
        held = Held()
        thread.run(held)
        await held.begun.wait()
        return held

    async def ask() -> Any:
        return await thread.run(lambda: 7)

    held = asyncio.run(leave())
    held.let_go()
    assert asyncio.run(ask()) == 7
    thread.close()
    running.join(10)
    assert not running.is_alive()


async def test_a_call_is_not_held_when_it_is_done(thread: Thread) -> None:
    """A batch that was written does not stay in memory until the next one comes."""

    class Batch:
        """Stands for something large."""

    def write(batch: Batch) -> Batch:
        return batch

    batch = Batch()
    gone = weakref.ref(batch)
    await thread.run(partial(write, batch))
    del batch
    # The thread answers before it waits again: the second call is begun when the first is left for certain.
    await thread.run(int)
    gc.collect()
    assert gone() is None
