"""Views against the same figures worked out naively, over any history of records, batches and looks."""

import math
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Batch, Record
from streamweaver.panel import PanelConfig, make_panel
from streamweaver.views import Feed, Grouped, Line, Number, Table, bars, cells, make_view, seen_of
from streamweaver.views.feed import Sample
from streamweaver.views.window import SLOTS, Window

START = 1_750_000_000_000
TICK = 100


def panel(kind, **options):
    return make_panel(PanelConfig(kind=kind, **options), "t", set())


# One step of a history: how far the clock moves, then records: (age in ms, key, part, number).
record = st.tuples(
    st.integers(-3_000, 9_000),
    st.sampled_from(["a", "b", "c", 7, True, None]),
    st.sampled_from(["x", "y"]),
    st.one_of(st.integers(-50, 50), st.just(float("nan")), st.just("text"), st.floats(-5, 5)),
)
history = st.lists(st.tuples(st.integers(0, 4_000), st.lists(record, max_size=6), st.booleans()), max_size=12)


def play(view, seen, steps):
    """Feed a history to a view; yields the clock, all records so far, and the update of each look."""
    now, past = START, []
    for pause, records, look in steps:
        now += pause
        values = [{"k": k, "p": p, "y": y} for _, k, p, y in records]
        times = [now - age for age, *_ in records]
        view.add(seen(values, times), now)
        past += [(time, value, now) for time, value in zip(times, values, strict=True)]
        yield now, past, view.take(now) if look else None


def usable(y):
    return isinstance(y, int | float) and not isinstance(y, bool) and math.isfinite(y)


def follow(held, update):
    """Apply an update of a line as a client does."""
    if update.whole:
        return dict(update.data)
    data, step = update.data, held["step"]
    made = dict(held)
    for column in ("last", "min", "mean", "max"):
        if column in held:
            keep = (data["start"] - held["start"]) // step
            made[column] = [
                (old[:keep] + new)[-held["points"] :] for old, new in zip(held[column], data[column], strict=True)
            ]
    length = (data["start"] - held["start"]) // step + (len(data[column_of(data)][0]) if data[column_of(data)] else 0)
    made["start"] = held["start"] + max(0, length - held["points"]) * step
    return made


def column_of(data):
    return next(name for name in ("last", "mean") if name in data)


# -- line -----------------------------------------------------------------------------------------


@given(history, st.sampled_from(["last", "mean", "range"]))
def test_a_client_that_follows_a_line_holds_what_a_snapshot_shows(seen, steps, show):
    """Snapshot and deltas lead to exactly the state that a fresh client gets."""
    view, held = Line(panel("line", y="y", by="k", span=5, show=show), TICK), None
    for (now, _, update), (_, _, look) in zip(play(view, seen, steps), steps, strict=True):
        if update is not None:
            assert held is not None or update.whole
            held = follow(held, update)
        if look:
            fresh = view.snapshot(now)
            for name in ("start", "step", "series", *(n for n in ("last", "min", "mean", "max") if n in fresh)):
                if held["series"]:
                    assert held[name] == fresh[name], name


@given(history)
def test_a_line_holds_last_mean_and_range_of_each_step(seen, steps):
    """Each point is worked out from just the records of its step and series."""
    views = {show: Line(panel("line", y="y", by="k", span=5, show=show), TICK) for show in ("last", "mean", "range")}
    taken = {show: list(play(view, seen, [(p, r, True) for p, r, _ in steps])) for show, view in views.items()}
    for show, looks in taken.items():
        if not looks:
            continue
        now, past, _ = looks[-1]
        data = views[show].snapshot(now)
        for row, series in enumerate(data["series"]):
            for index in range(data["points"]):
                at = data["start"] + index * data["step"]
                found = [
                    value["y"]
                    for time, value, came in past
                    if at <= time < at + data["step"]
                    and label_of(value["k"]) == series["key"]
                    and usable(value["y"])
                    and time <= came + 5_000
                ]
                if show == "last":
                    assert data["last"][row][index] == (found[-1] if found else None)
                elif found:
                    assert data["mean"][row][index] == pytest.approx(sum(found) / len(found))
                    if show == "range":
                        assert (data["min"][row][index], data["max"][row][index]) == (min(found), max(found))


def label_of(key):
    return (
        key
        if isinstance(key, str)
        else None
        if key is None
        else str(key).lower()
        if isinstance(key, bool)
        else repr(key)
    )


def test_a_line_shows_the_series_with_most_records_and_counts_the_others(seen):
    """Of five series the two with most records are shown, three are told of as hidden."""
    view = Line(panel("line", y="y", by="k", span=60, top=2), TICK)
    values = [{"k": k, "y": 1} for k, n in zip("abcde", (5, 50, 1, 40, 2), strict=True) for _ in range(n)]
    view.add(seen(values, [START] * len(values)), START)
    data = view.take(START).data
    assert [series["key"] for series in data["series"]] == ["b", "d"]
    assert data["hidden"] == 3


def test_a_series_that_overtakes_is_shown_with_its_past(seen):
    """When a series comes to have most records, a snapshot brings it with the points it had before."""
    view = Line(panel("line", y="y", by="k", span=600, top=1), TICK)
    view.add(seen([{"k": "a", "y": 1}] * 10 + [{"k": "b", "y": 2}], [START] * 11), START)
    assert [s["key"] for s in view.take(START).data["series"]] == ["a"]
    later = START + 6_000
    view.add(seen([{"k": "b", "y": 3}] * 30, [later] * 30), later)
    update = view.take(later)
    assert update.whole
    assert [s["key"] for s in update.data["series"]] == ["b"]
    assert [y for y in update.data["last"][0] if y is not None] == [2, 3]


def test_many_series_cost_no_more_than_some(seen):
    """A field with a new value in each record fills neither memory nor the frame."""
    view = Line(panel("line", y="y", by="k", span=60, top=3), TICK)
    for batch in range(40):
        now = START + batch * 200
        view.add(seen([{"k": f"k{batch}-{i}", "y": i} for i in range(500)], [now] * 500), now)
        view.take(now)
    assert len(view._series) <= 64
    assert len(view.snapshot(now)["series"]) == 3
    assert len(msgspec.json.encode(view.snapshot(now))) < 20_000


def test_an_unused_field_is_told_of(seen):
    """Records without the number or the series field are counted as unusable."""
    view = Line(panel("line", y="y", by="k", span=60), TICK)
    view.add(seen([{"k": "a"}, {"y": 1}, "text", {"k": "a", "y": 1}], [START] * 4), START)
    assert view.take(START).data["unusable"] == 3


def test_a_line_without_by_is_one_series(seen):
    """Without `by` all records make one series, named null."""
    view = Line(panel("line", y=["y", "z.w"], span=60), TICK)
    view.add(seen([{"y": 1, "z": {"w": 2}}], [START]), START)
    data = view.take(START).data
    assert data["series"] == [{"key": None, "y": "y"}, {"key": None, "y": "z.w"}]
    assert [[y for y in row if y is not None] for row in data["last"]] == [[1], [2]]


# -- bar and heatmap ------------------------------------------------------------------------------


def naive_window(past, now, span, width):
    """Return the usable records that the newest slots hold."""
    first = now // width - SLOTS + 1
    return [
        value
        for time, value, came in past
        if time // width >= max(first, came // width - SLOTS + 1) and time // width <= (came + 5_000) // width
    ]


@given(history, st.booleans())
def test_bars_are_counts_or_sums_over_the_span(seen, steps, summed):
    """Bars equal a count (or sum) of the records of the newest slots."""
    view = Grouped(panel("bar", by="k", split="p", span=6, **({"y": "y"} if summed else {})), bars)
    steps = [(pause + 200, records, True) for pause, records, _ in steps]
    for now, past, _ in play(view, seen, steps):
        data = view.snapshot(now)
        expected = Counter()
        for value in naive_window(past, now, 6_000, 200):
            if value["k"] is not None and (not summed or usable(value["y"])):
                expected[label_of(value["k"]), value["p"]] += value["y"] if summed else 1
        got = {
            (key, part): data["values"][p][k]
            for p, part in enumerate(data["parts"])
            for k, key in enumerate(data["keys"])
        }
        assert {k: v for k, v in got.items() if abs(v) > 1e-9} == pytest.approx(
            {k: v for k, v in expected.items() if abs(v) > 1e-9}
        )


@given(history)
def test_a_heatmap_holds_what_bars_hold(seen, steps):
    """Cells of the grid are the counts of both fields together."""
    view = Grouped(panel("heatmap", by="k", split="p", span=6), cells)
    for now, past, _ in play(view, seen, [(pause + 200, records, True) for pause, records, _ in steps]):
        data = view.snapshot(now)
        expected = Counter(
            (label_of(v["k"]), v["p"]) for v in naive_window(past, now, 6_000, 200) if v["k"] is not None
        )
        assert {(data["x"][x], data["y"][y]): n for x, y, n in zip(*data["cells"], strict=True)} == dict(expected)


def test_small_bars_are_told_of_together(seen):
    """What is not among the largest is in `other`, so the total is right."""
    view = Grouped(panel("bar", by="k", span=60, top=2), bars)
    values = [{"k": k} for k, n in (("a", 5), ("b", 3), ("c", 2), ("d", 1)) for _ in range(n)]
    view.add(seen(values, [START] * len(values)), START)
    assert view.take(START).data == {"keys": ["a", "b"], "parts": [None], "values": [[5, 3]], "other": 3}


def test_bars_run_out_when_records_stop(seen):
    """A span after the last record the bars are empty, and clients are told once."""
    view = Grouped(panel("bar", by="k", span=6), bars)
    view.add(seen([{"k": "a"}], [START]), START)
    assert view.take(START).data["keys"] == ["a"]
    assert view.take(START + 1_000) is None
    assert view.take(START + 7_000).data["keys"] == []
    assert view.take(START + 14_000) is None


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 40), st.sampled_from("ab")), max_size=40))
def test_a_window_forgets_exactly_the_old_slots(steps):
    """Totals are those of the newest slots, whatever the order of arrival."""
    window, now, past = Window(3_000), START, []
    for pause, age, key in steps:
        now += pause
        slot = now // window.width - age
        if slot >= window.first(now):
            window.add(slot, key, 1)
            past.append((slot, key))
        window.expire(now)
        assert window.totals == Counter(k for s, k in past if s >= window.first(now))


# -- number ---------------------------------------------------------------------------------------


@given(history, st.sampled_from(["mean", "min", "max", "sum", "count", "rate"]))
def test_a_number_is_the_figure_of_its_span(seen, steps, show):
    """The value equals the figure over just the records of the span."""
    view = Number(panel("number", y="y", show=show, span=10))
    width = 250
    for now, past, _ in play(view, seen, [(pause + 250, records, True) for pause, records, _ in steps]):
        newest = now // width
        held = [(time // width, value["y"]) for time, value, came in past if time // width <= (came + 5_000) // width]
        value = view.snapshot(now)["value"]
        if not held or newest < min(at for at, _ in held):
            assert value is None
        elif show == "rate":
            start = max(newest - 40, min(at for at, _ in held) + 1)
            records = sum(start <= at < newest for at, _ in held)
            assert value == (None if newest <= start else pytest.approx(records / ((newest - start) * width / 1000)))
        else:
            ys = [y for at, y in held if newest - 39 <= at <= newest and usable(y)]
            figures = {"sum": sum, "count": len, "min": min, "max": max, "mean": lambda ys: sum(ys) / len(ys)}
            assert value == (pytest.approx(figures[show](ys)) if ys or show in ("sum", "count") else None)


def test_a_rate_is_right_from_the_first_seconds_on(seen):
    """A stream that began two seconds ago shows its full rate, not a tenth of it."""
    view = Number(panel("number", span=60))
    for step in range(40):
        now = START + step * 100
        view.add(seen([{}] * 50, [now] * 50), now)
    assert view.take(now).data["value"] == pytest.approx(500, rel=0.01)


def test_the_last_value_stays_whatever_its_age(seen):
    """`last` shows the newest value also when the span has passed without any."""
    view = Number(panel("number", y="y", span=10))
    view.add(seen([{"y": 1}, {"y": 42.5}], [START, START + 1]), START)
    assert view.take(START).data["value"] == 42.5
    assert view.snapshot(START)["trend"] == [42.5]
    view.take(START + 3_600_000)
    assert view.snapshot(START + 3_600_000)["value"] == 42.5


def test_a_number_has_a_trend(seen):
    """The trend is the figure at each step of the past, and ends with the value."""
    view = Number(panel("number", y="y", show="max", span=1))
    for second in range(5):
        now = START + second * 1_000
        view.add(seen([{"y": second}], [now]), now)
    data = view.take(now).data
    assert data["trend"] == [0, 1, 2, 3, 4]
    assert data["trend_step"] == 1_000


# -- table ----------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(-9, 9))), max_size=6),
            st.booleans(),
        ),
        max_size=15,
    ),
    st.integers(1, 4),
)
def test_a_client_that_follows_a_table_holds_its_last_records(seen, steps, limit):
    """Upserts and removals lead to the last record of the keys that changed last."""
    view, held, naive = Table(panel("table", fields=["y"], limit=limit)), {}, {}
    for records, look in steps:
        values = [None if y is None else {"y": y} for _, y in records]
        view.add(seen(values, [START] * len(records), keys=[k.encode() for k, _ in records]), START)
        for key, y in records:
            naive.pop(key, None)
            if y is not None:
                naive[key] = y
                if len(naive) > limit:
                    del naive[next(iter(naive))]
        if not look:
            continue
        update = view.take(START)
        if update is not None:
            for key in update.data["removed"]:
                held.pop(key, None)
            held.update(zip(update.data["keys"], update.data["values"][0], strict=True))
        assert held == naive
        fresh = view.snapshot(START)
        assert dict(zip(fresh["keys"], fresh["values"][0], strict=True)) == naive


def test_a_table_learns_its_columns(seen):
    """Without `fields` the fields that come are the columns; a new one brings a snapshot."""
    view = Table(panel("table", by="k"))
    view.add(seen([{"k": "a", "y": 1}], [START]), START)
    assert view.take(START).data["columns"] == ["k", "y"]
    view.add(seen([{"k": "b", "z": [1, {"w": None}]}], [START]), START)
    update = view.take(START)
    assert update.whole
    assert update.data["columns"] == ["k", "y", "z"]
    assert update.data["values"] == [["a", "b"], [1, None], [None, '[1,{"w":null}]']]


# -- feed -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), max_size=30), st.integers(1, 20))
def test_a_sample_shows_some_and_counts_the_rest(seen, steps, rate):
    """Shown and hidden add up; never more than the rate; in order; and the newest is among them."""
    sample, now, passed, shown, hidden = Sample(rate), START, 0, [], 0
    for pause, count in steps:
        now += pause
        sample.add(seen([{}] * count, [now] * count, first=passed))
        passed += count
        records, unseen = sample.take(now)
        if records:
            assert records[-1].offset == passed - 1
        shown += [record.offset for record in records]
        hidden += unseen
    assert len(shown) + hidden == passed
    assert shown == sorted(set(shown))
    assert len(shown) <= rate + rate * (now - START) / 1000


def test_a_feed_keeps_the_newest(seen):
    """A snapshot holds the newest records that were shown, oldest first."""
    view = Feed(panel("feed", limit=3, top=100))
    view.add(seen([{"n": n} for n in range(10)], [START] * 10), START)
    view.take(START)
    assert view.snapshot(START)["records"]["offset"] == [7, 8, 9]


def test_a_feed_shows_just_its_fields_and_cuts_large_values(seen):
    """Fields that are not asked for are not sent, and a large value is cut and told of."""
    view = Feed(panel("feed", fields=["a", "b.c"], top=100))
    view.add(seen([{"a": 1, "b": {"c": 2}, "x": "y" * 9_999}, {"a": "z" * 9_999}], [START] * 2), START)
    records = view.take(START).data["records"]
    encoded = msgspec.json.decode(msgspec.json.encode(records))
    assert encoded["value"] == [{"a": 1, "b.c": 2}, None]
    assert encoded["raw"]["1"]["why"] == "large"
    assert len(encoded["raw"]["1"]["text"]) == 4_096


# -- all of them ----------------------------------------------------------------------------------

KINDS = {
    "line": {"y": "y", "by": "k"},
    "bar": {"by": "k"},
    "heatmap": {"by": "k", "split": "p"},
    "feed": {},
    "table": {},
    "number": {},
    "gauge": {"y": "y", "min": 0, "max": 1},
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_record_can_be_shown(seen, kind):
    """Values of any type, also hostile ones, are shown or counted, never an error, and can be sent."""
    view = make_view(panel(kind, **KINDS[kind]), TICK)
    hostile = [None, 1, "x", [], {"k": {}, "y": []}, {"k": "\ud800", "y": 10**400}, {"k": b"\xff", "p": object()}]
    hostile += [{"k": "<script>", "p": "\x1b[2J", "y": float("inf")}, {"k": "a" * 5_000, "p": "b", "y": True}]
    view.add(seen(hostile, [START] * len(hostile), keys=[b"\xff"] * len(hostile)), START)
    update = view.take(START)
    from streamweaver.views.column import to_json

    assert msgspec.json.decode(to_json(view.snapshot(START))) is not None
    if update is not None:
        assert isinstance(msgspec.json.decode(to_json(update.data)), dict)


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_tells_of_gaps(seen, kind):
    """Times in which records were not seen stand in the snapshot."""
    view = make_view(panel(kind, **KINDS[kind]), TICK)
    view.take(START)
    view.lost(START - 500, START, 120)
    assert view.snapshot(START)["gaps"] == [[START - 500, START, 120]]


def test_a_stages_batch_is_seen_as_it_is():
    """Keys, times and offsets of a batch stay, gaps or not; without a time it is now."""
    records = [Record({"n": 1}, key="k", timestamp=5, origin=0), Record({"n": 2}, headers=(("h", b"1"),), origin=1)]
    whole = seen_of(Batch(records, "t", 3, 10, 11), START)
    assert (whole.topic, whole.partition, list(whole.offsets)) == ("t", 3, [10, 11])
    assert (list(whole.times), list(whole.keys)) == ([5, START], [b"k", None])
    assert list(whole.headers or ()) == [(), (("h", b"1"),)]
    gaps = Batch(records, "t", 3, 10, 14, row_offsets=[10, 13])
    assert list(seen_of(gaps, START).offsets) == [10, 13]
    assert list(seen_of(Batch(records, "t", 3, 10, 14), START).offsets) == [-1, -1]


@pytest.mark.parametrize("origins", [[1, 2, 2], [2, 1, 0], [-1, -1, -1]], ids=["split", "moved", "made"])
def test_an_offset_that_is_not_known_is_not_guessed(origins):
    """Records that are as many as the batch's offsets but not those of them, one each, have none."""
    records = [Record({}, origin=origin) for origin in origins]
    for batch in (Batch(records, "t", 0, 5, 7), Batch(records, "t", 0, 5, 7, row_offsets=[5, 6, 7])):
        assert list(seen_of(batch, START).offsets) == [-1, -1, -1]


def test_a_key_that_is_no_utf_8_is_shown():
    """A lone surrogate in a key, which has no bytes, stands escaped."""
    assert list(seen_of(Batch([Record({}, key="a\ud800")], "t"), START).keys) == [b"a\\ud800"]
