"""The figures of several workers of one pipeline, taken together. Pure arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamweaver.runtime.scope import STANDBY

HEALTH = ("ended", "ok", "stuck", "failed")
"""From good to bad."""

_SUMMED = (
    *("in", "out", "added", "filtered", "dead_lettered", "skipped", "in_flight", "lost", "errors", "retries"),
    *("restarts", "units", "in_per_second", "out_per_second"),
)


def added(parts: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Add up the counts of each stage; a stage that only some have counts as theirs."""
    total: dict[str, dict[str, int]] = {}
    for part in parts:
        for stage, counts in part.items():
            sums = total.setdefault(stage, {})
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + count
    return total


def merged(snapshots: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take what workers published of one pipeline together; at least one, and one alone is returned as it is."""
    if len(snapshots) == 1:
        return dict(snapshots[0])
    names = dict.fromkeys(name for snapshot in snapshots for name in snapshot["stages"])
    return {
        "pipeline": snapshots[0]["pipeline"],
        "time": max(snapshot["time"] for snapshot in snapshots),
        "running": any(snapshot["running"] for snapshot in snapshots),
        "workers": len(snapshots),
        "stages": {name: _stage([s["stages"][name] for s in snapshots if name in s["stages"]]) for name in names},
    }


def _stage(parts: list[dict[str, Any]]) -> dict[str, Any]:
    # Who stands by knows nothing of how the stage does; but when all do, that is how it does.
    working = [part for part in parts if part["activity"] != STANDBY or part["error"]] or parts
    worst = max(working, key=lambda part: HEALTH.index(part["health"]))
    return {
        **worst,
        **{name: _sum(part[name] for part in parts) for name in _SUMMED},
        # Each worker measures the records that wait for the whole stage, and the time of its own share.
        "lag_records": max(part["lag_records"] for part in working),
        "lag_seconds": max(part["lag_seconds"] for part in working),
        # Percentiles cannot be added: the slowest worker's are told.
        **{
            name: max((p[name] for p in parts), key=lambda s: float(s["p99"]))
            for name in ("processing_ms", "latency_ms")
        },
        **{name: _sums([part[name] for part in parts]) for name in ("counters", "gauges")},
    }


def _sum(values: Iterable[float]) -> float:
    total = sum(values)
    return round(total, 1) if isinstance(total, float) else total


def _sums(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0) for part in parts) for name in names}
