"""count_by: windows, late records, the clock, restarts, and agreement with a plain count."""

import json
from collections import defaultdict
from math import fsum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import BadRecord, Batch, Record
from streamweaver.testing import FakeClock, FakeContext
from streamweaver_transforms._time import iso
from streamweaver_transforms.count_by import CountBy

T = 1_750_000_020_000  # a full minute


def line(level: Any, seconds: float, **fields: Any) -> Record:
    return Record({"level": level, **fields}, timestamp=T + round(seconds * 1000))


def rows(records: list[Record]) -> list[tuple[int, Any, int]]:
    """Window (in seconds after T), key, count."""
    return [((r.timestamp or 0) // 60_000 * 60 - T // 1000, r.key, r.value["count"]) for r in records]


@pytest.fixture
def context() -> FakeContext:
    return FakeContext(clock=FakeClock(T + 3_600_000))


def test_a_window_closes_after_its_grace(context: FakeContext) -> None:
    """Nothing comes out before a record is a grace past the end; then one record a key, sorted."""
    step = CountBy(by="level", grace_seconds=5)
    early = [line("warn", 0), line("info", 1), line("info", 59.999), line("info", 60), line("info", 64.999)]
    assert step.process(Batch(early), context) == []
    out = step.process(Batch([line("info", 65)]), context)
    ends = {"window_start": iso(T), "window_end": iso(T + 60_000)}
    assert [record.value for record in out] == [
        ends | {"level": "info", "count": 2},
        ends | {"level": "warn", "count": 1},
    ]
    assert [record.key for record in out] == ["info", "warn"]
    assert {record.timestamp for record in out} == {T + 59_999}


def test_late_records_are_counted_and_dropped(context: FakeContext) -> None:
    """A record for a closed window changes nothing; one within the grace still counts."""
    step = CountBy(by="level", grace_seconds=5)
    step.process(Batch([line("info", 1), line("info", 64), line("info", 59)]), context)
    assert context.counts == {}
    assert rows(step.process(Batch([line("info", 65), line("info", 2)]), context)) == [(0, "info", 2)]
    assert step.process(Batch([line("info", -60)]), context) == []
    assert context.counts == {"late": 2}
    assert rows(step.process(Batch([line("info", 125)]), context)) == [(60, "info", 2)]


def test_the_clock_closes_windows_of_a_quiet_partition(context: FakeContext) -> None:
    """When records stop, a tick closes what is over by the clock, and only that."""
    context.clock.now_ms = T
    step = CountBy(by="level", grace_seconds=5)
    step.process(Batch([line("info", 1), line("info", 61)]), context)
    context.clock.advance(64.999)
    assert list(step.tick(context)) == []
    context.clock.advance(0.001)
    assert rows(step.tick(context)) == [(0, "info", 1)]
    assert step.tick(context) == []
    context.clock.advance(60)
    assert rows(step.tick(context)) == [(60, "info", 1)]
    step.process(Batch([line("info", 5)]), context)
    assert context.counts == {"late": 1}


def test_the_clock_does_not_close_while_records_come(context: FakeContext) -> None:
    """A replay of old records is not cut off by ticks: these wait until the partition is quiet."""
    step = CountBy(by="level", grace_seconds=5)
    out: list[Record] = []
    for second in range(0, 50, 2):
        out += step.process(Batch([line("info", second)]), context)
        context.clock.advance(4)
        out += step.tick(context)
    assert out == []
    context.clock.advance(1)
    assert rows(step.tick(context)) == [(0, "info", 25)]
    assert context.counts == {}


def test_quiet_lasts_a_second_at_least(context: FakeContext) -> None:
    """Without a grace too, the clock closes nothing in the second after a record."""
    step = CountBy(by="level", grace_seconds=0)
    step.process(Batch([line("info", 1)]), context)
    context.clock.advance(0.999)
    assert step.tick(context) == []
    context.clock.advance(0.001)
    assert rows(step.tick(context)) == [(0, "info", 1)]


def test_after_a_restart_the_backlog_is_read_first(context: FakeContext) -> None:
    """Quiet is counted from the start on, so that ticks do not close windows whose records still wait."""
    CountBy(by="level").process(Batch([line("info", 1)]), context)
    context.clock.advance(600)
    step = CountBy(by="level")
    step.open(context)
    assert step.tick(context) == []
    step.process(Batch([line("info", 2)]), context)
    assert rows(step.process(Batch([line("info", 65)]), context)) == [(0, "info", 2)]
    context.clock.advance(600)
    step.open(context)
    assert step.tick(context) == []
    context.clock.advance(5)
    assert rows(step.tick(context)) == [(60, "info", 1)]


def test_partitions_are_quiet_each_on_its_own(context: FakeContext) -> None:
    """Records of one partition do not keep another from being closed."""
    step = CountBy(by="level")
    step.process(Batch([line("info", 1)]), context)
    context.clock.advance(5)
    other = FakeContext(clock=context.clock, partition=1)
    step.process(Batch([line("info", 1)]), other)
    assert step.tick(other) == []
    assert rows(step.tick(context)) == [(0, "info", 1)]


def test_several_fields_sums_and_names(context: FakeContext) -> None:
    """Several (nested) fields, a sum, names of the output."""
    step = CountBy(by=["host.name", "ok"], sum="bytes", into="n", sum_into="volume", grace_seconds=0)
    records = [
        Record({"host": {"name": "a"}, "ok": True, "bytes": 5}, timestamp=T),
        Record({"host": {"name": "a"}, "ok": True, "bytes": 0.5}, timestamp=T + 1),
        Record({"host": {"name": "a"}, "ok": False, "bytes": 7}, timestamp=T + 2),
        Record({"host": {"name": "a"}, "ok": False, "bytes": 1}, timestamp=T + 60_000),
    ]
    out = step.process(Batch(records), context)
    assert [record.value for record in out] == [
        {
            "window_start": iso(T),
            "window_end": iso(T + 60_000),
            "host": {"name": "a"},
            "ok": ok,
            "n": n,
            "volume": volume,
        }
        for ok, n, volume in [(False, 1, 7), (True, 2, 5.5)]
    ]
    assert [record.key for record in out] == ['["a",false]', '["a",true]']
    assert [type(record.value["volume"]) for record in out] == [int, float]


def test_kinds_of_keys_stay_apart(context: FakeContext) -> None:
    """1, true and "1" are three keys."""
    step = CountBy(by="level", grace_seconds=0)
    out = step.process(Batch([line(level, 0) for level in (1, True, "1", 1)] + [line("x", 60)]), context)
    assert [(record.key, record.value["level"], record.value["count"]) for record in out] == [
        ("1", "1", 1),
        ("1", 1, 2),
        ("true", True, 1),
    ]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (Record({"n": 1}, timestamp=T), "level: missing; the value has n"),
        (Record({"level": None, "n": 1}, timestamp=T), "level: got null, expected text, a whole number, true or false"),
        (Record({"level": 1.5, "n": 1}, timestamp=T), "level: got 1.5"),
        (Record({"level": ["a"], "n": 1}, timestamp=T), 'level: got ["a"]'),
        (Record({"level": "a", "n": "1"}, timestamp=T), 'n: got "1", expected a finite number'),
        (Record({"level": "a", "n": True}, timestamp=T), "n: got true, expected a finite number"),
        (Record("text", timestamp=T), 'level: the value is "text", expected a mapping'),
        (Record({"level": "a", "n": 1}, timestamp=T + 4_000_000), "which is 400 s ahead of the clock"),
    ],
)
def test_bad_records(context: FakeContext, bad: Record, text: str) -> None:
    """A record that cannot be counted, or would close every window, is blamed by its index."""
    with pytest.raises(BadRecord) as raised:
        CountBy(by="level", sum="n").process(Batch([line("a", 1, n=1), bad]), context)
    assert raised.value.index == 1
    assert text in str(raised.value)


def test_no_timestamp_is_now(context: FakeContext) -> None:
    """A record without a timestamp counts at the current time."""
    context.clock.now_ms = T
    step = CountBy(by="level", grace_seconds=0)
    step.process(Batch([Record({"level": "a"})]), context)
    assert rows(step.process(Batch([line("a", 60)]), context)) == [(0, "a", 1)]


def test_state_is_one_value_a_window(context: FakeContext) -> None:
    """However many records come, the state has one value for each open window, and none for a closed one."""
    step = CountBy(by="level", grace_seconds=0)
    step.process(Batch([line("a", i % 50) for i in range(500)]), context)
    assert context.state.values == {T: {'["a"]': [500, 0, []]}, "open": [T], "closed": T}
    step.process(Batch([line("a", 60)]), context)
    assert set(context.state.values) == {T + 60_000, "open", "closed"}


def test_mistakes_in_the_options() -> None:
    """Options that cannot work are refused when the plugin is made."""
    with pytest.raises(ValueError, match="got no fields"):
        CountBy(by=[])
    with pytest.raises(ValueError, match="expected different names"):
        CountBy(by="count")
    with pytest.raises(ValueError, match="expected names joined by single dots"):
        CountBy(by=["a", "b."])


events = st.tuples(
    st.sampled_from(["a", "b", 7]),
    st.integers(-20_000, 20_000),
    st.one_of(st.integers(-(2**60), 2**60), st.floats(-1e9, 1e9)),
)


@given(
    steps=st.lists(st.tuples(events, st.booleans()), min_size=1, max_size=60),
    span=st.sampled_from([0.5, 1.0, 7.0]),
    grace=st.sampled_from([0.0, 0.7, 5.0]),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=20),
)
def test_equals_a_plain_count(run: Any, steps: Any, span: float, grace: float, sizes: list[int]) -> None:
    """Counts, sums and late records equal a plain count, however batches are cut, with bad records and restarts."""
    context = FakeContext(clock=FakeClock(T + 3_600_000))
    records, wanted = [], defaultdict(list)
    newest, late, bad = None, 0, 0
    length, wait = round(span * 1000), round(grace * 1000)
    time = T
    for (key, move, number), broken in steps:
        time += move // 4
        records.append(Record({"k": "x" if broken else key, "n": None if broken else number}, timestamp=time))
        if broken:
            bad += 1
            continue
        start = time // length * length
        if newest is not None and start + length <= newest - wait:
            late += 1
            continue
        newest = time if newest is None else max(newest, time)
        wanted[start, json.dumps([key])].append(number)
    records.append(Record({"k": "end", "n": 0}, timestamp=T + 3_600_000))
    out, errors = run(lambda: CountBy(by="k", sum="n", span_seconds=span, grace_seconds=grace), records, context, sizes)
    got = [(record.timestamp + 1 - length, json.dumps([record.value["k"]]), record) for record in out]
    assert [(start, key) for start, key, _ in got] == sorted(wanted)
    for start, key, record in got:
        assert record.value["count"] == len(wanted[start, key])
        assert record.value["sum"] == fsum(wanted[start, key])
    assert len(errors) == bad
    assert context.counts.get("late", 0) == late
