"""What a load showed, and the arithmetic on it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def percentile(ages: Mapping[int, int], share: float) -> int:
    """Return the least age (ms) that a share of all records do not exceed; 0 when there are none."""
    wanted, seen = share * sum(ages.values()), 0
    for age in sorted(ages):
        seen += ages[age]
        if seen >= wanted:
            return age
    return 0


def together(parts: Iterable[Mapping[int, int]]) -> Counter[int]:
    """Add up counts of ages."""
    total: Counter[int] = Counter()
    for part in parts:
        total.update(part)
    return total


@attrs.frozen
class Client:
    """What one WebSocket client saw: the ages (ms) on arrival by second, and what it was told it missed."""

    seconds: dict[int, dict[int, int]]
    dropped: int

    @property
    def records(self) -> int:
        """How many records came."""
        return sum(sum(counts.values()) for counts in self.seconds.values())


@attrs.frozen
class Sample:
    """One look at everything, once a second."""

    second: float
    """Since the producer started."""
    lag_records: float
    lag_seconds: float
    memory_mb: dict[str, float]
    cpu: dict[str, float]
    """Share of a core, by process."""


@attrs.frozen
class Load:
    """One rate."""

    rate: int
    made: int
    """Records that the producer was asked for."""
    seconds: float
    """From the first record to the last at a client."""
    warm_up: int
    clients: list[Client]
    samples: list[Sample]

    @property
    def lost(self) -> int:
        """Records that a client neither got nor was told of as dropped, all clients together."""
        return sum(self.made - client.records - client.dropped for client in self.clients)

    @property
    def dropped(self) -> int:
        """Records that clients were told they missed."""
        return sum(client.dropped for client in self.clients)

    def latency(self) -> dict[str, int]:
        """Percentiles (ms) from a record's making to a client, after the warm-up."""
        first = min((second for client in self.clients for second in client.seconds), default=0)
        ages = together(
            counts
            for client in self.clients
            for second, counts in client.seconds.items()
            if second >= first + self.warm_up
        )
        return {name: percentile(ages, share) for name, share in SHARES.items()} | {"max": max(ages, default=0)}

    def over_time(self) -> list[tuple[int, int, int, int]]:
        """For each second since the first: records a client got (on average), p50 and p99 in ms."""
        seconds = sorted({second for client in self.clients for second in client.seconds})
        rows = []
        for second in seconds:
            ages = together(client.seconds.get(second, {}) for client in self.clients)
            got = round(sum(ages.values()) / len(self.clients))
            rows.append((second - seconds[0], got, percentile(ages, 0.5), percentile(ages, 0.99)))
        return rows

    def summary(self) -> dict[str, Any]:
        """The figures of this rate."""
        steady = [sample for sample in self.samples if sample.second >= self.warm_up] or self.samples
        names = steady[0].memory_mb if steady else {}
        return {
            "rate": self.rate,
            "reached": round(self.made / self.seconds) if self.seconds else 0,
            "made": self.made,
            "clients": len(self.clients),
            "lost": self.lost,
            "dropped": self.dropped,
            "latency_ms": self.latency(),
            "lag_seconds_most": max((sample.lag_seconds for sample in steady), default=0.0),
            "lag_records_most": max((sample.lag_records for sample in steady), default=0.0),
            "memory_mb_most": {name: round(max(s.memory_mb[name] for s in self.samples)) for name in names},
            "cores": {name: round(sum(s.cpu[name] for s in steady) / len(steady), 2) for name in names},
        }
