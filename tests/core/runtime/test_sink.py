"""A sink stage on the embedded log: what is written, what is refused, what happens over a crash."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from core.runtime.runtime_kit import Slow
from core.runtime.runtime_stage import scope_of
from streamweaver import (
    BadRecord,
    Batch,
    BrokerContext,
    Fatal,
    ProducerContext,
    Record,
    Retriable,
    Rows,
    SinkContext,
    TransformContext,
    producer,
    sink,
    transform,
)
from streamweaver.runtime import sink as module
from streamweaver.runtime.dead_letter import replay_headers
from streamweaver.runtime.engine import Engine
from streamweaver.testing.broker import append
from streamweaver.testing.harness import Ran, run_async
from streamweaver_brokers.embedded.lane import GroupLane, Unit

PIPELINE = """
name: t
producers:
  p: {use: numbers, to: a}
sinks:
  s: {use: %s, from: a, retry: {attempts: 3, initial: 1ms}, restart: {attempts: 3, initial: 1ms}%s}
"""


@producer(resumes=True)
def numbers(context: ProducerContext, *, upto: int = 10) -> Iterable[Record]:
    """Count."""
    for n in range(context.position or 0, upto):
        yield Record({"n": n}, timestamp=1000 + n, position=n + 1)


async def go(target: Any, tmp_path: Path, more: str = "", plugins: Iterable[Any] = (), **options: Any) -> Ran:
    name = target.__streamweaver_plugin__.name
    return await run_async(PIPELINE % (name, more), [numbers, target, *plugins], data_dir=tmp_path, **options)


@pytest.mark.parametrize("bad", [[], [3], [0, 9], [2, 3, 4], list(range(10))], ids=str)
@pytest.mark.parametrize("how", ["split", "blame", "alone"])
async def test_bad_records_are_isolated(tmp_path: Path, bad: list[int], how: str) -> None:
    """Whoever is refused becomes a dead letter, the others are written once and in order, however the sink tells."""
    written: list[int] = []

    @sink
    def picky(batch: Batch) -> None:
        for index, record in enumerate(batch):
            if record.value["n"] in bad:
                why = ValueError(f"bad {record.value['n']}")
                raise BadRecord(index, why) if how == "blame" else why
        written.extend(r.value["n"] for r in batch)

    @sink("picky")
    async def alone(record: Record) -> None:
        if record.value["n"] in bad:
            raise ValueError(f"bad {record.value['n']}")
        written.append(record.value["n"])

    ran = await go(alone if how == "alone" else picky, tmp_path)
    assert written == [n for n in range(10) if n not in bad]
    assert [(x.offset, x.stage, x.step, x.error, x.reason) for x in ran.dead_letters] == [
        (n, "s", "write", "ValueError", f"bad {n}") for n in bad
    ]
    assert ran.counts["s"]["out"] == 10 - len(bad)


@pytest.mark.parametrize(
    ("batch", "sizes"), [("{records: 10, wait: 1h}", [10, 10, 5]), ("{records: 1000, wait: 50ms}", None)]
)
async def test_a_sink_gets_batches_of_the_size_or_age_that_it_asks_for(
    tmp_path: Path, batch: str, sizes: list[int] | None
) -> None:
    """Records that come one at a time are gathered until there are enough, the oldest has waited, or the run ends."""
    enough = asyncio.Event()
    written: list[list[int]] = []

    @producer
    async def dripping() -> AsyncIterator[Record]:
        """Bring one at a time, and end when the sink has got the first of them."""
        for n in range(25):
            yield Record({"n": n})
            await asyncio.sleep(0)
        await enough.wait()

    @sink
    async def store(batch: Batch) -> None:
        written.append([record.value["n"] for record in batch])
        enough.set()

    text = PIPELINE.replace("use: numbers", "use: dripping") % ("store", f", batch: {batch}")
    ran = await run_async(text, [dripping, store], data_dir=tmp_path)
    assert [n for part in written for n in part] == list(range(25))
    assert (ran.counts["s"]["out"], ran.summary.drained) == (25, True)
    if sizes:
        assert list(map(len, written)) == sizes
    else:
        assert len(written) < 25


async def test_thousands_of_blamed_records_need_no_stack(tmp_path: Path) -> None:
    """Each record of a large batch may be bad."""

    @sink
    def never(batch: Batch) -> None:
        raise BadRecord(0, "no")

    ran = await run_async(
        PIPELINE.replace("to: a}", "to: a, upto: 600}") % ("never", ""), [numbers, never], data_dir=tmp_path
    )
    assert [x.offset for x in ran.dead_letters] == list(range(600))


async def test_a_wrong_blame_stops_the_stage(tmp_path: Path) -> None:
    """A sink that blames a record which it was not given is defective; nobody is dead-lettered for it."""

    @sink
    def confused(batch: Batch) -> None:
        raise BadRecord(-1, "who?")

    ran = await go(confused, tmp_path, fails=True)
    assert ran.summary.error == "stage s: the sink blamed record -1 of a batch of 10: who? (after 3 restarts)"
    assert ran.dead_letters == []


async def test_what_is_refused_at_the_start_is_not_lost_behind_a_failed_step(tmp_path: Path) -> None:
    """A step fails for a later record than the one the sink refuses: both have a dead letter."""

    @transform
    def fussy(record: Record) -> Record:
        if record.value["n"] == 7:
            raise ValueError("step")
        return record

    @sink
    def picky(record: Record) -> None:
        if record.value["n"] == 2:
            raise ValueError("sink")

    ran = await go(picky, tmp_path, ", steps: [{use: fussy}]", [fussy])
    assert sorted((x.offset, x.step) for x in ran.dead_letters) == [(2, "write"), (7, "fussy")]


@pytest.mark.parametrize("form", ["batch", "record"])
async def test_an_outage_costs_no_record(tmp_path: Path, form: str) -> None:
    """Retriable is tried again, then the stage starts anew; nothing is dead-lettered, and in the end all is there."""
    calls = 0
    written: list[int] = []

    def attempt() -> None:
        nonlocal calls
        calls += 1
        if calls <= 5:
            raise Retriable("down", after=0.0)

    @sink("store")
    def by_batch(batch: Batch) -> None:
        attempt()
        written.extend(r.value["n"] for r in batch)

    @sink("store")
    def by_record(record: Record) -> None:
        attempt()
        written.append(record.value["n"])

    ran = await go(by_batch if form == "batch" else by_record, tmp_path)
    assert written == list(range(10))
    assert ran.dead_letters == []
    assert ran.counts["s"]["restarts"] == 1
    assert ran.counts["s"]["in"] == 10


async def test_an_outage_that_stays_fails_the_pipeline(tmp_path: Path) -> None:
    """The text says what the sink said and how often it was tried; the next run writes everything."""
    down = True
    written: list[int] = []

    @sink
    def store(batch: Batch) -> None:
        if down:
            raise Retriable("no route", after=0.0)
        written.extend(r.value["n"] for r in batch)

    ran = await go(store, tmp_path, fails=True)
    assert ran.summary.error == "stage s: no route (after 3 tries) (after 3 restarts)"
    down = False
    await go(store, tmp_path)
    assert written == list(range(10))


async def test_a_write_without_answer_is_ended_and_tried_again(tmp_path: Path) -> None:
    """The stage's time-out bounds an async write; it is an outage, no fault of a record."""
    calls = 0

    @sink
    async def slow(batch: Batch) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()

    ran = await go(slow, tmp_path, ", timeout: 10ms")
    assert calls == 2
    assert ran.counts["s"]["retries"] == 1
    assert ran.dead_letters == []


async def test_a_blocking_write_is_not_timed_out(tmp_path: Path) -> None:
    """A thread cannot be ended, so the batch would be written twice."""
    import time

    calls = 0

    @sink(blocking=True)
    def slow(batch: Batch) -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.05)

    await go(slow, tmp_path, ", timeout: 1ms")
    assert calls == 1


@pytest.mark.parametrize("error", [Fatal("bad password"), SystemExit(3)], ids=["fatal", "exit"])
async def test_fatal_and_exit_fail_the_stage(tmp_path: Path, error: BaseException) -> None:
    """No record is blamed, and the process lives."""

    @sink
    def broken(batch: Batch) -> None:
        raise error

    ran = await go(broken, tmp_path, fails=True)
    text = "bad password" if isinstance(error, Fatal) else "the sink called sys.exit(3)"
    assert ran.summary.error == f"stage s: {text} (after 3 restarts)"
    assert ran.dead_letters == []


@sink("ledger", delivery="exactly_once")
@attrs.define
class Ledger:
    """Stores rows with offsets; crashes as told."""

    rows: ClassVar[list[Any]] = []
    offsets: ClassVar[dict[Any, int]] = {}
    crashes: ClassVar[int] = 0

    def write(self, batch: Batch) -> None:
        Ledger.rows += [(batch.topic, r.value["n"]) for r in batch]
        Ledger.offsets[batch.topic, batch.partition] = batch.last_offset + 1
        if Ledger.crashes:
            Ledger.crashes -= 1
            raise Fatal("crash after the write")

    def committed(self, topic: str, partition: int) -> int | None:
        return Ledger.offsets.get((topic, partition))


@pytest.fixture
def ledger() -> type[Ledger]:
    Ledger.rows, Ledger.offsets, Ledger.crashes = [], {}, 0
    return Ledger


async def test_a_sink_with_own_offsets_writes_once(tmp_path: Path, ledger: Any) -> None:
    """It crashes after its write and before the offset is committed: it goes on behind what it has stored."""
    ledger.crashes = 2
    await go(ledger, tmp_path)
    assert ledger.rows == [("a", n) for n in range(10)]


@pytest.mark.parametrize(("steps", "level"), [("", "warning"), (", steps: [{use: same}]", "info")])
@pytest.mark.parametrize("own", [7, None])
async def test_a_sink_that_was_set_back_goes_on_where_its_group_stands(
    tmp_path: Path, ledger: Any, own: int | None, steps: str, level: str
) -> None:
    """The log names both offsets, once a partition however often the stage restarts; nothing is told otherwise."""

    @transform
    def same(record: Record) -> Record:
        return record

    def told(ran: Ran) -> list[Any]:
        return [(line.level, line.fields) for line in ran.log if "holds less" in line.event]

    text = PIPELINE % ("ledger", steps)
    assert told(await run_async(text, [numbers, ledger, same], data_dir=tmp_path)) == []
    assert told(await run_async(text, [numbers, ledger, same], data_dir=tmp_path)) == []
    ledger.offsets = {} if own is None else {("a", 0): own}
    ledger.crashes = 1
    more = text.replace("use: numbers", "use: numbers, upto: 12")
    ran = await run_async(more, [numbers, ledger, same], data_dir=tmp_path)
    place = {"stage": "s", "topic": "a", "partition": 0, "sink_offset": own, "stage_offset": 10}
    assert told(ran) == [(level, place)]
    assert ledger.rows == [("a", n) for n in range(12)]


WIDE = PIPELINE.replace("name: t\n", "name: t\ntopics: {a: {partitions: 4}}\n").replace("to: a}", "to: a, key: n}")


@sink("wide", delivery="exactly_once")
@attrs.define
class Wide(Ledger):
    """Takes all that waits at once, rows and offsets; refuses one, and crashes as told."""

    calls: ClassVar[list[int]] = []
    bad: ClassVar[int | None] = None

    def write(self, batch: Batch) -> None:
        self.write_all([batch])

    def write_all(self, batches: list[Batch]) -> None:
        Wide.calls.append(len(batches))
        for batch in batches:
            for index, record in enumerate(batch):
                if record.value["n"] == Wide.bad:
                    raise BadRecord(index, "bad")
        for batch in batches:
            Ledger.rows += [(batch.topic, r.value["n"]) for r in batch]
            Ledger.offsets[batch.topic, batch.partition] = batch.last_offset + 1
        if Ledger.crashes:
            Ledger.crashes -= 1
            raise Fatal("crash after the write")


@pytest.mark.parametrize("bad", [None, 3])
@pytest.mark.parametrize("crashes", [0, 2])
async def test_what_waits_in_all_partitions_is_one_step(
    tmp_path: Path, ledger: Any, bad: int | None, crashes: int
) -> None:
    """A sink with `write_all` gets one call for a poll; each record is stored once, or is a dead letter, once."""
    Wide.calls, Wide.bad, ledger.crashes = [], bad, crashes
    ran = await run_async(WIDE % ("wide", ""), [numbers, Wide], data_dir=tmp_path)
    assert sorted(ledger.rows) == [("a", n) for n in range(10) if n != bad]
    assert [(x.step, x.reason) for x in ran.dead_letters] == ([] if bad is None else [("write", "bad")])
    assert Wide.calls[0] > 1
    assert sum(ledger.offsets.values()) == 10
    if bad is None:
        assert len(Wide.calls) == 1
    broker = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    assert sum((await broker.offsets("t.s")).values()) == 10
    await broker.close()


async def test_replay_does_not_move_a_sinks_own_offsets(tmp_path: Path, ledger: Any) -> None:
    """Replayed records count in their own topic, so the offset of the original one stays."""
    ran = await go(ledger, tmp_path)
    broker = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    unit = broker.begin()
    headers = (("streamweaver.topic", b"a"), ("streamweaver.offset", b"4"))
    other = (("streamweaver.topic", b"nowhere"),)
    values = [b'{"n":100}', b'{"n":101}', b'{"n":102}']
    unit.append("t.s.replay", 0, Rows([None] * 3, list(values), [1] * 3, [headers, other, headers]))
    await unit.commit()
    await broker.close()
    ran = await go(ledger, tmp_path)
    assert ledger.rows[10:] == [("t.s.replay", 100), ("t.s.replay", 102)]
    assert ledger.offsets == {("a", 0): 10, ("t.s.replay", 0): 3}
    assert [x.topic for x in ran.dead_letters] == ["nowhere"]


async def test_a_live_view_sees_the_original_topic_of_a_replayed_record(tmp_path: Path) -> None:
    """Its channel is that of the record."""
    seen: list[Any] = []

    @sink(delivery="best_effort")
    def view(batch: Batch) -> None:
        seen.extend((batch.topic, r.value["n"]) for r in batch)
        if seen[-1][1] == 9 and batch.topic == "a" and not fixed:
            raise BadRecord(len(batch) - 1, "nine")

    fixed = False
    ran = await go(view, tmp_path)
    letter = ran.dead_letters[0]
    broker = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    unit = broker.begin()
    unit.append("t.s.replay", 0, Rows([letter.key], [letter.value], [1], [replay_headers(letter)]))
    await unit.commit()
    await broker.close()
    seen.clear()
    fixed = True
    await go(view, tmp_path)
    assert seen == [("a", 9)]


async def test_dead_letters_come_once_over_a_crash(tmp_path: Path) -> None:
    """The sink refuses a record, then the stage fails before the offset is committed: one letter in the end."""
    crashes = 2

    @sink
    def shaky(record: Record) -> None:
        nonlocal crashes
        if record.value["n"] in (2, 5):
            raise ValueError("bad")
        if record.value["n"] == 7 and crashes:
            crashes -= 1
            raise Fatal("crash")

    ran = await go(shaky, tmp_path)
    assert crashes == 0
    assert [x.offset for x in ran.dead_letters] == [2, 5]
    assert ran.counts["s"]["dead_lettered"] == 2
    broker = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    assert list(broker.state_items("t.s.dead_letters", 0)) == []
    await broker.close()


async def test_dead_letters_come_once_over_a_new_process(tmp_path: Path) -> None:
    """What has been recorded is known to the next run; a record that fails only then gets its letter too."""
    broken = True

    @sink
    def shaky(record: Record) -> None:
        if record.value["n"] == 5 or (record.value["n"] == 2 and not broken):
            raise ValueError("bad")
        if record.value["n"] == 7 and broken:
            raise Fatal("crash")

    await go(shaky, tmp_path, fails=True)
    broken = False
    ran = await go(shaky, tmp_path)
    assert [x.offset for x in ran.dead_letters] == [5, 2]


async def test_offsets_of_a_live_view_are_committed_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with each batch, but at the latest when the stage ends; and state always with its offsets."""
    monkeypatch.setattr(module, "LAZY_SECONDS", 1000.0)
    commits: list[str] = []
    real = module._SinkLane._commit

    async def commit(self: Any) -> None:
        commits.append("commit")
        await real(self)

    monkeypatch.setattr(module._SinkLane, "_commit", commit)

    @sink(delivery="best_effort")
    def view(batch: Batch) -> None:
        """Show it."""

    @transform
    def remember(record: Record, context: TransformContext) -> Record:
        context.state["n"] = record.value["n"]
        return record

    ran = await go(view, tmp_path)
    assert commits == ["commit"]
    broker = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    assert (await broker.offsets("t.s"))["a", 0] == 10
    await broker.close()
    ran = await run_async(
        PIPELINE.replace("to: a}", "to: a, upto: 20}") % ("view", ", steps: [{use: remember}]"),
        [numbers, view, remember],
        data_dir=tmp_path,
    )
    broker = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    assert [value for _, value in broker.state_items("t.s.remember", 0)] == [b"\x13"]
    await broker.close()


async def test_state_beside_own_offsets_fails_the_stage(tmp_path: Path, ledger: Any) -> None:
    """The two cannot be stored together; the text says what to do."""

    @transform
    def remember(record: Record, context: TransformContext) -> Record:
        context.state["n"] = 1
        return record

    ran = await go(ledger, tmp_path, ", steps: [{use: remember}]", [remember], fails=True)
    assert ran.summary.error is not None
    assert "a step of this sink keeps state, which cannot be stored with the sink's own offset; use a flow" in (
        ran.summary.error
    )


async def test_a_sink_gets_its_history_and_a_folder(tmp_path: Path) -> None:
    """The newest records of a topic, oldest first, over all partitions; a folder of its own."""
    found: dict[str, Any] = {}

    @sink("view", delivery="best_effort")
    @attrs.define
    class View:
        """Looks back."""

        async def open(self, context: SinkContext) -> None:
            found["topics"] = list(context.topics)
            found["folder"] = context.data_dir.is_dir()
            found["history"] = [r.value["n"] for r in await context.history("a", 4)]
            found["none"] = await context.history("a", 0)

        def write(self, batch: Batch) -> None:
            """Show it."""

    await go(View, tmp_path)
    assert found["history"] == []
    await go(View, tmp_path)
    assert found == {"topics": ["a"], "folder": True, "history": [6, 7, 8, 9], "none": []}


async def test_a_topic_that_is_made_anew_while_its_history_is_read_ends_there(tmp_path: Path) -> None:
    """The sink opens with what there is; it does not wait for records that never come again."""
    pipeline = "name: t\ntopics: {a: {external: true}}\nsinks: {s: {use: console, from: a}}\n"
    scope = scope_of(pipeline, "s", [], tmp_path)
    await scope.broker.open(BrokerContext(pipeline="t", data_dir=tmp_path))
    await scope.broker.create([attrs.evolve(scope.plan.topics["a"].spec)])
    await append(scope.broker, "a", 0, Rows([None], [b"1"], [1]))
    remade: Any = Slow(scope.broker, 1_000, shrinks=True, whole=2)
    assert await asyncio.wait_for(module._newest(attrs.evolve(scope, broker=remade), "a", 5), 10) == []
    await scope.broker.close()


async def test_a_stop_does_not_cut_off_the_commit_of_a_dead_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage waits for it before it gives its lane back, and the next run records the letter no second time."""
    events: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()
    commit, release = Unit.commit, GroupLane.release

    async def slow(self: Unit) -> None:
        if not events and self._lane is not None and self._lane.group == "t.s":
            events.append("begun")
            begun.set()
            await go_on.wait()
            events.append("stored")
        await commit(self)

    async def noted(self: GroupLane) -> None:
        if self.group == "t.s":
            events.append("released")
        await release(self)

    monkeypatch.setattr(Unit, "commit", slow)
    monkeypatch.setattr(GroupLane, "release", noted)

    @sink
    def picky(record: Record) -> None:
        if record.value["n"] == 3:
            raise ValueError("bad")

    async def abort(engine: Engine) -> None:
        await asyncio.wait_for(begun.wait(), 10)
        engine.abort()
        asyncio.get_running_loop().call_later(0.1, go_on.set)

    stopped = await go(picky, tmp_path, during=abort, fails=True)
    assert events == ["begun", "stored", "released"]
    assert [letter.offset for letter in stopped.dead_letters] == [3]
    again = await go(picky, tmp_path)
    assert [letter.offset for letter in again.dead_letters] == [3]


async def test_what_is_no_sink_is_refused(tmp_path: Path) -> None:
    """The stage fails with what is missing."""

    @sink("odd")
    @attrs.define
    class Odd:
        """Has no verb."""

    ran = await go(Odd, tmp_path, fails=True)
    assert ran.summary.error == "stage s: Odd has neither write nor write_record (after 3 restarts)"


async def test_a_stop_loses_nothing(tmp_path: Path) -> None:
    """What was on its way when the pipeline was told to stop at once is written by the next run."""
    written: list[int] = []
    waiting = asyncio.Event()
    hold = True

    @sink
    async def store(batch: Batch) -> None:
        if hold:
            waiting.set()
            await asyncio.Event().wait()
        written.extend(r.value["n"] for r in batch)

    async def abort(engine: Engine) -> None:
        await asyncio.wait_for(waiting.wait(), 10)
        engine.abort()

    ran = await go(store, tmp_path, during=abort)
    assert not ran.summary.drained
    assert ran.counts["s"]["in_flight"] == 0
    hold = False
    await go(store, tmp_path)
    assert written == list(range(10))


async def test_a_sink_that_is_cancelled_from_inside_is_not_stopped(tmp_path: Path) -> None:
    """What it could not write are dead letters; the stage goes on and the run comes to its end."""
    written: list[int] = []

    @sink
    async def pooled(batch: Batch) -> None:
        if any(record.value["n"] == 3 for record in batch):
            raise asyncio.CancelledError
        written.extend(record.value["n"] for record in batch)

    ran = await go(pooled, tmp_path)
    assert written == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert [letter.offset for letter in ran.dead_letters] == [3]


async def test_a_blocking_sink_lives_in_one_thread(tmp_path: Path) -> None:
    """What it opens may belong to a thread, as a connection of sqlite3 does; the event loop waits for none of it."""
    path = tmp_path / "rows.db"

    @sink("table", blocking=True, delivery="exactly_once")
    @attrs.define(eq=False)
    class Table:
        """Keeps rows and offsets in one transaction."""

        _db: Any = attrs.field(default=None, init=False)

        def open(self, _context: SinkContext) -> None:
            assert threading.current_thread() is not threading.main_thread()
            self._db = sqlite3.connect(path)
            self._db.execute("CREATE TABLE IF NOT EXISTS rows (n)")
            self._db.execute("CREATE TABLE IF NOT EXISTS place (topic, partition, offset, UNIQUE (topic, partition))")

        def committed(self, topic: str, partition: int) -> int | None:
            asked = "SELECT offset FROM place WHERE topic = ? AND partition = ?"
            row = self._db.execute(asked, (topic, partition)).fetchone()
            return row[0] if row else None

        def write(self, batch: Batch) -> None:
            with self._db:
                self._db.executemany("INSERT INTO rows VALUES (?)", [(record.value["n"],) for record in batch])
                place = (batch.topic, batch.partition, batch.last_offset + 1)
                self._db.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?)", place)

        def close(self) -> None:
            self._db.close()

    for upto in (4, 9):
        text = PIPELINE.replace("numbers,", f"numbers, upto: {upto},") % ("table", "")
        ran = await run_async(text, [numbers, Table], data_dir=tmp_path)
        assert [line for line in ran.log if line.level == "error"] == []
    assert [n for (n,) in sqlite3.connect(path).execute("SELECT n FROM rows")] == list(range(9))


async def test_a_sink_ahead_of_its_topic_passes_over_nothing(tmp_path: Path) -> None:
    """A log that was made anew beside a sink that was not is an error with both offsets; it loses no record."""

    @sink("outside", delivery="exactly_once")
    @attrs.define
    class Outside:
        """Has stored a hundred records of an earlier log."""

        def committed(self, topic: str, partition: int) -> int | None:
            return 100 if topic == "a" else None

        def write(self, batch: Batch) -> None:
            raise AssertionError("written")

    ran = await go(Outside, tmp_path, fails=True)
    assert "topic a, partition 0, up to offset 100, but it ended at" in (ran.summary.error or "")
    broker: Any = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path))
    assert ("a", 0) not in await broker.offsets("t.s")
    await broker.close()


async def test_a_sink_that_is_newer_than_a_restored_log_is_refused_for_good(tmp_path: Path) -> None:
    """Also when the topic has come up to the sink's offset meanwhile: nothing is passed over in silence."""
    rows: list[int] = []

    @sink("kept", delivery="exactly_once")
    @attrs.define
    class Kept:
        """Keeps its offset with its rows."""

        def committed(self, topic: str, partition: int) -> int | None:
            return len(rows) if topic == "a" and rows else None

        def write(self, batch: Batch) -> None:
            rows.extend(record.value["n"] for record in batch)

    async def run(upto: int, **options: Any) -> Ran:
        text = PIPELINE.replace("numbers,", f"numbers, upto: {upto},") % ("kept", "")
        return await run_async(text, [numbers, Kept], data_dir=tmp_path, **options)

    await run(4)
    backup = (tmp_path / "log.sqlite").read_bytes()
    await run(9)
    (tmp_path / "log.sqlite").write_bytes(backup)
    # Without the sink nobody notices, and the topic gets longer than it was.
    await run(30, only=["p"])
    for _ in range(2):
        ran = await run(40, fails=True)
        assert "topic a, partition 0, up to offset 9, but it ended at 4 when the run began" in (ran.summary.error or "")
        assert ran.counts["s"]["restarts"] == 0
    assert rows == list(range(9))
    # The sink as it was when the log was backed up.
    rows[:] = range(4)
    await run(40)
    assert rows == list(range(40))


async def test_a_blocking_sink_is_closed_after_the_call_under_way(tmp_path: Path) -> None:
    """Also when the stage is stopped at once: the two never run beside each other."""
    events: list[str] = []
    writing, go_on = threading.Event(), threading.Event()

    @sink("slow", blocking=True)
    @attrs.define(eq=False)
    class Slow:
        """Takes its time."""

        def write(self, batch: Batch) -> None:
            writing.set()
            go_on.wait(10)
            events.append("written")

        def close(self) -> None:
            events.append("closed")

    async def stop(engine: Engine) -> None:
        await asyncio.to_thread(writing.wait, 10)
        engine.abort()
        asyncio.get_running_loop().call_later(0.05, go_on.set)

    await go(Slow, tmp_path, during=stop)
    assert events == ["written", "closed"]
