"""A producer stage on the embedded log: positions, counts, rates, steps, dead letters, stopping."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import Batch, ProducerContext, Record, Rejected, Retriable, TransformContext, producer, transform
from streamweaver.runtime.engine import Engine
from streamweaver.testing.context import START, FakeClock
from streamweaver.testing.harness import Ran, run_async

PIPELINE = """
name: t
producers:
  p: {use: %s, to: a, restart: {attempts: 3, initial: 1ms}%s}
"""


async def go(target: Any, tmp_path: Path, more: str = "", plugins: Iterable[Any] = (), **options: Any) -> Ran:
    name = target.__streamweaver_plugin__.name
    return await run_async(PIPELINE % (name, more), [target, *plugins], data_dir=tmp_path, **options)


def ns(ran: Ran) -> list[int]:
    return [value["n"] for value in ran.values("a")]


@producer(resumes=True)
def numbers(context: ProducerContext, *, upto: int = 10) -> Iterable[Record]:
    """Count."""
    for n in range(context.position or 0, upto):
        yield Record({"n": n}, position=n + 1)


async def test_it_resumes_behind_what_is_durable(tmp_path: Path) -> None:
    """Over runs nothing is left out and nothing comes twice; the context tells position and number of records."""
    seen: list[Any] = []

    @producer("numbers", resumes=True)
    async def counted(context: ProducerContext, *, upto: int = 10) -> AsyncIterator[Record]:
        seen.append((context.position, context.emitted))
        for n in range(context.position or 0, upto):
            yield Record({"n": n}, position=n + 1)

    for upto in (4, 4, 9):
        ran = await go(counted, tmp_path, f", upto: {upto}")
    assert ns(ran) == list(range(9))
    assert seen == [(None, 0), (4, 4), (4, 4)]


async def test_it_goes_on_after_a_failure_where_it_was(tmp_path: Path) -> None:
    """What was yielded before the failure is stored with its position; the generator is called again."""
    failures = [Retriable("busy"), ValueError("broken"), SystemExit(1)]

    @producer(resumes=True)
    async def shaky(context: ProducerContext) -> AsyncIterator[Record]:
        for n in range(context.position or 0, 12):
            if n and n % 3 == 0 and failures and n > 3 * (3 - len(failures)):
                raise failures.pop(0)
            yield Record({"n": n}, position=n + 1)

    ran = await go(shaky, tmp_path)
    assert ns(ran) == list(range(12))
    assert ran.counts["p"]["restarts"] == 3
    assert failures == []


async def test_a_failure_that_stays_fails_the_pipeline(tmp_path: Path) -> None:
    """The text names the stage, the error, and how often it was started again."""

    @producer
    async def broken() -> AsyncIterator[Record]:
        raise ValueError("no such file")
        yield  # type: ignore[unreachable]

    ran = await go(broken, tmp_path, fails=True)
    assert ran.summary.error == "stage p: ValueError: no such file (after 3 restarts)"


@pytest.mark.parametrize("kind", ["plain", "async", "blocking", "lists"])
async def test_count_is_exact_over_runs(tmp_path: Path, kind: str) -> None:
    """So many records come in all, whatever form yields them; a restart with a larger count brings the rest."""

    def plain(context: ProducerContext) -> Iterable[Record]:
        for n in range(context.position or 0, 100_000):
            yield Record({"n": n}, position=n + 1)

    async def awaited(context: ProducerContext) -> AsyncIterator[Record]:
        for record in plain(context):
            yield record

    def lists(context: ProducerContext) -> Iterable[Any]:
        for n in range(context.position or 0, 100_000, 5):
            yield [*(Record({"n": n + i}) for i in range(4)), Record({"n": n + 4}, position=n + 5)]

    form = {"plain": plain, "async": awaited, "blocking": plain, "lists": lists}[kind]
    target = producer("p", resumes=True, blocking=kind == "blocking")(form)
    for count in (2, 3, 24, 25, 41):
        for _ in range(2):
            ran = await go(target, tmp_path, f", count: {count}")
            assert ns(ran) == list(range(count))
        assert ran.counts["p"]["in"] == 0


@pytest.mark.parametrize("blocking", [False, True])
async def test_lists_leave_evenly_at_a_rate(tmp_path: Path, blocking: bool) -> None:
    """Each record at its time, which is also the one that it carries."""

    def whole(context: ProducerContext) -> Iterable[list[Record]]:
        yield [Record({"n": n}, position=n + 1) for n in range(context.position or 0, 300)]

    ran = await go(producer("p", resumes=True, blocking=blocking)(whole), tmp_path, ", rate: 100", clock=FakeClock())
    assert ns(ran) == list(range(300))
    times = [time for rows in ran.rows["a"] for time in rows.timestamps]
    assert times == sorted(times)
    assert times[-1] - times[0] >= 2_900
    # The engine's other waits move this clock as well.
    assert max(after - before for before, after in pairwise(times)) <= 500
    assert max(Counter(times).values()) <= 60


async def test_a_stop_in_a_list_that_a_rate_has_cut(tmp_path: Path) -> None:
    """What the rate held back is not stored in a rush; the next run brings it, nothing twice and nothing left out."""

    @producer(resumes=True)
    def whole(context: ProducerContext) -> Iterable[list[Record]]:
        yield [Record({"n": n}, position=n + 1) for n in range(context.position or 0, 1000)]

    async def stop(engine: Engine) -> None:
        while engine.scopes["p"].metrics.out < 3:
            await asyncio.sleep(0.001)
        engine.stop()

    ran = await go(whole, tmp_path, ", rate: 10", during=stop)
    assert ran.summary.drained
    assert 3 <= len(ns(ran)) < 100
    assert ns(await go(whole, tmp_path)) == list(range(1000))


@pytest.mark.parametrize("kind", ["plain", "async", "blocking"])
async def test_lists_that_a_rate_has_cut_survive_aborts(tmp_path: Path, kind: str) -> None:
    """Ended at any moment, started again with a larger `count`: all of them are there once, in order."""

    def lists(context: ProducerContext) -> Iterable[list[Record]]:
        for first in range(context.position or 0, 100_000, 50):
            # A position at some records only, and always at the last one.
            last = first + 49
            yield [Record({"n": n}, position=None if n % 7 and n != last else n + 1) for n in range(first, last + 1)]

    async def awaited(context: ProducerContext) -> AsyncIterator[list[Record]]:
        for records in lists(context):
            yield records

    form = awaited if kind == "async" else lists
    target = producer("p", resumes=True, blocking=kind == "blocking")(form)
    made = 0

    async def abort(engine: Engine) -> None:
        while engine.scopes["p"].metrics.out < 5:
            await asyncio.sleep(0.001)
        engine.abort()

    for count in (90, 160, 300):
        ran = await go(target, tmp_path, f", rate: 500, count: {count}", during=abort)
        assert ns(ran) == list(range(len(ns(ran))))
        assert made < len(ns(ran)) <= count
        made = len(ns(ran))
    assert ns(await go(target, tmp_path, ", count: 301")) == list(range(301))


async def test_a_record_without_a_time_has_it_before_its_steps(tmp_path: Path) -> None:
    """Steps of a producer see when a record came, as those of a flow do, and know no offset of it."""
    seen: list[Any] = []

    @transform
    def look(batch: Batch) -> list[Record]:
        seen.extend((record.timestamp, batch.offset(index)) for index, record in enumerate(batch))
        return batch.records

    clock = FakeClock()
    await go(numbers, tmp_path, ", upto: 1, steps: [{use: look}]", [look], clock=clock)
    ((time, offset),) = seen
    assert START <= time <= clock.now()
    assert offset is None


async def test_a_count_of_none_brings_none(tmp_path: Path) -> None:
    """Nothing is opened for it."""

    @producer
    def never() -> Iterable[Record]:
        raise AssertionError("called")
        yield  # type: ignore[unreachable]

    ran = await go(never, tmp_path, ", count: 0")
    assert ns(ran) == []


async def test_a_stop_drains_what_was_yielded(tmp_path: Path) -> None:
    """An endless producer is closed, and what it had yielded is stored with its position; the next run goes on."""
    yielded = 0
    closed = 0

    @producer(resumes=True)
    async def endless(context: ProducerContext) -> AsyncIterator[Record]:
        nonlocal yielded, closed
        try:
            n = context.position or 0
            while True:
                yield Record({"n": n}, position=n + 1)
                yielded = n = n + 1
                await asyncio.sleep(0)
        finally:
            closed += 1

    async def stop(engine: Engine) -> None:
        while engine.scopes["p"].metrics.out < 20:
            await asyncio.sleep(0.001)
        engine.stop()

    for _ in range(2):
        ran = await go(endless, tmp_path, during=stop)
        assert ran.summary.drained
    assert ns(ran) == list(range(len(ns(ran))))
    assert len(ns(ran)) >= yielded
    assert closed == 2


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_what_was_yielded_is_stored_though_closing_fails(tmp_path: Path, kind: str) -> None:
    """The rest of a list that a rate has cut, too: a producer that does not resume would not bring it again."""

    def lists() -> Iterable[list[Record]]:
        try:
            while True:
                yield [Record({"n": n}) for n in range(100)]
        finally:
            raise OSError("cannot close")

    async def awaited() -> AsyncIterator[list[Record]]:
        try:
            while True:
                yield [Record({"n": n}) for n in range(100)]
        finally:
            raise OSError("cannot close")

    async def stop(engine: Engine) -> None:
        while not engine.scopes["p"].metrics.out:
            await asyncio.sleep(0.001)
        engine.stop()

    target = producer("p")(lists if kind == "plain" else awaited)
    ran = await go(target, tmp_path, ", delivery: at_least_once, rate: 10", during=stop, fails=True)
    assert "cannot close" in (ran.summary.error or "")
    assert ns(ran) == list(range(100))


async def test_a_stop_interrupts_waiting(tmp_path: Path) -> None:
    """A producer that waits for input ends at once, and so does one that waits for its restart."""
    waiting = asyncio.Event()

    @producer
    async def idle() -> AsyncIterator[Record]:
        waiting.set()
        await asyncio.Event().wait()
        yield Record({"n": 0})

    @producer
    async def broken() -> AsyncIterator[Record]:
        waiting.set()
        raise ValueError("no")
        yield  # type: ignore[unreachable]

    async def stop(engine: Engine) -> None:
        await asyncio.wait_for(waiting.wait(), 10)
        while not engine.scopes["p"].activity.what.startswith("waiting"):
            await asyncio.sleep(0.001)
        engine.stop()

    for target in (idle, broken):
        waiting.clear()
        pipeline = PIPELINE.replace("1ms", "50s").replace("}%s", ", longest: 50s}%s")
        ran = await run_async(
            pipeline % (target.__streamweaver_plugin__.name, ""),  # type: ignore[attr-defined]
            [target],
            data_dir=tmp_path,
            during=stop,
            # Who waits for a restart when the end comes has failed.
            fails=target is broken,
        )
        if target is broken:
            assert ran.summary.error == "stage p: ValueError: no (stopped before its restart)"
        else:
            assert ran.summary.drained


async def test_steps_work_on_what_is_produced(tmp_path: Path) -> None:
    """Their state and their failures belong to the unit; a dead letter shows the record as it came."""

    @transform
    def work(record: Record, context: TransformContext) -> Record | None:
        context.state["sum"] = context.state.get("sum", 0) + record.value["n"]
        n = record.value["n"]
        record.value["n"] = -1
        if n in (3, 6):
            raise ValueError(f"refused {n}")
        record.value["n"] = n
        record.value["sum"] = context.state["sum"]
        return record if n != 5 else None

    @producer("numbers", resumes=True)
    def keyed(context: ProducerContext, *, upto: int = 10) -> Iterable[Record]:
        for n in range(context.position or 0, upto):
            yield Record({"n": n}, key=f"k{n}", headers=(("h", b"x"),), timestamp=n, position=n + 1)

    ran = await go(keyed, tmp_path, ", steps: [{use: work}], upto: 5", [work])
    ran = await go(keyed, tmp_path, ", steps: [{use: work}], upto: 8", [work])
    assert ran.values("a") == [{"n": n, "sum": s} for n, s in ((0, 0), (1, 1), (2, 3), (4, 7), (7, 19))]
    assert [
        (x.stage, x.step, x.reason, x.topic, x.offset, x.key, x.value, x.headers, x.timestamp) for x in ran.dead_letters
    ] == [("p", "work", f"refused {n}", "a", -1, b"k%d" % n, b'{"n":%d}' % n, (("h", b"x"),), n) for n in (3, 6)]
    assert (ran.counts["p"]["filtered"], ran.counts["p"]["dead_lettered"]) == (1, 1)


async def test_rejected_input_is_a_dead_letter_with_its_position(tmp_path: Path) -> None:
    """It is counted and kept as it came, and not brought again."""

    @producer(resumes=True)
    def lines(context: ProducerContext) -> Iterable[Any]:
        for n in range(context.position or 0, 4):
            if n == 3:
                yield Rejected(b"\xff", "no text", key="k", timestamp=9, position=n + 1)
            else:
                yield Record({"n": n}, position=n + 1)

    for _ in range(2):
        ran = await go(lines, tmp_path)
    assert ns(ran) == [0, 1, 2]
    assert [(x.step, x.error, x.reason, x.value, x.key, x.timestamp) for x in ran.dead_letters] == [
        ("produce", "BadRecord", "no text", b"\xff", b"k", 9)
    ]


@pytest.mark.parametrize("policy", ["skip", "stop"])
async def test_on_error_holds_for_producers(tmp_path: Path, policy: str) -> None:
    """Skipped input is counted; stop names what failed."""

    @producer
    def lines() -> Iterable[Any]:
        yield Rejected(b"?", "no text")
        yield Record({"n": 1})

    ran = await go(lines, tmp_path, f", on_error: {policy}", fails=policy == "stop")
    if policy == "skip":
        assert (ns(ran), ran.counts["p"]["skipped"], ran.dead_letters) == ([1], 1, [])
    else:
        assert ran.summary.error == "stage p: produce failed on a record made for a: no text; on_error is stop"


async def test_a_record_that_nothing_can_store_costs_itself_only(tmp_path: Path) -> None:
    """Key, time, headers and value may be anything: its dead letter is as near as can be."""
    strange = {1: 2, "self": None}

    @producer
    def odd() -> Iterable[Record]:
        yield Record({"n": 0})
        yield Record({"n": 1}, key=["k"])  # type: ignore[arg-type]
        yield Record({"n": 2}, timestamp=1.5)  # type: ignore[arg-type]
        yield Record({"n": 3}, headers=("h",))  # type: ignore[arg-type]
        yield Record({"n": object})
        yield Record({"\ud800": 1}, key="\ud800")
        yield Record(strange | {b"\xff": object()})
        yield Record(None, key=["tombstone"])  # type: ignore[arg-type]
        yield Record({"n": 8}, key=8)  # type: ignore[arg-type]

    ran = await go(odd, tmp_path)
    assert ns(ran) == [0, 8]
    letters = ran.dead_letters
    assert len(letters) == 7
    assert [x.key for x in letters[:3]] == [b"['k']", None, None]
    assert [x.value for x in letters[:3]] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    assert letters[3].value == b'{"n":"<class \'object\'>"}'
    assert (letters[4].key, letters[6].value) == (b"\\ud800", None)


async def test_what_is_no_record_fails_the_stage(tmp_path: Path) -> None:
    """The text says what was yielded."""

    @producer
    def wrong() -> Iterable[Any]:
        yield {"n": 1}

    ran = await go(wrong, tmp_path, fails=True)
    assert ran.summary.error is not None
    assert "the producer yielded dict, expected a Record, Rejected or a list of these" in ran.summary.error


async def test_records_without_key_are_spread(tmp_path: Path) -> None:
    """All of a unit go to one partition, the next unit to the next; with a key, equal keys meet."""

    @producer
    async def pairs() -> AsyncIterator[Any]:
        for n in range(6):
            yield [Record({"n": n, "k": n % 2})] * 2
            await asyncio.sleep(0.002)

    topics = "topics: {a: {partitions: 3}}\n"
    ran = await run_async(PIPELINE.replace("producers", topics + "producers") % ("pairs", ""), [pairs])
    assert len({rows.partition for rows in ran.rows["a"]}) > 1
    ran = await run_async(PIPELINE.replace("producers", topics + "producers") % ("pairs", ", key: k"), [pairs])
    for rows in ran.rows["a"]:
        assert len({key for r in ran.rows["a"] if r.partition == rows.partition for key in r.keys} - {b"0", b"1"}) == 0
    places = {(key, rows.partition) for rows in ran.rows["a"] for key in rows.keys}
    assert len(places) == 2


async def test_fatal_in_open_names_the_plugin(tmp_path: Path) -> None:
    """Any error in `open` fails the stage before anything is produced."""

    @producer("opening")
    @attrs.define
    class Opening:
        """Cannot open."""

        def open(self, context: ProducerContext) -> None:
            raise OSError("no device")

        def produce(self, context: ProducerContext) -> Any: ...

    ran = await go(Opening, tmp_path, fails=True)
    assert ran.summary.error == "stage p: cannot open Opening: OSError: no device (after 3 restarts)"
