"""moving_average: exact means, windows by count and by time, state, bad records."""

import math
import statistics
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import BadRecord, Batch, Record
from streamweaver.testing import FakeContext
from streamweaver_transforms.moving_average import MovingAverage

numbers = st.one_of(
    st.floats(-1e6, 1e6), st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(-(2**60), 2**60)
)


def trade(price: Any, symbol: Any = "A", timestamp: int | None = None) -> Record:
    return Record({"symbol": symbol, "price": price}, timestamp=timestamp)


def means(step: MovingAverage, records: list[Record], context: FakeContext) -> list[float]:
    return [record.value["moving_average"] for record in step.process(Batch(records), context)]


def test_mean_of_last_values(context: FakeContext) -> None:
    """Each record gets the mean of the last `size` values of its key, its own included."""
    step = MovingAverage(field="price", by="symbol", size=2)
    records = [trade(1.0), trade(2.0), trade(4.0), trade(10.0, "B"), trade(6.0)]
    assert means(step, records, context) == [1.0, 1.5, 3.0, 10.0, 5.0]


def test_size_is_twenty_by_default(context: FakeContext) -> None:
    """Without size and span_seconds twenty values are averaged."""
    got = means(MovingAverage(field="price", by="symbol"), [trade(float(i)) for i in range(30)], context)
    assert got[-1] == statistics.fmean(range(10, 30))


@given(
    values=st.lists(st.tuples(st.sampled_from(["A", "B", 3]), numbers), min_size=1, max_size=120),
    size=st.integers(1, 60),
    cut=st.integers(1, 50),
)
def test_equals_the_plain_mean(values: list[tuple[Any, float]], size: int, cut: int) -> None:
    """Every value equals fmean over the last values of its key, bit for bit, however the batches are cut."""
    context, got = FakeContext(), []
    for at in range(0, len(values), cut):
        step = MovingAverage(field="price", by="symbol", size=size)
        got += means(step, [trade(price, symbol) for symbol, price in values[at : at + cut]], context)
        context.state.values = {
            key: msgspec.msgpack.decode(msgspec.msgpack.encode(value)) for key, value in context.state.values.items()
        }
    seen: dict[Any, list[float]] = {}
    for (symbol, price), mean in zip(values, got, strict=True):
        seen.setdefault(symbol, []).append(float(price))
        assert mean == statistics.fmean(seen[symbol][-size:])


@pytest.mark.parametrize("size", [20, 200])
def test_no_drift_after_a_great_value(context: FakeContext, size: int) -> None:
    """A value of 1e16 that has left the window leaves no trace in the sum."""
    step = MovingAverage(field="price", by="symbol", size=size)
    got = means(step, [trade(1e16), *(trade(0.1) for _ in range(size))], context)
    assert got[-1] == statistics.fmean([0.1] * size)


@given(
    values=st.lists(
        st.tuples(st.one_of(st.integers(0, 5_000), st.integers(0, 20).map(lambda n: n * 500)), numbers),
        min_size=1,
        max_size=80,
    ),
    span=st.sampled_from([0.001, 0.5, 1.0, 10.0]),
    cut=st.integers(1, 40),
)
def test_span_equals_the_plain_mean(values: list[tuple[int, float]], span: float, cut: int) -> None:
    """With span_seconds the mean is over the values less than the span older than the newest, in any order."""
    context, got = FakeContext(), []
    for at in range(0, len(values), cut):
        step = MovingAverage(field="price", by="symbol", span_seconds=span)
        got += means(step, [trade(price, "A", time) for time, price in values[at : at + cut]], context)
    for index, mean in enumerate(got):
        seen = values[: index + 1]
        newest = max(time for time, _ in seen)
        # What was late when it came stays out; what was in may leave when the newest moves on.
        window = [
            float(price)
            for i, (time, price) in enumerate(seen)
            if time > newest - span * 1000 and time > max(t for t, _ in seen[: i + 1]) - span * 1000
        ]
        assert mean == math.fsum(window) / len(window)


def test_a_value_of_exactly_the_span_has_left(context: FakeContext) -> None:
    """The window does not hold the value whose age is the whole span, and does hold the one a millisecond younger."""
    step = MovingAverage(field="price", by="symbol", span_seconds=1.0)
    records = [trade(1.0, "A", 0), trade(3.0, "A", 999), trade(5.0, "A", 1000), trade(9.0, "A", 0)]
    assert means(step, records, context) == [1.0, 2.0, 4.0, 4.0]


def test_span_takes_the_clock_without_a_timestamp(context: FakeContext) -> None:
    """A record without a timestamp counts at the current time."""
    step = MovingAverage(field="price", by="symbol", span_seconds=10.0)
    assert means(step, [trade(1.0)], context) == [1.0]
    context.clock.advance(9)
    assert means(step, [trade(3.0)], context) == [2.0]
    context.clock.advance(5)
    assert means(step, [trade(5.0)], context) == [4.0]


def test_dotted_fields_into_and_digits(context: FakeContext) -> None:
    """Fields may be nested, the target is made if missing, and the mean is rounded on request."""
    step = MovingAverage(field="trade.price", by="trade.symbol", into="stats.mean", digits=2)
    records = [Record({"trade": {"price": price, "symbol": "A"}}) for price in (1.0, 1.0, 2.0)]
    out = list(step.process(Batch(records), context))
    assert out[-1].value["stats"] == {"mean": 1.33}


@pytest.mark.parametrize("window", [{"size": 3}, {"size": 40}, {"span_seconds": 5.0}])
@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"symbol": "A"}, "price: missing; the value has symbol"),
        ({"price": 1.0}, "symbol: missing; the value has price"),
        ({"symbol": "A", "price": "7"}, 'price: got "7", expected a finite number'),
        ({"symbol": "A", "price": True}, "price: got true, expected a finite number"),
        ({"symbol": "A", "price": None}, "price: got null, expected a finite number"),
        ({"symbol": "A", "price": math.nan}, "price: got null, expected a finite number"),
        ({"symbol": "A", "price": math.inf}, "price: got null, expected a finite number"),
        ({"symbol": "A", "price": 10**400}, "expected a finite number"),
        ({"symbol": True, "price": 1.0}, "symbol: got true, expected text or a whole number"),
        ({"symbol": 1.0, "price": 1.0}, "symbol: got 1.0, expected text or a whole number"),
        ({"symbol": None, "price": 1.0}, "symbol: got null, expected text or a whole number"),
        ({"symbol": ["A"], "price": 1.0}, 'symbol: got ["A"], expected text or a whole number'),
        ({"symbol": 2**63, "price": 1.0}, "symbol: got 9223372036854775808, expected text or a whole number"),
        (["A", 1.0], 'price: the value is ["A",1.0], expected a mapping'),
        (None, "price: the value is null, expected a mapping"),
    ],
)
def test_bad_records_are_named(context: FakeContext, window: dict[str, Any], bad: Any, text: str) -> None:
    """A record that cannot be averaged is blamed by its index, with what was got."""
    step = MovingAverage(field="price", by="symbol", **window)
    good = [trade(1.0), trade(1.0, 1)]
    with pytest.raises(BadRecord) as raised:
        step.process(Batch([*good, Record(bad), trade(2.0)]), context)
    assert raised.value.index == 2
    assert text in str(raised.value)


def test_a_bad_record_does_not_count(context: FakeContext, run: Any) -> None:
    """After a rollback and a retry record by record the others get the mean they would have had without it."""
    records = [trade(1.0), trade("x"), trade(3.0), trade(1e308), trade(1e308), trade(5.0)]
    out, errors = run(lambda: MovingAverage(field="price", by="symbol", size=3), records, context)
    got = [record.value["moving_average"] for record in out]
    assert got[:2] == [1.0, 2.0]
    assert len(got) + len(errors) == len(records)
    assert len(errors) >= 1
    assert 'got "x"' in errors[0]


@pytest.mark.parametrize("size", [2, 50])
def test_an_overflow_is_an_error_and_no_infinity(context: FakeContext, size: int) -> None:
    """A sum beyond the range of floats raises, so that no infinity is written."""
    step = MovingAverage(field="price", by="symbol", size=size)
    with pytest.raises(OverflowError):
        step.process(Batch([trade(1.7e308), trade(1.7e308)]), context)


def test_state_is_assigned_once_a_key_and_batch(context: FakeContext) -> None:
    """Each key's window is read once and stored once a batch."""
    calls: list[tuple[str, Any]] = []

    class Counting:
        def get(self, key: Any, default: Any = None) -> Any:
            calls.append(("get", key))
            return default

        def __setitem__(self, key: Any, value: Any) -> None:
            calls.append(("set", key))

    context.state = Counting()  # type: ignore[assignment]
    step = MovingAverage(field="price", by="symbol")
    step.process(Batch([trade(1.0, symbol) for symbol in "ABABAB"]), context)
    assert calls == [("get", "A"), ("get", "B"), ("set", "A"), ("set", "B")]


def test_a_smaller_size_after_a_restart(context: FakeContext) -> None:
    """A window stored with a greater size is cut to the new one."""
    means(MovingAverage(field="price", by="symbol", size=5), [trade(float(i)) for i in range(5)], context)
    assert means(MovingAverage(field="price", by="symbol", size=2), [trade(6.0)], context) == [5.0]
    assert context.state.values == {"A": [4.0, 6.0]}


def test_size_and_span_exclude_each_other() -> None:
    """Both windows at once are refused."""
    with pytest.raises(ValueError, match="got both size and span_seconds"):
        MovingAverage(field="price", by="symbol", size=3, span_seconds=3.0)


def test_speed(context: FakeContext) -> None:
    """Prints the cost of a record; a hundred times the expected cost would fail."""
    step = MovingAverage(field="price", by="symbol")
    batches = [Batch([trade(100 + i % 97 / 7, "ABCDE"[i % 5]) for i in range(500)]) for _ in range(20)]
    start = time.perf_counter()
    for batch in batches:
        step.process(batch, context)
    cost = (time.perf_counter() - start) / 10_000
    print(f"moving_average: {cost * 1e6:.2f} us a record")
    assert cost < 100e-6
