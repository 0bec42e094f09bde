"""A flow on the embedded log: exactly once over restarts, dead letters, replay, lost records, ticks."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import (
    Batch,
    BrokerContext,
    Fatal,
    ProducerContext,
    Record,
    Rows,
    TransformContext,
    option,
    producer,
    transform,
)
from streamweaver.errors import RunError
from streamweaver.runtime import flow as module
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.dead_letter import replay_headers
from streamweaver.runtime.edit import parse_edit
from streamweaver.runtime.engine import Engine
from streamweaver.runtime.letter_box import Filter, LetterBox
from streamweaver.testing.harness import Ran, plan_of, run_async, stored


@producer(resumes=True)
def numbers(context: ProducerContext, *, upto: int = 10) -> Iterable[Record]:
    """Count."""
    for n in range(context.position or 0, upto):
        yield Record({"n": n, "key": f"k{n % 3}"}, headers=(("h", b"%d" % n),), timestamp=1000 + n, position=n + 1)


@transform("running_sum", groups_by="by")
@attrs.define
class RunningSum:
    """Sum by key; refuses what `bad` names."""

    by: str = option(default="key", help="field")
    bad: list[int] = option(factory=list, help="values refused")

    def process(self, batch: Batch, context: TransformContext) -> Iterable[Record]:
        for record in batch:
            total = context.state.get(record.value["key"], 0) + record.value["n"]
            context.state[record.value["key"]] = total
            record.value["sum"] = total
            if record.value["n"] in self.bad:
                raise ValueError(f"refused {record.value['n']}")
        return batch


PIPELINE = """
name: t
delivery: exactly_once
topics:
  a: {partitions: 3}
producers:
  p: {use: numbers, to: a, key: key, upto: %d}
flows:
  f:
    from: a
    steps: [{use: running_sum, bad: %s}]
    to: b
    %s
"""


def sums(upto: int, bad: Iterable[int] = ()) -> dict[int, int]:
    """What the running sums have to be."""
    totals: dict[int, int] = {}
    found = {}
    for n in range(upto):
        if n not in bad:
            found[n] = totals[n % 3] = totals.get(n % 3, 0) + n
    return found


async def go(tmp_path: Path, upto: int, bad: list[int] = [], more: str = "", **options: Any) -> Ran:  # noqa: B006
    return await run_async(PIPELINE % (upto, bad, more), [numbers, RunningSum], data_dir=tmp_path, **options)


async def test_state_and_output_go_on_after_a_restart(tmp_path: Path) -> None:
    """Each record counts once in the sums, and comes out once, however often the pipeline is started."""
    for upto in (10, 10, 25, 60):
        ran = await go(tmp_path, upto)
    found = {value["n"]: value["sum"] for value in ran.values("b")}
    assert len(ran.values("b")) == 60
    assert found == sums(60)
    assert ran.counts["f"]["in"] == 35


async def test_exactly_once_when_the_stage_fails_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that fails takes back output, state and offsets together; the stage starts again and goes on."""
    from streamweaver.runtime.lane_work import LaneWork

    failures = iter([True, False, True] + [False] * 1000)
    real = LaneWork.put_state

    def put_state(self: Any, unit: Any) -> bool:
        done = real(self, unit)
        if self.tally.received and next(failures):
            raise OSError("disk gone for a moment")
        return done

    monkeypatch.setattr(LaneWork, "put_state", put_state)
    ran = await go(tmp_path, 40, more="restart: {initial: 1ms, longest: 1ms}")
    assert {value["n"]: value["sum"] for value in ran.values("b")} == sums(40)
    assert len(ran.values("b")) == 40
    assert ran.counts["f"]["restarts"] >= 1
    assert ran.counts["f"]["in"] == 40


async def test_a_dead_letter_tells_everything(tmp_path: Path) -> None:
    """Key, value and headers byte for byte, where it came from, which step, why, how often it was tried."""
    ran = await go(tmp_path, 10, [4, 7])
    assert {value["n"]: value["sum"] for value in ran.values("b")} == sums(10, [4, 7])
    letters = ran.dead_letters
    assert [(x.stage, x.step, x.error, x.reason, x.tries) for x in letters] == [
        ("f", "running_sum", "ValueError", f"refused {n}", 1) for n in (4, 7)
    ]
    for letter, n in zip(letters, (4, 7), strict=True):
        original = next(
            (rows.partition, rows.offsets[i])
            for rows in ran.rows["a"]
            for i in range(len(rows))
            if rows.values[i] == letter.value
        )
        assert letter.value == b'{"n":%d,"key":"k1"}' % n
        assert (letter.key, letter.headers, letter.timestamp) == (b"k1", (("h", b"%d" % n),), 1000 + n)
        assert (letter.topic, letter.partition, letter.offset) == ("a", *original)
        assert letter.failed_at > 1_700_000_000_000
    assert ran.counts["f"]["dead_lettered"] == 2


async def test_skip_counts_and_goes_on(tmp_path: Path) -> None:
    """Skipped records are logged, leave no dead letter, and no trace in the state."""
    ran = await go(tmp_path, 10, [4], "on_error: skip")
    assert {value["n"]: value["sum"] for value in ran.values("b")} == sums(10, [4])
    assert ran.dead_letters == []
    assert ran.counts["f"]["skipped"] == 1
    assert [line.fields["reason"] for line in ran.log if line.event == "record skipped"] == ["refused 4"]


async def test_stop_stops_at_the_record(tmp_path: Path) -> None:
    """The pipeline fails, naming the record; nothing of its unit is kept, and it is not started again."""
    ran = await go(tmp_path, 10, [4], "on_error: stop", fails=True)
    assert ran.summary.error is not None
    assert "stage f: running_sum failed on a[" in ran.summary.error
    assert ran.summary.error.endswith("refused 4; on_error is stop")
    assert not ran.summary.drained
    ran = await go(tmp_path, 10, [])
    assert {value["n"]: value["sum"] for value in ran.values("b")} == sums(10)
    with pytest.raises(RunError, match="on_error is stop"):
        await go(tmp_path, 30, [20], "on_error: stop")


async def test_replayed_dead_letters_are_processed_as_their_topic(tmp_path: Path) -> None:
    """A fixed one goes through with its state; one that fails again is a dead letter of its first place."""
    ran = await go(tmp_path, 10, [4, 7])
    plan = ran.plan
    broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    unit = broker.begin()
    for letter in ran.dead_letters:
        rows = Rows([letter.key], [letter.value], [letter.timestamp], [replay_headers(letter)])
        unit.append(plan.replay("f"), letter.partition, rows)
    await unit.commit()
    await broker.close()
    again = await go(tmp_path, 10, [7])
    assert [value["n"] for value in again.values("b") if value["n"] in (4, 7)] == [4]
    replayed = next(record for record in again.records("b") if record.value["n"] == 4)
    assert replayed.headers == (("h", b"4"),)
    assert replayed.value["sum"] == 1 + 4
    first, second = [x for x in again.dead_letters if b'"n":7' in (x.value or b"")]
    assert attrs.evolve(second, failed_at=0) == attrs.evolve(first, failed_at=0)


async def test_a_replayed_record_of_an_unknown_topic_is_a_dead_letter(tmp_path: Path) -> None:
    """The pipeline goes on; it may have been changed since the record failed."""
    ran = await go(tmp_path, 3)
    broker = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    unit = broker.begin()
    headers = (("streamweaver.topic", b"gone"), ("streamweaver.offset", b"12"))
    unit.append(ran.plan.replay("f"), 0, Rows([None, None], [b"1", b"2"], [1, 2], [headers, ()]))
    await unit.commit()
    await broker.close()
    ran = await go(tmp_path, 3)
    assert [(x.step, x.topic, x.offset, x.reason) for x in ran.dead_letters] == [
        ("decode", "gone", 12, "replayed from topic 'gone', which the pipeline does not have"),
        ("decode", "t.f.replay", 1, "replayed from topic 't.f.replay', which the pipeline does not have"),
    ]


async def test_undecodable_records_are_dead_letters_beside_the_others(tmp_path: Path) -> None:
    """In the order of their offsets, each with its bytes."""
    plan = plan_of(PIPELINE % (0, [], ""), [numbers, RunningSum])
    broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path))
    await broker.create([topic.spec for topic in plan.topics.values()])
    unit = broker.begin()
    values = [b"{", b'{"n":1,"key":"x"}', b"\xff", b'{"n":2}']
    unit.append("a", 0, Rows([None] * 4, list(values), [1] * 4))
    await unit.commit()
    await broker.close()
    ran = await go(tmp_path, 0)
    assert [(x.offset, x.step, x.value) for x in ran.dead_letters] == [
        (0, "decode", values[0]),
        (2, "decode", values[2]),
        (3, "running_sum", values[3]),
    ]
    assert ran.values("b") == [{"n": 1, "key": "x", "sum": 1}]


async def test_what_a_flow_cannot_write_is_a_dead_letter(tmp_path: Path) -> None:
    """A value, key, time or header that cannot be stored costs its record and nothing else."""

    @transform
    def spoil(record: Record) -> Record:
        match record.value["n"]:
            case 1:
                record.value["x"] = object()
            case 2:
                record.value["key"] = [1]
            case 3:
                record.timestamp = "now"  # type: ignore[assignment]
            case 4:
                record.headers = (("a", "b"),)  # type: ignore[assignment]
            case 5:
                del record.value["key"]
            case 6:
                record.timestamp = 1 << 70
            case 7:
                record.value["key"] = None
        return record

    ran = await run_async(
        """
name: t
topics: {b: {partitions: 2}}
producers:
  p: {use: numbers, to: a}
flows:
  f: {from: a, steps: [{use: spoil}], to: b, key: key}
""",
        [numbers, spoil],
        data_dir=tmp_path,
    )
    assert sorted(value["n"] for value in ran.values("b")) == [0, 8, 9]
    assert [(x.offset, x.step, x.reason) for x in ran.dead_letters] == [
        (1, "encode", "Encoding objects of type object is unsupported"),
        (2, "encode", "key: got list, expected text, bytes or a number"),
        (3, "encode", "timestamp: got str, expected int (milliseconds since 1970)"),
        (4, "encode", "headers: got (('a', 'b'),), expected pairs of str and bytes"),
        (5, "encode", "key: the record has no field 'key'"),
        (6, "encode", "timestamp: got 1180591620717411303424, expected milliseconds since 1970"),
        (7, "encode", "key: field 'key' is null"),
    ]


async def test_ticks_bring_out_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that acts on time is called without input, once a partition, and its state is kept."""
    monkeypatch.setattr(module, "TICK_SECONDS", 0.01)
    ticked = asyncio.Event()

    @transform("late")
    @attrs.define
    class Late:
        """Hold everything back until the second tick."""

        def process(self, batch: Batch, context: TransformContext) -> Iterable[Record]:
            context.state["held"] = context.state.get("held", 0) + len(batch)
            return []

        def tick(self, context: TransformContext) -> Iterable[Record]:
            held = context.state.get("held", 0)
            if not held:
                return []
            context.state["held"] = 0
            ticked.set()
            return [Record({"held": held, "partition": context.partition, "topic": context.topic})]

    async def wait(engine: Engine) -> None:
        await asyncio.wait_for(ticked.wait(), 10)

    ran = await run_async(
        """
name: t
topics: {a: {partitions: 1}}
producers:
  p: {use: numbers, to: a}
flows:
  f: {from: a, steps: [{use: late}], to: b}
""",
        [numbers, Late],
        data_dir=tmp_path,
        until_idle=False,
        duration_seconds=0.3,
        during=wait,
    )
    assert sum(value["held"] for value in ran.values("b")) == 10
    assert {(value["topic"], value["partition"]) for value in ran.values("b")} == {("a", 0)}
    assert ran.counts["f"]["added"] == ran.counts["f"]["out"] == len(ran.values("b"))


async def test_what_a_tick_makes_without_a_key_stays_in_the_partition_that_ticked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes to the partition of that number, whichever was read last."""
    monkeypatch.setattr(module, "TICK_SECONDS", 0.01)
    ticked: set[int] = set()
    every = asyncio.Event()

    @transform("homing")
    @attrs.define
    class Homing:
        """Make one record a partition, as time passes."""

        def process(self, batch: Batch, context: TransformContext) -> Iterable[Record]:
            return []

        def tick(self, context: TransformContext) -> Iterable[Record]:
            if context.partition in ticked:
                return []
            ticked.add(context.partition)
            if len(ticked) == 3:
                every.set()
            return [Record(context.partition)]

    async def wait(engine: Engine) -> None:
        await asyncio.wait_for(every.wait(), 10)
        engine.stop()

    text = """
name: t
topics: {a: {partitions: 3}, b: {partitions: 3}}
producers:
  p: {use: numbers, to: a}
flows:
  f: {from: a, steps: [{use: homing}], to: b}
"""
    ran = await run_async(text, [numbers, Homing], data_dir=tmp_path, until_idle=False, during=wait)
    found = {rows.partition: rows.values for rows in (await stored(ran.plan, tmp_path))["b"] if rows.values}
    assert found == {0: [b"0"], 1: [b"1"], 2: [b"2"]}


async def test_a_record_that_a_tick_makes_and_nothing_can_encode_is_a_dead_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbours are stored, the stage goes on, and the letter's replay goes where the record was meant to go."""
    monkeypatch.setattr(module, "TICK_SECONDS", 0.01)
    ticked = asyncio.Event()

    @transform("careless")
    @attrs.define
    class Careless:
        """Make two records once, one of them without the key."""

        def process(self, batch: Batch, context: TransformContext) -> Iterable[Record]:
            return []

        def tick(self, context: TransformContext) -> Iterable[Record]:
            if ticked.is_set():
                return []
            ticked.set()
            return [Record({"other": 1}), Record({"key": "k"})]

    async def wait(engine: Engine) -> None:
        await asyncio.wait_for(ticked.wait(), 10)

    text = """
name: t
producers:
  p: {use: numbers, to: a}
flows:
  f: {from: a, steps: [{use: careless}], to: b, key: key}
"""
    ran = await run_async(
        text, [numbers, Careless], data_dir=tmp_path, until_idle=False, duration_seconds=0.3, during=wait
    )
    assert ran.values("b") == [{"key": "k"}]
    (letter,) = ran.dead_letters
    assert (letter.step, letter.topic, letter.offset, letter.value) == ("encode", "b", -1, b'{"other":1}')
    assert letter.reason == "key: the record has no field 'key'"
    counts = ran.counts["f"]
    assert (counts["added"], counts["out"], counts["dead_lettered"], counts["restarts"]) == (2, 1, 1, 0)
    broker: Any = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    outcome = await LetterBox(ran.plan, broker, SystemClock()).replay(Filter(), [parse_edit("key=k2")])
    await broker.close()
    assert (len(outcome.done), outcome.refused) == (1, {})
    assert [value for rows in (await stored(ran.plan, tmp_path))["b"] for value in rows.values][-1] == (
        b'{"other":1,"key":"k2"}'
    )


async def test_lost_records_are_counted_and_logged(tmp_path: Path) -> None:
    """What retention took before the flow read it is told, not passed over; counted once, however often it starts."""
    await go(tmp_path, 10)
    plan = plan_of(PIPELINE % (10, [], ""), [numbers, RunningSum])
    broker: Any = plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path))
    specs = [attrs.evolve(topic.spec, retention_ms=1) for topic in plan.topics.values()]
    await broker.create(specs)
    unit = broker.begin()
    unit.append("a", 0, Rows([b"k"] * 5, [b'{"n":1,"key":"old"}'] * 5, [1000] * 5))
    await unit.commit()
    before = await broker.ranges("a")
    while (await broker.ranges("a"))[0].begin < before[0].end:
        await asyncio.sleep(0.01)  # age is counted by the broker's own clock
        await broker.maintain()
    unit = broker.begin()
    unit.append("a", 0, Rows([b"k"], [b'{"n":1,"key":"new"}'], [99_999_999_999_999]))
    await unit.commit()
    lost = (await broker.ranges("a"))[0].begin
    committed = (await broker.offsets("t.f")).get(("a", 0), 0)
    await broker.close()
    starts = 0

    @transform("running_sum", groups_by="by")
    def shaky(batch: Batch, *, by: str = "key", bad: list[int]) -> Iterable[Record]:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise Fatal("down")
        return batch

    text = PIPELINE % (10, [], "restart: {initial: 1ms}")
    ran = await run_async(text, [numbers, shaky], data_dir=tmp_path)
    assert lost > committed
    assert (ran.counts["f"]["restarts"], ran.counts["f"]["lost"]) == (1, lost - committed)
    told = [line.fields["lost"] for line in ran.log if line.event.startswith("records lost")]
    assert told == [lost - committed] * 2
