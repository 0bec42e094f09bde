"""What a stage counts and times, and the arithmetic on it. No I/O, no clock."""

from bisect import bisect_left
from collections import Counter, deque
from typing import Any

import attrs

from streamweaver.errors import BalanceError

PERIODS = 10
"""A period is a second, that between two snapshots of a running pipeline: so percentiles are those of ten seconds."""

# Bucket bounds of all histograms in ms: a quarter of a power of two each (19 % wide), 0.06 ms to 2.4 hours.
BOUNDS: tuple[float, ...] = tuple(2.0 ** (n / 4) for n in range(-16, 93))


@attrs.define
class Histogram:
    """Durations in ms; a percentile is exact to a bucket's width (19 %)."""

    counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS) + 1))
    total: int = 0
    largest: float = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a duration."""
        self.counts[bisect_left(BOUNDS, value)] += times
        self.total += times
        self.largest = max(self.largest, value)

    def add_ages(self, now: int, timestamps: list[int]) -> None:
        """Count the age at `now` of each timestamp (all ms); a clock that runs ahead gives 0."""
        if not timestamps:
            return
        oldest, newest = min(timestamps), max(timestamps)
        if bisect_left(BOUNDS, now - oldest) == bisect_left(BOUNDS, now - newest):
            # One bucket for all, as always when there is a backlog.
            self.add(max(0.0, float(now - oldest)), len(timestamps))
            return
        # Most records of a batch share a few milliseconds, and Counter counts them at C speed.
        for timestamp, times in Counter(timestamps).items():
            self.add(max(0.0, float(now - timestamp)), times)

    def percentile(self, share: float) -> float:
        """Return the upper bound in ms below which `share` (0 to 1) of all durations lie; 0 when there are none."""
        wanted = share * self.total
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(BOUNDS[index], self.largest) if index < len(BOUNDS) else self.largest
        return 0.0

    def summary(self) -> dict[str, float]:
        """Return the percentiles that people look at, in ms."""
        return {
            "p50": round(self.percentile(0.5), 3),
            "p90": round(self.percentile(0.9), 3),
            "p99": round(self.percentile(0.99), 3),
            "max": round(self.largest, 3),
        }


@attrs.define
class Recent:
    """Durations of the last `PERIODS` periods, the current one included; whoever publishes figures ends each period.

    So percentiles tell how things are, not how they have been since the start, and adding costs what it costs anyway.
    """

    current: Histogram = attrs.field(factory=Histogram)
    past: deque[Histogram] = attrs.field(factory=lambda: deque(maxlen=PERIODS - 1))

    def add(self, value: float, times: int = 1) -> None:
        """Count a duration."""
        self.current.add(value, times)

    def add_ages(self, now: int, timestamps: list[int]) -> None:
        """Count the age at `now` of each timestamp (all ms)."""
        self.current.add_ages(now, timestamps)

    def end_period(self) -> None:
        """Begin the next period, and forget the oldest."""
        self.past.append(self.current)
        self.current = Histogram()

    def together(self) -> Histogram:
        """Return all periods as one."""
        parts = [part for part in (*self.past, self.current) if part.total]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Histogram()
        counts = [sum(column) for column in zip(*(part.counts for part in parts), strict=True)]
        return Histogram(counts, sum(part.total for part in parts), max(part.largest for part in parts))

    def summary(self) -> dict[str, float]:
        """Return the percentiles that people look at, in ms."""
        return self.together().summary()


@attrs.define
class Tally:
    """How the records of one open unit of work are settled so far."""

    received: int = 0
    out: int = 0
    added: int = 0
    filtered: int = 0
    dead_lettered: int = 0
    skipped: int = 0
    lost: int = 0

    @property
    def unsettled(self) -> int:
        """Records received (or added) and neither passed on nor dropped for a reason."""
        return self.received + self.added - self.out - self.filtered - self.dead_lettered - self.skipped


@attrs.define
class StageMetrics:
    """The counts of one stage in one process since it started.

    Every record that is received is settled exactly once: as output, filtered, dead-lettered or skipped, or it is
    returned unsettled (an aborted unit will be read again). `added` counts outputs beyond one for an input. So with
    nothing in flight: received + added = out + filtered + dead_lettered + skipped + returned.
    """

    received: int = 0
    out: int = 0
    added: int = 0
    filtered: int = 0
    dead_lettered: int = 0
    skipped: int = 0
    returned: int = 0
    lost: int = 0
    """Offsets that retention removed before the stage could read them."""
    errors: int = 0
    retries: int = 0
    restarts: int = 0
    units: int = 0
    processing: Recent = attrs.field(factory=Recent)
    """From reading a batch until its unit of work is durable."""
    latency: Recent = attrs.field(factory=Recent)
    """From a record's timestamp until its result is durable (for a sink: written): its age, where old data is read."""
    waits_for: str | None = None
    """What a plugin says that it waits for."""
    counters: dict[str, int] = attrs.field(factory=dict)
    gauges: dict[str, float] = attrs.field(factory=dict)

    def settle(self, tally: Tally) -> None:
        """Take over a unit's counts; `received` was counted when it was read."""
        self.out += tally.out
        self.added += tally.added
        self.filtered += tally.filtered
        self.dead_lettered += tally.dead_lettered
        self.skipped += tally.skipped
        self.lost += tally.lost

    @property
    def in_flight(self) -> int:
        """Records received and not yet settled."""
        settled = self.out + self.filtered + self.dead_lettered + self.skipped + self.returned
        return self.received + self.added - settled

    def check_balance(self, stage: str) -> None:
        """Raise BalanceError unless every received record is settled."""
        if self.in_flight:
            raise BalanceError(
                f"stage {stage}: counts do not balance, {self.in_flight} records unaccounted for: {self.counts()}"
            )

    def counts(self) -> dict[str, int]:
        """Return the counts under the names that people and programs see.

        `in` leaves out what was returned by aborted units, since it is read, and counted, again.
        """
        return {
            "in": self.received - self.returned,
            "out": self.out,
            "added": self.added,
            "filtered": self.filtered,
            "dead_lettered": self.dead_lettered,
            "skipped": self.skipped,
            "in_flight": self.in_flight,
            "lost": self.lost,
            "errors": self.errors,
            "retries": self.retries,
            "restarts": self.restarts,
        }

    def end_period(self) -> None:
        """Let the times that are shown move on by a period."""
        self.processing.end_period()
        self.latency.end_period()

    def snapshot(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            **self.counts(),
            "units": self.units,
            "processing_ms": self.processing.summary(),
            "latency_ms": self.latency.summary(),
            "counters": dict(self.counters),
            "gauges": dict(self.gauges),
        }
