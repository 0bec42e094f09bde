"""One transform over a batch: the forms are equal, order is kept, calls are bounded and repeated."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import attrs
import pytest

from core.runtime.runtime_kit import ManualClock, batch, context, step
from streamweaver import BadRecord, Batch, Fatal, Record, Retriable, TransformContext, transform
from streamweaver.runtime.context import THREAD_NAME
from streamweaver.runtime.step import Limits, step_for, tick_for


def made(record: Record) -> Any:
    """One, several or none, as the value says."""
    kinds = {"same": record, "new": Record("made"), "none": None, "empty": [], "two": [Record(1), Record(2)]}
    return kinds[record.value]


@transform
def plain(record: Record) -> Any:
    """Plain."""
    return made(record)


@transform(blocking=True)
def threaded(record: Record) -> Any:
    """In a thread."""
    return made(record)


@transform
async def awaited(record: Record) -> Any:
    """Async."""
    await asyncio.sleep(0)
    return made(record)


@transform
def generated(record: Record) -> Any:
    """A generator as the result."""
    result = made(record)
    return (one for one in ([result] if isinstance(result, Record) else result or ()))


CASES = ["same", "new", "none", "empty", "two"]


@pytest.mark.parametrize("target", [plain, threaded, awaited, generated], ids=lambda t: t.__name__)
async def test_every_form_of_a_record_function_gives_the_same(target: Any) -> None:
    """One, several and no records, in order; new ones inherit key, time and origin; everything is accounted for."""
    result = await step(target).run(batch(*CASES, keys=str), context())
    assert [(r.value, r.key, r.timestamp, r.origin) for r in result.records] == [
        ("same", "same", 1000, 0),
        ("made", "new", 1001, 1),
        (1, "two", 1004, 4),
        (2, "two", 1004, 4),
    ]
    assert (result.filtered, result.added, result.failed) == (2, 1, [])


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize(
    ("made", "got"), [({"a": 1}, "dict"), ("text", "str"), (b"", "bytes"), (5, "int"), ([{"a": 1}], "dict")]
)
async def test_an_async_generator_or_other_thing_is_refused(concurrency: int, made: Any, got: str) -> None:
    """What is no record fails its record with what was got; an async generator is refused at once."""

    @transform
    async def wrong(record: Record) -> Any:
        return made if record.value else record

    result = await step(wrong, concurrency=concurrency).run(batch(0, 1), context())
    assert [(r.value, str(e)) for r, e, _ in result.failed] == [
        (1, f"got {got}, expected a Record, a list of them, or None")
    ]

    @transform
    async def stream(record: Record) -> AsyncIterator[Record]:
        yield record

    class Stream:
        async def process_record(self, record: Record, context: Any) -> AsyncIterator[Record]:
            yield record

    with pytest.raises(Fatal, match="step s: process_record is an async generator, expected a function that returns"):
        step_for("s", Stream(), Limits(), blocking=False)
    with pytest.raises(Fatal, match="step s: object has neither process nor process_record"):
        step_for("s", object(), Limits(), blocking=False)


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("blocking", [False, True])
async def test_a_failing_record_harms_no_neighbour(concurrency: int, blocking: bool) -> None:
    """The others go on, in order; the failure names its record."""

    def work(record: Record) -> Record:
        if record.value == 1:
            raise ValueError("one")
        return record

    async def awaited_work(record: Record) -> Record:
        return work(record)

    target = transform("work", blocking=True)(work) if blocking else transform("work")(awaited_work)
    result = await step(target, concurrency=concurrency).run(batch(0, 1, 2), context())
    assert [r.value for r in result.records] == [0, 2]
    assert [(r.value, str(error), tries) for r, error, tries in result.failed] == [(1, "one", 1)]


async def test_a_generator_that_fails_fails_its_record() -> None:
    """Also when the function is async and returns a plain generator that fails while it is read."""

    def two(record: Record) -> Iterator[Record]:
        yield record
        raise ValueError("second")

    @transform
    async def work(record: Record) -> Any:
        return two(record)

    result = await step(work).run(batch(0), context())
    assert [str(error) for _, error, _ in result.failed] == ["second"]
    assert result.records == []


async def test_overlapping_calls_overlap_and_keep_order() -> None:
    """With concurrency 3 three calls are under way at once, results keep the order, and one key stays in order."""
    under_way: list[Any] = []
    most = 0
    log: list[Any] = []
    all_there = asyncio.Event()

    @transform
    async def work(record: Record) -> Record:
        nonlocal most
        under_way.append(record.value)
        most = max(most, len(under_way))
        if len(under_way) == 3:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), 5)
        # The first comes last, were it not for its key.
        for _ in range(10 - record.value):
            await asyncio.sleep(0)
        under_way.remove(record.value)
        log.append(record.value)
        return record

    given = batch(0, 1, 2, 3, 4, 5, keys=lambda v: f"key {v % 3}")
    result = await step(work, concurrency=3).run(given, context())
    assert [r.value for r in result.records] == [0, 1, 2, 3, 4, 5]
    assert most == 3
    for key in range(3):
        assert [value for value in log if value % 3 == key] == [key, key + 3]


async def test_without_concurrency_calls_do_not_overlap() -> None:
    """One call at a time is the default."""
    under_way = 0

    @transform
    async def work(record: Record) -> Record:
        nonlocal under_way
        under_way += 1
        await asyncio.sleep(0)
        assert under_way == 1
        under_way -= 1
        return record

    result = await step(work).run(batch(0, 1, 2), context())
    assert not result.failed


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_retriable_is_tried_again_with_back_off(concurrency: int) -> None:
    """The same call is repeated after the wait that the plugin names, or the back-off's; then it counts as done."""
    clock = ManualClock()
    calls: list[int] = []

    @transform
    async def work(record: Record) -> Record:
        calls.append(record.value)
        if len(calls) == 1:
            raise Retriable("busy", after=7.0)
        if len(calls) == 2:
            raise Retriable("busy")
        return record

    using = context(clock)
    result = await step(work, attempts=3, concurrency=concurrency).run(batch(5), using)
    assert calls == [5, 5, 5]
    assert [r.value for r in result.records] == [5]
    assert clock.slept[0] == 7.0
    assert 1.0 <= clock.slept[1] <= 2.0
    assert using.metrics.retries == 2


async def test_attempts_are_bounded() -> None:
    """After the last one the record has failed, with the number of tries."""

    @transform
    async def work(record: Record) -> Record:
        raise Retriable("busy")

    result = await step(work, attempts=3).run(batch(0), context())
    assert [(str(error), tries) for _, error, tries in result.failed] == [("busy", 3)]


async def test_a_call_without_answer_is_ended_and_tried_again() -> None:
    """The time-out ends the call; its text says how long was waited."""
    calls = 0

    @transform
    async def work(record: Record) -> Record:
        nonlocal calls
        calls += 1
        await asyncio.Event().wait()
        return record

    result = await step(work, attempts=2, timeout_seconds=0.001).run(batch(0), context())
    assert [(str(error), tries) for _, error, tries in result.failed] == [("no answer within 0.001 s", 2)]
    assert calls == 2


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_fatal_and_exit_end_the_step(concurrency: int) -> None:
    """Neither is hidden in a group, and sys.exit does not reach the event loop."""

    @transform
    async def fatal(record: Record) -> Record:
        raise Fatal("no table")

    @transform
    async def leave(record: Record) -> Record:
        raise SystemExit(3)

    with pytest.raises(Fatal, match=r"^no table$"):
        await step(fatal, concurrency=concurrency).run(batch(0, 1), context())
    with pytest.raises(Fatal, match=r"^step leave called sys.exit\(3\)$"):
        await step(leave, concurrency=concurrency).run(batch(0, 1), context())


async def test_plain_code_leaves_retrying_to_the_chain() -> None:
    """A plain function cannot wait, so Retriable and Fatal concern the batch."""

    @transform
    def work(record: Record) -> Record:
        raise Retriable("busy")

    with pytest.raises(Retriable):
        await step(work).run(batch(0), context())


# -- batches --------------------------------------------------------------------------------------


@transform
def as_list(batch: Batch) -> list[Record]:
    """A list."""
    return [r for r in batch if r.value % 2]


@transform
def as_generator(batch: Batch) -> Iterable[Record]:
    """A generator."""
    for record in batch:
        if record.value % 2:
            yield record


@transform
async def as_coroutine(batch: Batch) -> Iterable[Record]:
    """A coroutine."""
    return (r for r in batch if r.value % 2)


@transform("as_async_generator")
@attrs.define
class AsAsyncGenerator:
    """An async generator."""

    async def process(self, batch: Batch, context: TransformContext) -> AsyncIterator[Record]:
        for record in batch:
            if record.value % 2:
                yield record


@transform(blocking=True)
def in_a_thread(batch: Batch) -> Iterable[Record]:
    """In a thread."""
    return [r for r in batch if r.value % 2]


@pytest.mark.parametrize("target", [as_list, as_generator, as_coroutine, AsAsyncGenerator, in_a_thread])
async def test_every_form_of_a_batch_function_gives_the_same(target: Any) -> None:
    """What is missing counts as filtered."""
    result = await step(target).run(batch(0, 1, 2, 3), context())
    assert [r.value for r in result.records] == [1, 3]
    assert (result.filtered, result.added) == (2, 0)


async def test_new_records_of_a_batch_get_time_and_origin() -> None:
    """Those of the batch's last record; what is more than came in counts as added."""

    @transform
    def work(batch: Batch) -> Iterable[Record]:
        return [*batch, Record("sum")]

    result = await step(work).run(batch(0, 1), context())
    assert [(r.value, r.timestamp, r.origin) for r in result.records][-1] == ("sum", 1001, 1)
    assert (result.filtered, result.added) == (0, 1)


async def test_a_batch_result_holds_records_only() -> None:
    """Anything else is an error that names what was got."""

    @transform
    def work(batch: Batch) -> Any:
        return [{"a": 1}]

    with pytest.raises(TypeError, match="got dict among the results, expected records"):
        await step(work).run(batch(0), context())


@pytest.mark.parametrize("form", ["coroutine", "generator"])
async def test_a_batch_call_without_answer_is_ended(form: str) -> None:
    """Its error says how long was waited."""

    class Work:
        async def process(self, batch: Batch, context: Any) -> Any:
            await asyncio.Event().wait()

    class Stream:
        async def process(self, batch: Batch, context: Any) -> Any:
            await asyncio.Event().wait()
            yield 1

    target = step_for("s", Work() if form == "coroutine" else Stream(), Limits(0.001), blocking=False)
    with pytest.raises(TimeoutError, match=r"no answer within 0.001 s"):
        await target.run(batch(0), context())


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_another_try_gets_the_record_as_it_came(concurrency: int) -> None:
    """What a try had changed in place before it failed is undone, also what it had changed deep inside."""
    tries: dict[int, int] = {}

    @transform
    async def work(record: Record) -> Record:
        tries[record.value["id"]] = tries.get(record.value["id"], 0) + 1
        record.value["seen"].append(tries[record.value["id"]])
        record.key = "changed"
        if tries[record.value["id"]] < 3:
            raise Retriable("busy")
        return record

    given = batch({"id": 1, "seen": []}, {"id": 2, "seen": []}, keys=lambda value: value["id"])
    result = await step(work, attempts=3, concurrency=concurrency).run(given, context())
    assert [r.value for r in result.records] == [{"id": 1, "seen": [3]}, {"id": 2, "seen": [3]}]
    assert result.failed == []


async def test_bad_record_reaches_the_chain() -> None:
    """The step passes on whom the plugin blames."""

    @transform
    def work(batch: Batch) -> Any:
        raise BadRecord(1, "odd")

    with pytest.raises(BadRecord, match="record 1 of the batch: odd"):
        await step(work).run(batch(0, 1), context())


# -- ticks ----------------------------------------------------------------------------------------


def where(_: TransformContext) -> Record:
    """Say in which thread it is called."""
    return Record(threading.current_thread().name.startswith(THREAD_NAME))


class Plain:
    """Returns a list."""

    def tick(self, context: TransformContext) -> Any:
        return [where(context)]


class Generated:
    """Yields."""

    def tick(self, context: TransformContext) -> Any:
        yield where(context)


class Awaited:
    """Awaits."""

    async def tick(self, context: TransformContext) -> Any:
        await asyncio.sleep(0)
        return (where(context) for _ in range(1))


class Streamed:
    """Yields and awaits."""

    async def tick(self, context: TransformContext) -> Any:
        await asyncio.sleep(0)
        yield where(context)


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("kind", [Plain, Generated, Awaited, Streamed])
async def test_a_tick_is_run_as_the_batches_are(kind: Any, blocking: bool) -> None:
    """Each form gives the same records; what is plain runs in the stage's thread when the plugin blocks."""
    tick = tick_for(kind(), Limits(5.0), blocking)
    assert tick is not None
    assert [record.value for record in await tick(context())] == [blocking and kind in (Plain, Generated)]


async def test_a_tick_is_bounded_and_brings_records() -> None:
    """The stage's time limit holds for it; nothing is made by None, and what is no record is refused."""
    made: list[Any] = []

    class Waiting:
        async def tick(self, context: TransformContext) -> Any:
            if not made:
                await asyncio.Event().wait()
            return made.pop()

    assert tick_for(object(), Limits(), blocking=False) is None
    tick = tick_for(Waiting(), Limits(0.001), blocking=False)
    assert tick is not None
    with pytest.raises(TimeoutError, match=r"no answer within 0.001 s"):
        await tick(context())
    made += [["text"], None]
    # One that has its answer at once is in time, however short that is.
    assert await tick(context()) == []
    with pytest.raises(TypeError, match="got str among the results, expected records"):
        await tick(context())


async def test_a_tick_that_is_cancelled_from_inside_has_failed() -> None:
    """It must not end the stage's task as if the stage had been stopped."""

    class Cancelled:
        async def tick(self, context: TransformContext) -> Any:
            raise asyncio.CancelledError

    tick = tick_for(Cancelled(), Limits(), blocking=False)
    assert tick is not None
    with pytest.raises(RuntimeError, match="cancelled from inside"):
        await tick(context())
