"""The mean of the last values of a field, by key."""

from bisect import bisect_right
from math import fsum
from typing import Any

import attrs

from streamweaver import BadRecord, Batch, Record, TransformContext, option, transform
from streamweaver_transforms._field import BIGGEST, PATH, Field, finite, is_group, show
from streamweaver_transforms._sum import add, exact, total

# Up to here summing a window afresh costs less than keeping its exact sum; both give the same number.
_SHORT = 32


@transform("moving_average", groups_by="by", example="{use: moving_average, field: price, by: symbol, size: 20}")
@attrs.define
class MovingAverage:
    """Mean of the last values of a field, for each key.

    The last `size` values, or with `span_seconds` those of the last seconds, counted back from the newest timestamp
    that the key has had; the record's own value is one of them. Until a window is full the mean is of what there is.

    Exact: the sum carries no rounding error and is rounded once, so each value equals `statistics.fmean` over the
    window, however long the stream has run and however it was cut into batches. The windows survive a restart. A
    record without a finite number in `field`, or without text or a whole number in `by`, is a bad record.

    A record with a timestamp before the newest of its key joins the window if it lies in the span; it gets the mean
    of the window as it then is. `span_seconds` keeps every value of the span in state: for long spans of busy keys
    prefer `size`, or `count_by`.
    """

    field: str = option(help="field with the numbers", example="price", pattern=PATH)
    by: str = option(help="field that names the key, each with a window of its own", example="symbol", pattern=PATH)
    size: int | None = option(default=None, help="how many values to average, 20 if not given", example=20, ge=1)
    span_seconds: float | None = option(
        default=None, help="average the values of so many seconds, in place of `size`", example=60.0, gt=0
    )
    into: str = option(
        default="moving_average", help="field for the mean; may be the field itself", example="mean_price", pattern=PATH
    )
    digits: int | None = option(default=None, help="round the mean to so many decimal places", example=2, ge=0, le=15)

    _field: Field = attrs.field(init=False, repr=False, eq=False)
    _by: Field = attrs.field(init=False, repr=False, eq=False)
    _into: Field = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.size is not None and self.span_seconds is not None:
            raise ValueError("got both size and span_seconds, expected one of them")
        self._field, self._by, self._into = Field(self.field), Field(self.by), Field(self.into)

    def process(self, batch: Batch, context: TransformContext) -> list[Record]:
        """Add the mean to each record, in place."""
        if self.span_seconds is not None:
            self._last_seconds(batch.records, context, round(self.span_seconds * 1000))
        else:
            self._last_values(batch.records, context, self.size or 20)
        return batch.records

    def _last_values(self, records: list[Record], context: TransformContext, size: int) -> None:
        state, digits, into, name = context.state, self.digits, self._into, self.into
        plain = "." not in name
        read_number, read_key = self._field.read, self._by.read
        # Each key's window is read once and stored once a batch: [values, parts of their sum].
        windows: dict[str | int, tuple[list[float], list[float]]] = {}
        short = size <= _SHORT
        for index, record in enumerate(records):
            value = record.value
            try:
                number, key = read_number(value), read_key(value)
                known = windows.get(key)
            except (KeyError, TypeError):
                number, key = self._check(index, value)
                known = windows.get(key)
            if type(number) is int and -BIGGEST < number < BIGGEST:
                number = float(number)
            elif type(number) is not float or number - number != 0.0:  # NaN and infinity leave NaN
                number, key = self._check(index, value)
            if type(key) is not str and (known is None or type(key) is not int):  # True and 1.0 find the window of 1
                self._check(index, value)
            if known is None:
                stored = state.get(key, [])[-size:]
                known = windows[key] = (stored, [] if short else exact(stored))
            window, parts = known
            window.append(number)
            if short:
                if len(window) > size:
                    del window[0]
                mean = fsum(window) / len(window)
            else:
                add(parts, number)
                if len(window) > size:
                    add(parts, -window.pop(0))
                mean = total(parts) / len(window)
            mean = mean if digits is None else round(mean, digits)
            if plain:
                value[name] = mean
            else:
                self._set(into, index, value, mean)
        for key, (window, _) in windows.items():
            state[key] = window

    def _last_seconds(self, records: list[Record], context: TransformContext, span: int) -> None:
        state = context.state
        # Times and values run in parallel, sorted by time; what left the span is cut off at the end of the batch.
        windows: dict[str | int, _Span] = {}
        for index, record in enumerate(records):
            number, key = self._check(index, record.value)
            window = windows.get(key)
            if window is None:
                times, numbers = state.get(key, ((), ()))
                window = windows[key] = _Span(list(times), list(numbers), exact(numbers))
            window.add(context.now() if record.timestamp is None else record.timestamp, number, span)
            mean = window.mean()
            self._set(self._into, index, record.value, mean if self.digits is None else round(mean, self.digits))
        for key, window in windows.items():
            state[key] = window.stored()

    def _check(self, index: int, value: Any) -> tuple[float, str | int]:
        """Return the number and the key of a record; BadRecord says what is wrong with them."""
        try:
            number, key = self._field.get(value), self._by.get(value)
        except ValueError as error:
            raise BadRecord(index, error) from error
        checked = finite(number)
        if checked is None:
            raise BadRecord(index, f"{self.field}: got {show(number)}, expected a finite number")
        if not is_group(key):
            raise BadRecord(index, f"{self.by}: got {show(key)}, expected text or a whole number below {BIGGEST}")
        return checked, key

    @staticmethod
    def _set(field: Field, index: int, value: Any, mean: float) -> None:
        try:
            field.set(value, mean)
        except ValueError as error:
            raise BadRecord(index, error) from error


@attrs.define
class _Span:
    """The values of one key within the span before its newest timestamp."""

    times: list[int]
    numbers: list[float]
    parts: list[float]
    first: int = 0
    """Where the window begins in `times` and `numbers`: cutting both at every record would be quadratic."""

    def add(self, time: int, number: float, span: int) -> None:
        """Take in a value and let go of those that the span has left behind."""
        times, numbers = self.times, self.numbers
        if not times or time >= times[-1]:
            times.append(time)
            numbers.append(number)
            add(self.parts, number)
            while times[self.first] <= time - span:
                add(self.parts, -numbers[self.first])
                self.first += 1
        elif time > times[-1] - span:
            at = bisect_right(times, time, lo=self.first)
            times.insert(at, time)
            numbers.insert(at, number)
            add(self.parts, number)

    def mean(self) -> float:
        """Return the mean; the newest value is always in the window, so there is one."""
        return total(self.parts) / (len(self.times) - self.first)

    def stored(self) -> list[list[Any]]:
        """Return what goes into the state."""
        return [self.times[self.first :], self.numbers[self.first :]]
