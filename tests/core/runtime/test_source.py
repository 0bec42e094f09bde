"""Drawing from generators: batches grow, buffers are bounded, nothing is lost or hidden at the end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from core.runtime.runtime_kit import ManualClock
from streamweaver import Fatal, Record, Rejected
from streamweaver.runtime import source as module
from streamweaver.runtime.rate import Limiter
from streamweaver.runtime.source import MOST, BlockingSource, Source, source_for
from streamweaver.testing import FakeClock

Form = Callable[[Iterator[Any]], Source]


def free() -> Limiter:
    return Limiter(ManualClock(), None)


def plain(items: Iterator[Any], limiter: Limiter | None = None, resumes: bool = False) -> Source:
    return source_for(items, limiter or free(), blocking=False, resumes=resumes)


def blocking(items: Iterator[Any], limiter: Limiter | None = None, resumes: bool = False) -> Source:
    return source_for(items, limiter or free(), blocking=True, resumes=resumes)


def awaited(items: Iterator[Any], limiter: Limiter | None = None, resumes: bool = False) -> Source:
    async def generate() -> AsyncIterator[Any]:
        for item in items:
            yield item

    return source_for(generate(), limiter or free(), blocking=False, resumes=resumes)


FORMS = pytest.mark.parametrize("form", [plain, awaited, blocking], ids=["plain", "async", "blocking"])


async def drain(source: Source, most: int = MOST) -> list[Any]:
    taken: list[Any] = []
    while items := await source.take(most):
        taken += items
    await source.close()
    return taken


@FORMS
async def test_everything_comes_once_in_order(form: Form) -> None:
    """Records, lists of them and rejected input, whatever their number; an empty list is no end."""
    records = [Record(n) for n in range(5000)]
    bad = Rejected(b"?", "no")
    items: list[Any] = [[], *records[:10], [], records[10:20], [records[20], bad], *records[21:], []]
    assert await drain(form(iter(items))) == [*records[:21], bad, *records[21:]]


@FORMS
async def test_most_is_respected_and_lists_stay_whole(form: Form) -> None:
    """As many records as asked for; only a list, which comes whole, may go beyond."""
    source = form(iter([Record(0), Record(1), Record(2), [Record(n) for n in range(3, 9)], Record(9)]))
    sizes = []
    while items := await source.take(2):
        sizes.append(len(items))
    await source.close()
    assert sum(sizes) == 10
    assert max(sizes) <= 7
    assert all(size <= 2 or size >= 6 for size in sizes)


@FORMS
async def test_an_error_comes_after_what_was_yielded_before_it(form: Form) -> None:
    """And again, if asked again."""

    def items() -> Iterator[Any]:
        yield Record(1)
        raise ValueError("broken")

    source = form(items())
    assert await source.take(10) == [Record(1)]
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await source.take(10)
    await source.close()


@FORMS
async def test_exit_fails_the_stage(form: Form) -> None:
    """sys.exit in a producer does not end the process."""

    def items() -> Iterator[Any]:
        raise SystemExit(4)
        yield  # type: ignore[unreachable]

    source = form(items())
    with pytest.raises(Fatal, match=r"the producer called sys.exit\(4\)"):
        await source.take(10)
    await source.close()


@FORMS
async def test_a_cancellation_from_inside_comes_last(form: Form) -> None:
    """It is an error of the plugin's, and what came before it is handed on first."""

    def items() -> Iterator[Any]:
        yield from (Record(n) for n in range(5))
        raise asyncio.CancelledError

    source = form(items())
    taken: list[Any] = []
    with pytest.raises(Fatal, match="the producer was cancelled from inside"):
        while True:
            taken += await source.take(10)
    assert [record.value for record in taken] == list(range(5))
    await source.close()


@FORMS
async def test_what_is_no_record_is_refused(form: Form) -> None:
    """The text says what was yielded."""
    source = form(iter([{"a": 1}]))
    with pytest.raises(Fatal, match="the producer yielded dict, expected a Record, Rejected or a list of these"):
        await source.take(10)
    await source.close()


@FORMS
async def test_a_list_counts_as_its_records_for_the_rate(form: Any) -> None:
    """Over time no more records come than the rate says."""
    clock = ManualClock()
    began = clock.seconds
    source = form(iter([[Record(n)] * 10 for n in range(30)]), Limiter(clock, 5.0))
    assert len(await drain(source)) == 300
    assert 57.0 <= clock.seconds - began <= 61.0


@FORMS
async def test_a_list_goes_evenly(form: Any) -> None:
    """With a rate nobody waits for half a minute behind a burst: at each tick comes what falls due in it."""
    clock = FakeClock()
    source = form(iter([[Record(n) for n in range(500)], Record(500)]), Limiter(clock, 100.0))
    taken: list[Any] = []
    while items := await source.take(MOST):
        taken += items
        assert len(items) <= 100
        assert len(taken) <= clock.monotonic() * 100.0 + 6
    assert [record.value for record in taken] == list(range(501))
    await source.close()


@FORMS
@pytest.mark.parametrize("resumes", [True, False])
async def test_what_a_rate_held_back_is_left_to_who_brings_it_again(form: Any, resumes: bool) -> None:
    """At the end the rest of a list, and all behind it, comes at once, or where the producer resumes not at all."""
    items: list[Any] = [[Record(n, position=n) for n in range(500)], Record(500, position=500)]
    source = form(iter(items), Limiter(FakeClock(), 100.0), resumes)
    taken = await source.take(MOST) + await source.take(MOST)
    await source.close()
    left = source.rest()
    found = [record.value for record in taken + left]
    assert found == list(range(len(found)))
    # Of the async form pieces that the rate has let go may be on their way.
    assert len(found) <= 100 if resumes else len(found) >= 500


@pytest.mark.parametrize("form", [awaited, blocking], ids=["async", "blocking"])
@pytest.mark.parametrize("size", [1, 700])
async def test_buffers_are_bounded(form: Form, size: int) -> None:
    """A producer that is faster than the log waits, also when it yields lists."""
    drawn = 0
    full = threading.Event()

    def items() -> Iterator[Any]:
        nonlocal drawn
        while True:
            drawn += size
            if drawn > MOST:
                full.set()
            yield [Record(0)] * size if size > 1 else Record(0)

    source = form(items())
    first = await source.take(1)
    for _ in range(200):
        await asyncio.sleep(0)
    if form is blocking:
        assert await asyncio.to_thread(full.wait, 5)
    await source.close()
    left = source.rest()
    assert len(first) + len(left) <= MOST + 3 * size
    assert drawn <= MOST + 4 * size


@pytest.mark.parametrize("form", [awaited, blocking], ids=["async", "blocking"])
async def test_close_returns_what_nobody_took(form: Form) -> None:
    """What was yielded and is not stored yet can still be."""
    came = threading.Event()

    def items() -> Iterator[Any]:
        yield Record(1)
        yield [Record(2), Record(3)]
        came.set()
        yield Record(4)

    source = form(items())
    while not came.is_set():
        await asyncio.sleep(0)
    taken = await source.take(1)
    await source.close()
    left = source.rest()
    assert [r.value for r in taken + left][:3] == [1, 2, 3]


async def test_a_producer_that_waits_for_space_is_asked_for_nothing_more_after_close() -> None:
    """It would be dropped, and a producer that does not resume would not bring it again."""
    drawn = 0

    def items() -> Iterator[Any]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Record(drawn)

    source = blocking(items())
    assert isinstance(source, BlockingSource)
    # The lock is given back only by the wait for space.
    while len(source._buffer) < MOST:
        await asyncio.sleep(0)
    await source.close()
    left = source.rest()
    assert [record.value for record in left if isinstance(record, Record)] == list(range(1, MOST + 1))
    assert drawn == MOST


async def test_a_cancellation_from_inside_is_no_end() -> None:
    """A generator whose own task was cancelled has failed; its input is not complete."""

    async def generate() -> AsyncIterator[Record]:
        yield Record(1)
        raise asyncio.CancelledError

    source = source_for(generate(), free(), blocking=False)
    assert await source.take(5) == [Record(1)]
    with pytest.raises(Fatal, match="the producer was cancelled from inside"):
        await source.take(5)
    await source.close()


@FORMS
async def test_close_closes_the_generator(form: Form) -> None:
    """Its `finally` runs, so that files and connections are given back."""
    closed = threading.Event()

    def items() -> Iterator[Any]:
        try:
            while True:
                yield Record(0)
        finally:
            closed.set()

    generator = items()
    source = form(generator)
    await source.take(1)
    await source.close()
    if form is awaited:
        generator.close()  # type: ignore[attr-defined]
    assert closed.is_set()


async def test_an_async_generator_is_closed() -> None:
    """Its `finally` runs while it waits for input."""
    closed = False

    async def generate() -> AsyncIterator[Record]:
        nonlocal closed
        try:
            yield Record(1)
            await asyncio.Event().wait()
        finally:
            closed = True

    source = source_for(generate(), free(), blocking=False)
    assert await source.take(5) == [Record(1)]
    await source.close()
    assert source.rest() == []
    assert closed


async def test_a_call_that_blocks_for_ever_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close waits a moment; what comes later is dropped, since nothing has stored its position."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.01)
    hang = threading.Event()
    after = threading.Event()

    def items() -> Iterator[Any]:
        yield Record(1)
        hang.wait()
        try:
            yield Record(2)
        finally:
            after.set()

    source = source_for(items(), free(), blocking=True)
    assert await source.take(5) == [Record(1)]
    await source.close()
    assert source.rest() == []
    hang.set()
    assert await asyncio.to_thread(after.wait, 5)
    await source.close()
    assert source.rest() == []


async def test_a_slow_blocking_producer_does_not_lose_its_rate() -> None:
    """What the rate allowed and the producer did not bring is given back."""
    clock = ManualClock()
    source = source_for(iter([Record(n) for n in range(40)]), Limiter(clock, 10.0), blocking=True)
    began = clock.seconds
    assert len(await drain(source)) == 40
    assert 2.9 <= clock.seconds - began <= 4.5


def test_anything_else_is_no_generator() -> None:
    """The text says what `produce` returned."""
    with pytest.raises(TypeError, match="produce returned list, expected a generator"):
        source_for([Record(1)], free(), blocking=False)


async def test_an_empty_list_lets_others_have_a_turn() -> None:
    """A plain generator that passes over much, without bringing anything, does not hold up the event loop."""
    turns: list[int] = []
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    def passes_over() -> Iterator[Any]:
        for _ in range(5):
            turns.append(others)
            yield []
        yield Record("found")

    beside = asyncio.create_task(other())
    assert await plain(passes_over()).take(MOST) == [Record("found")]
    beside.cancel()
    assert turns == sorted(set(turns))
