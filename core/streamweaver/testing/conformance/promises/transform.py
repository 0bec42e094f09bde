"""What a transform promises; it stands in the flow of a pipeline, between two topics."""

import asyncio
import copy
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streamweaver.record import Record
from streamweaver.testing.conformance.bench import STAGE, Bench, bench
from streamweaver.testing.conformance.clock import QuickClock
from streamweaver.testing.conformance.probe import Probe
from streamweaver.testing.conformance.promises.life import Leftovers, same_instance
from streamweaver.testing.conformance.promises.quick import blocks_the_loop
from streamweaver.testing.conformance.suite import Behaviours, Need, Suite

TRANSFORM = Behaviours()

TICKS = Need("it has no tick", lambda suite: hasattr(suite.build(), "tick"))
OVERLAPS = Need("it is no async function of one record", lambda suite: _is_async(suite, "process_record"))
ASYNC = Need("it is not async", lambda suite: _is_async(suite, "process_record", "process"))
PLAIN = Need("it is async, or declared blocking", lambda suite: not suite.plugin.blocking and not _async(suite))
GIVEN = Need("needs records=, values that it takes", lambda suite: bool(suite.records))
SEVERAL = Need("needs records= with two or more", lambda suite: len(suite.records) > 1)
BAD = Need("needs bad=, a value that it must refuse", lambda suite: suite.bad is not ...)

HOSTILE: list[Any] = [None, 42, "text", [], {}, True, {"": {"": [None]}}, ["\ud7ff", {"x": 1e308}]]
"""What a topic may hold that nobody has foreseen."""


def _is_async(suite: Suite, *verbs: str) -> bool:
    plugin = suite.build()
    return any(inspect.iscoroutinefunction(getattr(plugin, verb, None)) for verb in verbs)


def _async(suite: Suite) -> bool:
    return _is_async(suite, "process", "process_record")


Seen = tuple[bytes, bytes | None, int | None, Any]


def _seen(record: Record) -> Seen:
    key = record.key.encode() if isinstance(record.key, str) else record.key
    return msgspec.json.encode(record.value, order="deterministic"), key, record.timestamp, record.headers


async def _made(made: Bench) -> list[Seen]:
    return [_seen(record) for record in await made.outputs()]


async def _result(
    suite: Suite, folder: Path, name: str, batches: Sequence[Sequence[Any]], *, restart: bool = False, **words: Any
) -> list[Seen]:
    """Return what comes out when the batches are processed, each as one; with `restart` by a new plugin each time."""
    async with bench(suite, folder, name, **words) as made:
        if restart:
            for batch in batches:
                await made.process(copy.deepcopy(batch))
        else:
            async with made.running() as running:
                for batch in batches:
                    await running.settled(await made.feed(copy.deepcopy(batch)))
        return await _made(made)


def _same(found: list[Seen], wanted: list[Seen], when: str) -> None:
    """Assert that the same came out, in whatever order."""
    lost = [seen for seen in wanted if wanted.count(seen) > found.count(seen)]
    more = [seen for seen in found if found.count(seen) > wanted.count(seen)]
    if lost or more:
        raise AssertionError(
            f"{when}: got {_shown(more) if more else f'{len(found)} records'}, "
            f"expected {_shown(lost) if lost else f'{len(wanted)} records'}"
        )


def _shown(some: list[Seen]) -> str:
    return some[0][0].decode()[:200] if some else "no such record"


# -- what comes out -------------------------------------------------------------------------------


@TRANSFORM.promise(GIVEN, guards="at_least_once")
async def takes_the_given_records(suite: Suite, folder: Path) -> None:
    """It processes the records of its suite without refusing any."""
    async with bench(suite, folder) as made:
        await made.process(suite.values)
        letters = await made.dead_letters()
        assert not letters, f"it refused {letters[0].value!r}: {letters[0].error}: {letters[0].reason}"


@TRANSFORM.promise(guards="exactly_once")
async def the_same_again_gives_the_same(suite: Suite, folder: Path) -> None:
    """The same records, options and time give the same result, however often it has run before."""
    first = await _result(suite, folder, "first", [suite.values])
    again = await _result(suite, folder, "again", [suite.values])
    _same(again, first, "run again from the start")


@TRANSFORM.promise(SEVERAL)
async def batches_do_not_matter(suite: Suite, folder: Path) -> None:
    """One batch gives the same records as batches of one."""
    whole = await _result(suite, folder, "whole", [suite.values])
    single = await _result(suite, folder, "single", [[value] for value in suite.values])
    _same(whole, single, "one batch against record by record")


@TRANSFORM.promise(SEVERAL)
async def keeps_the_order(suite: Suite, folder: Path) -> None:
    """Within a batch results stand in the order of the records that they come from."""
    whole = await _result(suite, folder, "whole", [suite.values])
    single = await _result(suite, folder, "single", [[value] for value in suite.values])
    # That something else comes out is told by another behaviour.
    if sorted(map(repr, whole)) == sorted(map(repr, single)):
        out = next((place for place, pair in enumerate(zip(whole, single, strict=True)) if pair[0] != pair[1]), None)
        assert out is None, f"result {out} of a batch is out of order: {_shown(whole[out or 0 :])}"


@TRANSFORM.promise(guards="at_least_once")
async def results_are_records_of_their_own(suite: Suite, folder: Path) -> None:
    """No record, and no value that can be changed, is returned twice in one batch."""
    twice: list[str] = []

    def look(records: list[Record]) -> list[Record]:
        held: set[int] = set()
        for record in records:
            parts = [id(record), *([id(record.value)] if isinstance(record.value, dict | list) else [])]
            if held.intersection(parts):
                twice.append(f"{record.value!r:.100}")
            held.update(parts)
        return records

    def verb(own: Callable[..., Any], *arguments: Any) -> Any:
        result = own(*arguments)
        if inspect.isawaitable(result):
            return awaited(result)
        several = result is not None and not isinstance(result, Record) and not inspect.isasyncgen(result)
        return look(list(result)) if several else result

    async def awaited(result: Any) -> Any:
        found = await result
        return found if found is None or isinstance(found, Record) else look(list(found))

    async with bench(suite, folder) as made:
        await made.process(suite.values, lambda plugin: Probe(plugin, process=verb, process_record=verb))
        assert not twice, f"the same object is returned twice: {twice[0]}; make a new Record for each result"


@TRANSFORM.promise(OVERLAPS)
async def overlapping_calls_do_not_mix(suite: Suite, folder: Path) -> None:
    """With `concurrency` several calls are under way at once, and the result is that of one after the other."""
    # Records of one key wait for each other: only different keys overlap, and these have no order among themselves.
    alone = await _result(suite, folder, "alone", [suite.values])
    many = await _result(suite, folder, "many", [suite.values], concurrency=8)
    _same(many, alone, "with concurrency: 8")


# -- bad records ----------------------------------------------------------------------------------


async def _without(suite: Suite, folder: Path) -> tuple[list[Seen], int]:
    """Return the results for the suite's records, and how many it refuses, with a gap in the middle."""
    middle = len(suite.values) // 2
    async with bench(suite, folder, "without") as made:
        async with made.running() as running:
            await running.settled(await made.feed(copy.deepcopy(suite.values[:middle])))
            made.fed += 1  # The others stand where they stand beside a bad record, with the same keys and times.
            await made.feed(copy.deepcopy(suite.values[middle:]))
            await running.settled(made.fed - 1)
        return await _made(made), len(await made.dead_letters())


async def _beside(suite: Suite, folder: Path, bad: Any, name: str, wanted: tuple[list[Seen], int]) -> None:
    """Compare the results for the suite's records with a bad one in the middle to those without it."""
    middle = len(suite.values) // 2
    async with bench(suite, folder, name) as made:
        await made.process(copy.deepcopy([*suite.values[:middle], bad, *suite.values[middle:]]))
        letters = await made.dead_letters()
        found = await _made(made)
        step = made.plan.stages[STAGE].steps[0].name
        stateless = not list(made.broker.state_items(f"{made.plan.group(STAGE)}.{step}", 0))
    results, refused = wanted
    assert len(letters) <= refused + 1, f"beside {bad!r} it refuses {len(letters) - refused - 1} good records as well"
    if len(letters) > refused:
        _same(found, results, f"beside {bad!r}, which it refuses")
    elif stateless:
        # What it makes of the odd one is its own affair.
        lost = [seen for seen in results if results.count(seen) > found.count(seen)]
        assert not lost, f"beside {bad!r} a result is missing: {_shown(lost)}"


@TRANSFORM.promise(guards="at_least_once")
async def a_hostile_record_costs_only_itself(suite: Suite, folder: Path) -> None:
    """Whatever stands in the topic (a tombstone, a number, an empty object) costs one dead letter at most."""
    wanted = await _without(suite, folder)
    for number, hostile in enumerate(HOSTILE):
        await _beside(suite, folder, hostile, f"hostile-{number}", wanted)


@TRANSFORM.promise(BAD, guards="at_least_once")
async def a_bad_record_is_refused(suite: Suite, folder: Path) -> None:
    """The value that its author calls bad becomes a dead letter, and changes nothing for the others."""
    async with bench(suite, folder, "alone") as made:
        await made.process([copy.deepcopy(suite.bad)])
        letters = await made.dead_letters()
        assert len(letters) == 1, f"{suite.bad!r} was not refused"
    await _beside(suite, folder, suite.bad, "beside", await _without(suite, folder))


# -- state ----------------------------------------------------------------------------------------


@TRANSFORM.promise(SEVERAL, guards="exactly_once")
async def state_survives_a_restart(suite: Suite, folder: Path) -> None:
    """What it must remember is in `context.state`: a restart between two batches changes nothing."""
    batches = [[value] for value in suite.values]
    through = await _result(suite, folder, "through", batches)
    restarted = await _result(suite, folder, "restarted", batches, restart=True)
    _same(restarted, through, "with restarts in between")


@TRANSFORM.promise(TICKS)
async def ticks_on_an_empty_partition(suite: Suite, folder: Path) -> None:
    """`tick` is also called for partitions that have never had a record."""
    async with bench(suite, folder) as made:
        await _tick(made)


@TRANSFORM.promise(TICKS, guards="exactly_once")
async def ticks_survive_a_restart(suite: Suite, folder: Path) -> None:
    """What `tick` gives comes once, and is the same whether or not there was a restart since the records came."""
    results: list[list[Seen]] = []
    for name in ("through", "restarted"):
        async with bench(suite, folder, name) as made:
            if name == "through":
                await _tick(made, suite.values)
            else:
                await made.process(copy.deepcopy(suite.values))
            await _tick(made)
            # A result without a time of its own gets that of the tick.
            results.append([(seen[0], seen[1], None, seen[3]) for seen in await _made(made)])
    _same(results[1], results[0], "ticked after a restart")


async def _tick(made: Bench, values: Sequence[Any] = ()) -> None:
    """Run the stage on a clock that runs by hours, until everything is settled and time has passed several times."""
    calls = 0

    def tick(own: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return own(*arguments)

    clock = made.clock
    assert isinstance(clock, QuickClock)
    end = await made.feed(copy.deepcopy(values))
    # From the start: a stage that waits for records does not look at its clock before they come.
    clock.rush = 3600.0
    async with made.running(lambda plugin: Probe(plugin, tick=tick)) as running:
        if values:
            await running.settled(end)
        # The first ones may only begin to count how long it has been quiet.
        enough = calls + 6
        await running.until(lambda: calls >= enough, "the stage is to tick")
    clock.rush = 0.0


# -- its life -------------------------------------------------------------------------------------


@TRANSFORM.promise()
async def opens_again_after_close(suite: Suite, folder: Path) -> None:
    """After `close` the same object can be opened once more, and works."""
    same = same_instance(suite.build())
    async with bench(suite, folder) as made:
        await made.process(copy.deepcopy(suite.values), same)
        first = len(await made.dead_letters())
        await made.process(copy.deepcopy(suite.values), same)
        letters = (await made.dead_letters())[first:]
        assert len(letters) <= first, f"after a second open: {letters[0].error}: {letters[0].reason}"


@TRANSFORM.promise()
async def leaves_nothing_running(suite: Suite, folder: Path) -> None:
    """When it is closed no thread and no task of it is left."""
    async with bench(suite, folder) as made:
        await made.process(suite.values)
        before = Leftovers()
        await made.process(suite.values)
        await before.gone(suite.patience_seconds)


@TRANSFORM.promise(ASYNC)
async def cancelled_in_the_middle(suite: Suite, folder: Path) -> None:
    """Cancelled in a call it ends at once, and the next start gives the same as if nothing had happened."""
    began = asyncio.Event()

    def verb(own: Callable[..., Any], *arguments: Any) -> Any:
        began.set()
        return own(*arguments)

    async with bench(suite, folder, "cancelled") as made:
        end = await made.feed(copy.deepcopy(suite.values))
        async with made.running(lambda plugin: Probe(plugin, process=verb, process_record=verb)) as running:
            await running.told(began, "it is to be called")
        async with made.running() as running:
            if await made.committed() < end:
                await running.settled(end)
        found = await _made(made)
    _same(found, await _result(suite, folder, "whole", [suite.values]), "after it was cancelled in a call")


@TRANSFORM.promise(PLAIN)
async def does_not_block_the_loop(suite: Suite, folder: Path) -> None:
    """Plain code is quick; what waits for a disk or a network is `async`, or declared `blocking=True`."""
    async with bench(suite, folder) as made:

        async def once(wrap: Callable[[Any], Any]) -> None:
            await made.process(copy.deepcopy(suite.values), wrap)

        await blocks_the_loop(once, "process", "process_record", "open", "close")
