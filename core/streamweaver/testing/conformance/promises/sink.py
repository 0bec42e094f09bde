"""What a sink promises; it stands in the stage of a pipeline that writes to it."""

import asyncio
import contextlib
import inspect
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from streamweaver.errors import Fatal
from streamweaver.record import Batch, Record
from streamweaver.runtime.plugin_life import call
from streamweaver.runtime.scope import IDLE
from streamweaver.testing.conformance.bench import Bench, Running, bench
from streamweaver.testing.conformance.clock import AsleepClock, QuickClock
from streamweaver.testing.conformance.probe import Probe
from streamweaver.testing.conformance.promises.life import Leftovers, same_instance
from streamweaver.testing.conformance.promises.quick import blocks_the_loop
from streamweaver.testing.conformance.suite import Behaviours, Need, Suite, numbered
from streamweaver.testing.single import INPUT

SINK = Behaviours()

READS = Need("needs read=, a way to read back what is stored", lambda suite: suite.read is not None)
LASTING = Need("it is a live view, which keeps nothing", lambda suite: suite.plugin.delivery != "best_effort")
ONCE = Need("it does not claim exactly_once", lambda suite: suite.plugin.delivery == "exactly_once")
OWN_OFFSETS = Need("it has no committed", lambda suite: hasattr(suite.build(), "committed"))
NO_OWN_OFFSETS = Need("it keeps its own offsets", lambda suite: not hasattr(suite.build(), "committed"))
FAULTS = Need(
    "needs fail= and restore=, which take its destination away and give it back",
    lambda suite: suite.fail is not None and suite.restore is not None,
)
BAD = Need("needs bad=, a value that it must refuse", lambda suite: suite.bad is not ...)
SEVERAL = Need("it has no write_all", lambda suite: hasattr(suite.build(), "write_all"))
PLAIN = Need("its write is async, or declared blocking", lambda suite: _plain(suite))

LARGE = 3_000

_HELD_SECONDS = 0.05
"""How long a write in a thread is held up when its stage is cancelled."""

ODD_TEXTS = ["", "ключ-鍵-🔑", "مفتاح", "'quoted', \"twice\", \\n; {braces}", "two\nlines", "x" * 10_000]

_OUTAGE_SECONDS = 0.5
"""How long a sink may take to notice that its destination is away."""

_TOGETHER = {"records": 3, "wait": "1ms"}
"""Has the engine cut what waits into batches of three, which it hands over together."""

ODD_KEYS = [None, b"", "ключ-鍵-🔑".encode(), b"\xff\x00\xfe", b"k" * 300, b"plain"]


def _verb(suite: Suite) -> Callable[..., Any]:
    plugin = suite.build()
    verb: Callable[..., Any] = plugin.write if hasattr(plugin, "write") else plugin.write_record
    return verb


def _plain(suite: Suite) -> bool:
    return not suite.plugin.blocking and not inspect.iscoroutinefunction(_verb(suite))


def _instead(of: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return a wrap that calls `of(call, item)` in place of the sink's verb."""
    return lambda plugin: Probe(plugin, write=of, write_all=of, write_record=of)


def _twice(own: Callable[..., Any], item: Any) -> Any:
    """Write what is given two times."""

    async def again(first: Any) -> None:
        await first
        await own(item)

    first = own(item)
    return again(first) if asyncio.iscoroutine(first) else own(item)


def _numbers(suite: Suite, start: int, end: int) -> list[Any]:
    return [suite.record(number) for number in range(start, end)]


async def _holds(made: Bench, wanted: Iterable[int], why: str = "") -> list[int]:
    """Assert that each wanted number is stored at least once, and nothing else is; returns what is stored."""
    found = await made.stored()
    _compare(found, wanted, why)
    return found


def _compare(found: list[int], wanted: Iterable[int], why: str = "") -> None:
    expected = set(wanted)
    missing, foreign = sorted(expected - set(found)), sorted(set(found) - expected)
    note = f" {why}" if why else ""
    assert not missing, f"{len(missing)} of {len(expected)} records are not stored{note}, such as number {missing[0]}"
    assert not foreign, f"number {foreign[0]} is stored and should not be{note}"


def _once(found: list[int], why: str) -> None:
    again = [number for number, times in Counter(found).items() if times > 1]
    assert not again, f"number {again[0]} is stored {Counter(found)[again[0]]} times {why}"


async def _written(made: Bench, values: list[Any], numbers: Iterable[int]) -> list[int]:
    """Write values; return what is stored, looked at while the sink is open and once more when it is closed.

    When a sink stores is asked by behaviours of their own, so either will do for the others.
    """
    wanted = set(numbers)
    end = await made.feed(values)
    async with made.running() as running:
        await running.settled(end)
        found = await made.stored()
    if not wanted <= set(found):
        found = await made.stored()
    await _no_letters(made)
    return found


async def _caught_up(made: Bench, running: Running, end: int) -> None:
    """Wait until the stage has settled everything; an earlier run may have left nothing to do."""
    before = await made.committed()
    await running.until(
        lambda: max(running.done_to, before) >= end and running.scope.activity.what == IDLE,
        f"{end} records are to be settled",
    )


async def _no_letters(made: Bench) -> None:
    letters = await made.dead_letters()
    assert not letters, f"it refused {len(letters)} good records: {letters[0].error}: {letters[0].reason}"


# -- batches --------------------------------------------------------------------------------------


@SINK.promise(READS)
async def stores_nothing_without_records(suite: Suite, folder: Path) -> None:
    """Opened and closed without a batch (an empty one is never sent), it stores nothing."""
    async with bench(suite, folder) as made:
        async with made.running() as running:
            await running.until(lambda: running.scope.activity.what == IDLE, "the sink is to be opened")
        found = await made.stored()
        assert not found, f"{len(found)} records are stored that nobody wrote"


@SINK.promise(guards="at_least_once")
async def takes_one_record(suite: Suite, folder: Path) -> None:
    """One record is written, and is there."""
    async with bench(suite, folder) as made:
        if suite.read is None:
            await made.process(_numbers(suite, 0, 1))
            await _no_letters(made)
        else:
            _compare(await _written(made, _numbers(suite, 0, 1), [0]), [0])


@SINK.promise(guards="at_least_once")
async def takes_a_large_batch(suite: Suite, folder: Path) -> None:
    """Thousands of records in one batch are written, in order."""
    async with bench(suite, folder) as made:
        if suite.read is None:
            await made.process(_numbers(suite, 0, LARGE))
            await _no_letters(made)
            return
        found = await _written(made, _numbers(suite, 0, LARGE), range(LARGE))
        _compare(found, range(LARGE), f"of a batch of {LARGE}")
        first = list(dict.fromkeys(found))
        out = next((number for number, wanted in zip(first, range(LARGE), strict=True) if number != wanted), None)
        assert out is None, f"number {out} is out of order in a batch of {LARGE}"


@SINK.promise(guards="at_least_once")
async def takes_any_key_and_text(suite: Suite, folder: Path) -> None:
    """Records without a key, and with keys and texts in any script, or of bytes that are no text, are written too."""
    async with bench(suite, folder) as made:
        count = len(ODD_KEYS)
        values = _numbers(suite, 0, count)
        # What an author's own values may hold only the author knows.
        if suite.record is numbered:
            values = [{**value, "text": text} for value, text in zip(values, ODD_TEXTS, strict=True)]
        end = await made.feed(values, keys=ODD_KEYS)
        async with made.running() as running:
            await running.settled(end)
        await _no_letters(made)
        if suite.read is not None:
            await _holds(made, range(count), "that have odd keys or texts")


@SINK.promise(guards="at_least_once")
async def a_tombstone_costs_only_itself(suite: Suite, folder: Path) -> None:
    """A record without a value is written, left out or refused; its neighbours are stored, and the sink goes on."""
    values = _numbers(suite, 0, 7)
    values[2] = None
    async with bench(suite, folder) as made:
        await made.process(values)
        letters = [letter for letter in await made.dead_letters() if letter.value is not None]
        assert not letters, f"a good record beside a tombstone was refused: {letters[0].reason}"
        if suite.read is not None:
            found = [number for number in await made.stored() if number in range(7) and number != 2]
            _compare(found, [0, 1, 3, 4, 5, 6], "beside a tombstone")


# -- refused records ------------------------------------------------------------------------------


async def _with_bad(suite: Suite, folder: Path, bad: set[int], count: int = 8, **words: Any) -> None:
    values = [suite.bad if number in bad else suite.record(number) for number in range(count)]
    good = [number for number in range(count) if number not in bad]
    async with bench(suite, folder, **words) as made:
        await made.process(values)
        letters = sorted(letter.offset for letter in await made.dead_letters())
        assert letters == sorted(bad), f"records {sorted(bad)} of {count} are bad, the dead letters are of {letters}"
        if suite.read is not None:
            found = await _holds(made, good, "beside a bad one")
            _once(found, "because its batch failed: raise before anything of the batch is stored")


@SINK.promise(BAD)
async def one_bad_record_costs_only_itself(suite: Suite, folder: Path) -> None:
    """Of a batch with a bad record that one becomes a dead letter; the others are stored once."""
    await _with_bad(suite, folder, {3})


@SINK.promise(BAD)
async def two_bad_records_cost_only_themselves(suite: Suite, folder: Path) -> None:
    """Of a batch with two bad records these two become dead letters; the others are stored once."""
    await _with_bad(suite, folder, {0, 5})


@SINK.promise(BAD)
async def a_batch_of_bad_records_is_refused(suite: Suite, folder: Path) -> None:
    """Of a batch of bad records each becomes a dead letter, and nothing is stored."""
    await _with_bad(suite, folder, set(range(8)))


@SINK.promise(LASTING, READS, guards="at_least_once")
async def parts_of_a_batch_are_stored(suite: Suite, folder: Path) -> None:
    """When the engine splits a batch to find a bad record, every part that is written is stored, once."""
    bad = 5

    def write(own: Callable[..., Any], item: Batch | Record) -> Any:
        if any(record.origin == bad for record in (item if isinstance(item, Batch) else [item])):
            raise ValueError("conformance: a bad record")
        return own(item)

    async with bench(suite, folder) as made:
        await made.process(_numbers(suite, 0, 9), _instead(write))
        _once(await _holds(made, set(range(9)) - {bad}, "of a batch that was split"), "after a split")


# -- durability -----------------------------------------------------------------------------------


@SINK.promise(LASTING, READS, guards="at_least_once")
async def write_returns_when_it_is_stored(suite: Suite, folder: Path) -> None:
    """When `write` returns the records can be read back, since their offset may be committed at once."""
    async with bench(suite, folder) as made:
        end = await made.feed(_numbers(suite, 0, 5))
        async with made.running() as running:
            await running.settled(end)
            found = await made.stored()
        _compare(found, range(5), "when write has returned (close is too late)")


@SINK.promise(READS, guards="at_least_once")
async def stop_keeps_what_was_written(suite: Suite, folder: Path) -> None:
    """After a stop everything that was written is there."""
    async with bench(suite, folder) as made:
        end = await made.feed(_numbers(suite, 0, 5))
        async with made.running() as running:
            await running.settled(end)
        await _holds(made, range(5), "after a stop")


@SINK.promise(LASTING, READS, guards="at_least_once")
async def restart_loses_nothing(suite: Suite, folder: Path) -> None:
    """After a crash between a write and its commit, a new start leaves everything stored at least once."""
    async with bench(suite, folder) as made:
        await _crash_after_write(made, suite)
        await made.process(_numbers(suite, 5, 10))
        found = set(await made.stored())
        _compare([*found & set(range(10))], range(10), "after a crash and a restart")


@SINK.promise(ONCE, NO_OWN_OFFSETS, READS, guards="exactly_once")
async def restart_repeats_nothing(suite: Suite, folder: Path) -> None:
    """It claims exactly_once: a batch that comes again after a crash is stored once."""
    async with bench(suite, folder) as made:
        await _crash_after_write(made, suite)
        await made.process(_numbers(suite, 5, 10))
        _once(await made.stored(), "after a crash and a restart")


@SINK.promise(ONCE, OWN_OFFSETS, READS, guards="exactly_once")
async def offsets_are_stored_with_the_records(suite: Suite, folder: Path) -> None:
    """After a crash `committed` tells the offset behind the last stored record, and the engine goes on right there."""
    async with bench(suite, folder) as made:
        end = await _crash_after_write(made, suite)
        told: list[int | None] = []

        def note(topic: str, partition: int, answer: int | None) -> int | None:
            if (topic, partition) == (INPUT, 0):
                told.append(answer)
            return answer

        async def awaited(topic: str, partition: int, answer: Awaitable[int | None]) -> int | None:
            return note(topic, partition, await answer)

        # Called where the engine calls it: of a blocking sink in the thread that has opened it.
        def committed(own: Callable[..., Any], topic: str, partition: int) -> Any:
            answer = own(topic, partition)
            return (awaited if inspect.isawaitable(answer) else note)(topic, partition, answer)

        await made.process(_numbers(suite, 5, 10), lambda plugin: Probe(plugin, committed=committed))
        assert told == [end], f"committed told {told[0]} where {end} records are stored"
        _once(await made.stored(), "although it keeps its own offsets")


@SINK.promise(ONCE, READS, guards="exactly_once")
async def a_repeated_batch_is_stored_once(suite: Suite, folder: Path) -> None:
    """It claims exactly_once: a batch that is written twice, as after a time-out, is stored once."""
    async with bench(suite, folder) as made:
        await made.process(_numbers(suite, 0, 5), _instead(_twice))
        _once(await made.stored(), "when its batch comes twice")


async def _crash_after_write(made: Bench, suite: Suite, count: int = 5) -> int:
    """Let the stage fail when so many records have been written, and before their offset is committed."""
    end = await made.feed(_numbers(suite, 0, count))
    written = 0

    async def crash(first: Any) -> None:
        await first
        _crash()

    def _crash() -> None:
        if written >= end:
            raise Fatal("conformance: a crash")

    def write(own: Callable[..., Any], item: Any) -> Any:
        nonlocal written
        written += 1 if isinstance(item, Record) else sum(map(len, item)) if isinstance(item, list) else len(item)
        first = own(item)
        return crash(first) if asyncio.iscoroutine(first) else _crash()

    async with made.running(_instead(write)) as running:
        await asyncio.wait({running.task}, timeout=suite.patience_seconds)
        assert running.task.done(), f"it wrote {written} of {end} records in {suite.patience_seconds:g} s"
        error = running.task.exception()
        assert error is not None, f"it ended after {written} of {end} records"
        assert "conformance: a crash" in str(error), f"it failed before it had written all: {error}"
    return end


@SINK.promise(LASTING, READS, guards="at_least_once")
async def cancelled_in_the_middle(suite: Suite, folder: Path) -> None:
    """Cancelled while it writes it ends at once, and the next start stores everything."""
    began, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def write(own: Callable[..., Any], item: Any) -> Any:
        loop.call_soon_threadsafe(began.set)
        if suite.plugin.blocking:
            go.wait(suite.patience_seconds)
        return own(item)

    async with bench(suite, folder) as made:
        end = await made.feed(_numbers(suite, 0, 4))
        try:
            async with made.running(_instead(write)) as running:
                await running.told(began, "the sink is to be written to")
                # A thread cannot be cancelled: the stage waits for its call, which must be under way by then.
                loop.call_later(_HELD_SECONDS, go.set)
        finally:
            go.set()
        async with made.running() as running:
            await _caught_up(made, running, end)
        found = set(await made.stored())
        _compare([*found], range(4), "after it was cancelled in a write")


# -- several batches at once ----------------------------------------------------------------------


@SINK.promise(SEVERAL, LASTING, READS, guards="at_least_once")
async def several_batches_are_stored(suite: Suite, folder: Path) -> None:
    """When `write_all` returns all of its batches are stored, in order."""
    found: list[int] = []
    returned: list[int] = []

    async def looked(answer: Any, count: int) -> None:
        if inspect.isawaitable(answer):
            await answer
        returned.append(count)
        found.extend(await made.stored())

    def write_all(own: Callable[..., Any], batches: Any) -> Any:
        # Of a sink in a thread, whose call cannot wait for the event loop, it is looked at when the stage has gone on.
        if suite.plugin.blocking:
            own(batches)
            returned.append(len(batches))
            return None
        return looked(own(batches), len(batches))

    async with bench(suite, folder, batch=_TOGETHER) as made:
        end = await made.feed(_numbers(suite, 0, 9))
        async with made.running(lambda plugin: Probe(plugin, write_all=write_all)) as running:
            await running.settled(end)
            stored = found or await made.stored()
        assert returned, "write_all raised an error for good records"
        assert returned == [3], f"3 batches were handed over at once, write_all was called with {returned}"
        _compare(stored, range(9), "when write_all has returned (close is too late)")
        assert list(dict.fromkeys(stored)) == sorted(set(stored)), "the batches of write_all are out of order"


@SINK.promise(SEVERAL, BAD)
async def a_bad_record_among_several_batches_costs_only_itself(suite: Suite, folder: Path) -> None:
    """Of several batches with a bad record that one becomes a dead letter; all others are stored once."""
    await _with_bad(suite, folder, {4}, count=9, batch=_TOGETHER)


@SINK.promise(SEVERAL, ONCE, READS, guards="exactly_once")
async def several_batches_that_come_again_are_stored_once(suite: Suite, folder: Path) -> None:
    """It claims exactly_once: batches that are given to `write_all` twice are stored once."""
    async with bench(suite, folder, batch=_TOGETHER) as made:
        await made.process(_numbers(suite, 0, 9), _instead(_twice))
        _once(await _holds(made, range(9), "when their batches come twice"), "when its batches come twice")


@SINK.promise(SEVERAL, LASTING, READS, guards="at_least_once")
async def restart_after_several_batches_loses_nothing(suite: Suite, folder: Path) -> None:
    """After a crash between `write_all` and the commit, a new start leaves everything stored at least once."""
    await _restarted(suite, folder)


@SINK.promise(SEVERAL, ONCE, READS, guards="exactly_once")
async def restart_after_several_batches_repeats_nothing(suite: Suite, folder: Path) -> None:
    """It claims exactly_once: after a crash between `write_all` and the commit everything is stored once."""
    _once(await _restarted(suite, folder), "after a crash behind write_all and a restart")


async def _restarted(suite: Suite, folder: Path) -> list[int]:
    async with bench(suite, folder, batch=_TOGETHER) as made:
        await _crash_after_write(made, suite, 9)
        await made.process(_numbers(suite, 9, 12))
        return await _holds(made, range(12), "after a crash and a restart")


@SINK.promise(SEVERAL, FAULTS, guards="at_least_once")
async def several_batches_wait_for_their_destination(suite: Suite, folder: Path) -> None:
    """While its destination is away none of several batches counts as written, and none of their records is refused."""
    async with bench(suite, folder, batch=_TOGETHER) as made:
        end = await _first_three(made, suite)
        made.clock = asleep = AsleepClock()
        async with _outage(suite):
            later = await made.feed(_numbers(suite, 3, 12))
            async with made.running() as running:
                await _tried(running, asleep)
                done = max(running.done_to, await made.committed())
        assert done <= end, f"{done - end} records count as written while the destination is away"
        made.clock = QuickClock()
        async with made.running() as running:
            await _caught_up(made, running, later)
        await _no_letters(made)


# -- a destination that comes and goes ------------------------------------------------------------


@contextlib.asynccontextmanager
async def _outage(suite: Suite) -> AsyncIterator[None]:
    """Take the destination away, and give it back in any case."""
    assert suite.fail is not None
    assert suite.restore is not None
    await call(suite.fail)
    try:
        yield
    finally:
        await call(suite.restore)


async def _first_three(made: Bench, suite: Suite) -> int:
    return (await made.process(_numbers(suite, 0, 3))).done_to


async def _tried(running: Running, asleep: AsleepClock) -> None:
    """Wait until the sink has given up for now: it fails, wants another try, or waits by itself."""
    told = asyncio.create_task(asleep.told.wait())
    await asyncio.wait({told, running.task}, timeout=_OUTAGE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()


@SINK.promise(FAULTS, guards="at_least_once")
async def waits_for_its_destination(suite: Suite, folder: Path) -> None:
    """While its destination is away no batch counts as written, so the input waits (back-pressure)."""
    async with bench(suite, folder) as made:
        end = await _first_three(made, suite)
        made.clock = asleep = AsleepClock()
        async with _outage(suite):
            await made.feed(_numbers(suite, 3, 6))
            async with made.running() as running:
                await _tried(running, asleep)
                done = max(running.done_to, await made.committed())
        assert done <= end, f"{done - end} records count as written while the destination is away"


@SINK.promise(FAULTS, guards="at_least_once")
async def a_short_outage_is_retriable(suite: Suite, folder: Path) -> None:
    """When the destination is back at the next try, the stage has not failed, and no record was refused."""
    async with bench(suite, folder) as made:
        end = await made.feed(_numbers(suite, 0, 3))
        async with made.running() as running:
            await running.settled(end)
            running.scope.clock = asleep = AsleepClock()
            async with _outage(suite):
                end = await made.feed(_numbers(suite, 3, 6))
                await _tried(running, asleep)
            asleep.wake()
            await running.settled(end)
        letters = await made.dead_letters()
        assert not letters, f"an outage became {len(letters)} dead letters: raise Retriable, not {letters[0].error}"


@SINK.promise(FAULTS, guards="at_least_once")
async def connects_again_after_an_outage(suite: Suite, folder: Path) -> None:
    """After an outage that outlasts every retry, a restart of the stage stores what waited."""
    async with bench(suite, folder) as made:
        await _first_three(made, suite)
        end = await made.feed(_numbers(suite, 3, 6))
        async with _outage(suite), made.running() as running:
            await asyncio.wait({running.task}, timeout=_OUTAGE_SECONDS)
        async with made.running() as running:
            await _caught_up(made, running, end)
        if suite.read is not None:
            _compare([*set(await made.stored())], range(6), "after a long outage")


# -- its life -------------------------------------------------------------------------------------


@SINK.promise()
async def opens_again_after_close(suite: Suite, folder: Path) -> None:
    """After `close` the same object can be opened once more, and works."""
    plugin = suite.build()
    async with bench(suite, folder) as made:
        await made.process(_numbers(suite, 0, 2), same_instance(plugin))
        await made.process(_numbers(suite, 2, 4), same_instance(plugin))
        await _no_letters(made)
        if suite.read is not None:
            found = set(await made.stored()) & {2, 3}
            _compare([*found], [2, 3], "after a second open")


@SINK.promise()
async def leaves_nothing_running(suite: Suite, folder: Path) -> None:
    """When it is closed no thread and no task of it is left."""
    async with bench(suite, folder) as made:
        await made.process([suite.record(0)])
        before = Leftovers()
        await made.process([suite.record(1)])
        await before.gone(suite.patience_seconds)


@SINK.promise(PLAIN)
async def does_not_block_the_loop(suite: Suite, folder: Path) -> None:
    """A plain `write` is quick; one that waits for a disk or a network is `async`, or declared `blocking=True`."""
    async with bench(suite, folder) as made:
        await made.process([suite.record(0)])

        async def once(wrap: Callable[[Any], Any]) -> None:
            await made.process([suite.record(made.fed)], wrap)

        await blocks_the_loop(once, "write", "write_record", "open", "close")

    if not SEVERAL.met(suite):
        return
    async with bench(suite, folder, "several", batch=_TOGETHER) as made:

        async def several(wrap: Callable[[Any], Any]) -> None:
            await made.process(_numbers(suite, made.fed, made.fed + 6), wrap)

        await blocks_the_loop(several, "write_all")
