"""What a producer promises; it stands in the stage of a pipeline that stores what it brings."""

import asyncio
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from streamweaver.record import Record
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.dead_letter import DeadLetter
from streamweaver.runtime.plugin_life import call
from streamweaver.testing.conformance.bench import Bench, CountingLoop, Running, bench
from streamweaver.testing.conformance.clock import AsleepClock
from streamweaver.testing.conformance.probe import Probe
from streamweaver.testing.conformance.promises.life import Leftovers, same_instance
from streamweaver.testing.conformance.promises.quick import blocks_the_loop
from streamweaver.testing.conformance.suite import Behaviours, Need, Suite

PRODUCER = Behaviours()

RESUMES = Need("it does not declare resumes=True", lambda suite: suite.plugin.resumes)
KEYED = Need("it declares no key", lambda suite: suite.plugin.key is not None)
MORE = Need("needs more=, which gives it more to bring", lambda suite: suite.more is not None)
PLAIN = Need("it is an async generator, or declared blocking", lambda suite: _plain(suite))

YIELDS = 20
"""So many yields are looked at, of a producer that brings more."""

ENOUGH = 20


def _plain(suite: Suite) -> bool:
    verb = suite.build().produce
    function = getattr(getattr(verb, "__self__", None), "function", verb)
    return not suite.plugin.blocking and not inspect.isasyncgenfunction(function)


def _limited(most: int, seen: list[Any]) -> Callable[[Any], Any]:
    """Return a wrap that ends the generator after so many yields, and keeps them; an empty list is none."""

    def produce(own: Callable[..., Any], context: Any) -> Any:
        generator = own(context)
        return _some_async(generator) if hasattr(generator, "__anext__") else _some(generator)

    async def _some_async(generator: Any) -> Any:
        count = 0
        try:
            while count < most:
                try:
                    one = await anext(generator)
                except StopAsyncIteration:
                    return
                if one != []:
                    seen.append(one)
                    count += 1
                yield one
        finally:
            if hasattr(generator, "aclose"):
                await generator.aclose()

    def _some(generator: Any) -> Any:
        count = 0
        try:
            while count < most:
                try:
                    one = next(generator)
                except StopIteration:
                    return
                if one != []:
                    seen.append(one)
                    count += 1
                yield one
        finally:
            if hasattr(generator, "close"):
                generator.close()

    return lambda plugin: Probe(plugin, produce=produce)


async def _values(made: Bench) -> list[Any]:
    """Return everything that the producer has brought so far, what it could not read included."""
    records = [record.value for record in await made.outputs()]
    return [*records, *(letter.value for letter in await made.dead_letters())]


async def _some_of_it(made: Bench, most: int, wrap: Callable[[Any], Any] = lambda plugin: plugin) -> list[Any]:
    """Run the stage for so many yields, at most; returns them."""
    seen: list[Any] = []
    limited = _limited(most, seen)
    async with made.running(lambda plugin: limited(wrap(plugin))) as running:
        waiting = asyncio.create_task(_quiet(running, seen))
        await asyncio.wait({running.task, waiting}, timeout=running.patience, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not running.task.done():
            running.stop.request()
        await running.ended()
    return seen


async def _quiet(running: Running, seen: list[Any]) -> None:
    """Wait until nothing has come for a while: it follows something that does not grow."""
    last = -1
    began = time.monotonic()
    while last != len(seen) or not last:
        last = len(seen)
        await asyncio.sleep(0.15 if last else 0.02)
        late = running.scope.clock.monotonic() > _LONG_SECONDS or time.monotonic() - began > running.patience / 5
        if late and not last:
            return


_BUSY = 0.5
"""Share of a processor that a thread which spins gets."""

_TURNS = 400
"""Turns of the event loop in a quarter of a second; a few dozen are usual, who spins makes thousands."""

_LONG_SECONDS = 60.0
"""On its clock; a producer that has brought nothing by then, or in a fifth of the patience, has nothing to bring."""


# -- what comes -----------------------------------------------------------------------------------


@PRODUCER.promise(guards="at_least_once")
async def brings_records(suite: Suite, folder: Path) -> None:
    """With the options of its suite it brings records that can be stored."""
    async with bench(suite, folder) as made:
        seen = await _some_of_it(made, YIELDS)
        letters = [letter for letter in await made.dead_letters() if letter.step == "encode" and not _keyless(letter)]
        assert not letters, f"a record cannot be stored: {letters[0].reason}"
        items = [item for one in seen for item in (one if isinstance(one, list) else [one])]
        assert any(isinstance(item, Record) for item in items), "it has brought no record: give it some with prepare="


def _keyless(letter: DeadLetter) -> bool:
    return letter.reason.startswith("key:")


@PRODUCER.promise(KEYED)
async def has_its_key(suite: Suite, folder: Path) -> None:
    """Each record has the field that it declares as its key."""
    async with bench(suite, folder) as made:
        await _some_of_it(made, YIELDS)
        letters = [letter for letter in await made.dead_letters() if _keyless(letter)]
        assert not letters, f"key={suite.plugin.key!r}: {letters[0].reason}"


@PRODUCER.promise(RESUMES, guards="exactly_once")
async def resumes_at_every_position(suite: Suite, folder: Path) -> None:
    """Stopped after any of its yields, and started again, it goes on right there: nothing lost, nothing twice."""
    async with bench(suite, folder, "whole") as made:
        count = len(await _some_of_it(made, YIELDS))
        whole = await _values(made)
    async with bench(suite, folder, "again") as made:
        await _some_of_it(made, count)
        assert await _values(made) == whole, "it does not bring the same again: give it options that make it repeatable"
    for cut in range(1, count):
        async with bench(suite, folder, f"cut-{cut}") as made:
            await _some_of_it(made, cut)
            await _some_of_it(made, count - cut)
            found = await _values(made)
        # Lists may be cut elsewhere when it starts in their middle.
        both = min(len(found), len(whole))
        wrong = next((place for place in range(both) if found[place] != whole[place]), None)
        assert wrong is None, (
            f"stopped after yield {cut} of {count} and started again it brings {found[wrong or 0]!r:.100} "
            f"where {whole[wrong or 0]!r:.100} is due"
        )


@PRODUCER.promise(RESUMES, guards="exactly_once")
async def brings_nothing_after_its_end(suite: Suite, folder: Path) -> None:
    """When it has ended, and is started again with nothing new there, it brings nothing."""
    async with bench(suite, folder) as made:
        count = len(await _some_of_it(made, 10 * YIELDS))
        before = await _values(made)
        if count < 10 * YIELDS:
            await _some_of_it(made, 10 * YIELDS)
            after = await _values(made)
            assert after == before, f"started again after its end it brings {after[len(before)]!r:.100}"


@PRODUCER.promise()
async def keeps_to_a_rate(suite: Suite, folder: Path) -> None:
    """With a `rate` it brings as many records as without, only later: it does not leave out what it is late for."""
    rate = 5.0
    async with bench(suite, folder, "free") as made:
        await _some_of_it(made, ENOUGH)
        free = len(await _values(made))
    async with bench(suite, folder, "slow", rate=rate) as made:
        seen = await _some_of_it(made, ENOUGH)
        slow, took = len(await _values(made)), made.clock.monotonic()
    assert slow >= free, f"it brings {slow} records at a rate of {rate:g}/s, and {free} without a rate"
    # A list may come whole, and the first and the last yield wait for nothing.
    largest = max((len(one) if isinstance(one, list) else 1 for one in seen), default=0)
    least = (slow - 2 * largest) / rate
    assert took >= least, f"{slow} records came within {took:.1f} s at a rate of {rate:g}/s"


@PRODUCER.promise(MORE)
async def goes_on_after_a_silence(suite: Suite, folder: Path) -> None:
    """When its input stands still and goes on later, what is new comes, without a restart."""
    assert suite.more is not None
    async with bench(suite, folder) as made:
        seen: list[Any] = []
        async with made.running(_limited(1_000_000, seen)) as running:
            await _quiet(running, seen)
            assert not running.task.done(), "it has ended; one that can have more= waits for it"
            before = len(seen)
            await call(suite.more)
            await running.until(lambda: len(seen) > before, "what is new is to come")


# -- stopping -------------------------------------------------------------------------------------


@PRODUCER.promise(guards="at_least_once")
async def stops_when_asked(suite: Suite, folder: Path) -> None:
    """Asked to stop it ends at once, and what it has yielded is stored, or comes with the next start if it resumes."""
    clock = AsleepClock()
    # With a rate it stands still after the first record at the latest, wherever that is.
    async with bench(suite, folder, clock=clock, rate=5.0) as made:
        seen: list[Any] = []
        async with made.running(_limited(1_000_000, seen)) as running:
            await running.until(lambda: clock.told.is_set() or running.task.done(), "the first record is to come")
            running.stop.request()
            await running.ended()
        stored, yielded = len(await _values(made)), sum(len(one) if isinstance(one, list) else 1 for one in seen)
    if stored < yielded and suite.plugin.resumes:
        # Of a list that the rate has cut, the rest comes with the next start.
        async with bench(suite, folder) as made:
            await _some_of_it(made, 1)
            stored = min(yielded, len(await _values(made)))
    assert stored == yielded, f"it has yielded {yielded} records, and {stored} are stored"


@PRODUCER.promise(guards="at_least_once")
async def cancelled_in_the_middle(suite: Suite, folder: Path) -> None:
    """Cancelled it ends at once, and the next start brings the rest."""
    async with bench(suite, folder) as made:
        async with made.running() as running:
            await running.until(lambda: running.scope.metrics.out > 0 or running.task.done(), "a record is to come")
        before = len(await _values(made))
        seen = await _some_of_it(made, YIELDS)
        assert seen or before, "it has brought nothing, neither before it was cancelled nor after"


@PRODUCER.promise()
async def does_not_spin(suite: Suite, folder: Path) -> None:
    """While it has nothing to do it leaves the processor alone."""
    async with bench(suite, folder, clock=SystemClock(), rate=5.0) as made:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop), "the kit runs checks in loops of its own"
        shares, turns = [], []
        async with made.running() as running:
            for _ in range(3):
                wall, work, before = time.perf_counter(), time.process_time(), loop.turns
                await asyncio.wait({running.task}, timeout=0.25)
                shares.append((time.process_time() - work) / (time.perf_counter() - wall))
                turns.append(loop.turns - before)
        assert min(turns) < _TURNS, f"the event loop turns {min(turns) * 4} times a second while nothing happens"
        assert min(shares) < _BUSY, f"it uses {min(shares):.0%} of a processor while at most 5 records a second are due"


# -- its life -------------------------------------------------------------------------------------


@PRODUCER.promise()
async def opens_again_after_close(suite: Suite, folder: Path) -> None:
    """After `close` the same object can be opened once more, and works."""
    same = same_instance(suite.build())
    for name in ("first", "second"):
        async with bench(suite, folder, name) as made:
            await _some_of_it(made, YIELDS, same)
            assert await _values(made), f"it brought nothing after its {name} open"


async def _first(made: Bench, wrap: Callable[[Any], Any]) -> None:
    """Run the stage until it has stored something, or has ended."""
    async with made.running(wrap) as running:
        await running.until(lambda: running.task.done() or running.scope.metrics.units > 0, "a record is to come")


@PRODUCER.promise()
async def leaves_nothing_running(suite: Suite, folder: Path) -> None:
    """When it is closed no thread and no task of it is left."""
    async with bench(suite, folder) as made:
        before = Leftovers()
        await _some_of_it(made, YIELDS)
        await before.gone(suite.patience_seconds)


@PRODUCER.promise(PLAIN)
async def does_not_block_the_loop(suite: Suite, folder: Path) -> None:
    """A plain generator yields within milliseconds; one that waits is `async`, or declared `blocking=True`."""
    tries = iter(range(100))

    async def once(wrap: Callable[[Any], Any]) -> None:
        async with bench(suite, folder, f"try-{next(tries)}") as made:
            await _first(made, wrap)

    def through(timed: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Time each step of the generator, by the probe's hook for `process`."""

        def wrap(plugin: Any) -> Any:
            def produce(own: Callable[..., Any], context: Any) -> Any:
                step = timed(_Stepper(own(context)))

                def steps() -> Any:
                    while True:
                        try:
                            one = step.process()
                        except _EndedError:
                            return
                        yield one

                return steps()

            return Probe(plugin, produce=produce)

        return wrap

    await blocks_the_loop(lambda wrap: once(through(wrap)), "process")


class _EndedError(Exception):
    """The generator has ended; StopIteration must not cross a generator."""


@attrs.define
class _Stepper:
    """A generator as something that has a verb."""

    generator: Any

    def process(self) -> Any:
        try:
            return next(self.generator)
        except StopIteration:
            raise _EndedError from None
