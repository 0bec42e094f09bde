"""The figures of several workers of one pipeline, taken together. Pure arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamweaver.runtime.scope import STANDBY

SILENT_SECONDS = 5.0
"""Who has told nothing for so long is silent: every worker tells and publishes its figures every second."""

FORGET_MS = 60_000
"""Who had been silent for so long when others still spoke has ended: they had its share of the work since."""

HEALTH = ("ended", "ok", "unknown", "stuck", "failed")
"""From good to bad."""

SUMMED = (
    *("in", "out", "added", "filtered", "dead_lettered", "skipped", "in_flight", "lost", "errors", "retries"),
    *("restarts", "units", "in_per_second", "out_per_second", "errors_per_second", "dead_letters_per_second"),
)

WORST = ("lag_records", "lag_seconds")
"""Each worker measures the records that wait for the whole stage, and the time of its own share."""


def added(parts: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Add up the counts of each stage; a stage that only some have counts as theirs."""
    total: dict[str, dict[str, int]] = {}
    for part in parts:
        for stage, counts in part.items():
            sums = total.setdefault(stage, {})
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + count
    return total


def last_run(snapshots: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Take the last word of each worker together, at least of one, as far as they belong to the last run.

    A run is all that ran at the same time as the one heard last, or as another one of the run. Counts are those of all
    of them. Whether it is `running`, since when nothing was heard (`time`), and how the stages were is told by those
    that were there to the end: it runs, for all that is known, as long as one of them has not said that it ends.
    """
    run = _together(snapshots)
    recent = [snapshot for snapshot in run if run[0]["time"] - snapshot["time"] <= FORGET_MS]
    running = [snapshot for snapshot in recent if snapshot["running"]]
    every, ends = merged(run), merged(recent)
    stages = {
        name: {**ends["stages"].get(name, stage), **{count: stage[count] for count in SUMMED if count in stage}}
        for name, stage in every["stages"].items()
    }
    return {**every, "time": (running or run)[0]["time"], "running": bool(running), "stages": stages}


def _together(snapshots: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the snapshots of the last run, the newest first."""
    found: list[Mapping[str, Any]] = []
    for snapshot in sorted(snapshots, key=lambda snapshot: int(snapshot["time"]), reverse=True):
        if found and snapshot["time"] < min(map(_started, found)):
            break
        found.append(snapshot)
    return found


def merged(snapshots: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take what workers published of one pipeline together; at least one, and one alone is returned as it is."""
    if len(snapshots) == 1:
        return dict(snapshots[0])
    names = dict.fromkeys(name for snapshot in snapshots for name in snapshot["stages"])
    return {
        "pipeline": snapshots[0]["pipeline"],
        "time": max(snapshot["time"] for snapshot in snapshots),
        "started": min(map(_started, snapshots)),
        "published": _published(snapshots),
        "running": any(snapshot["running"] for snapshot in snapshots),
        "workers": len(snapshots),
        "stages": {name: merged_stage([s["stages"][name] for s in snapshots if name in s["stages"]]) for name in names},
    }


def merged_stage(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Take one stage's figures of several workers together, at least of one; a figure that nobody has is left out.

    Sums of what each has done, the worst lag, and the worst health with what that worker is doing.
    """
    # Who stands by knows nothing of how the stage does; but when all do, that is how it does.
    working = [part for part in parts if part.get("activity") != STANDBY or part.get("error")] or parts
    worst = max(working, key=lambda part: HEALTH.index(part.get("health", "unknown")))
    return {
        **worst,
        "error": worst.get("error") or next((part["error"] for part in parts if part.get("error")), None),
        **{name: _sum(found) for name in SUMMED if (found := _of(parts, name))},
        **{name: max(found) for name in WORST if (found := _of(working, name))},
        # Percentiles cannot be added: the slowest worker's are told.
        **{
            name: max(found, key=lambda summary: float(summary.get("p99", 0.0)))
            for name in ("processing_ms", "latency_ms")
            if (found := [summary for summary in _of(parts, name) if summary])
        },
        **{name: _sums(found) for name in ("counters", "gauges") if (found := _of(parts, name))},
    }


def _started(snapshot: Mapping[str, Any]) -> int:
    """Return when a worker started; one of an older release does not say, and counts from its figures on."""
    return int(snapshot.get("started", snapshot["time"]))


def _published(snapshots: Sequence[Mapping[str, Any]]) -> int | None:
    """Return up to when every worker's figures have been stored; None when one's never were."""
    times: list[Any] = [snapshot.get("published") for snapshot in snapshots]
    return None if None in times else min(times)


def _of(parts: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """Return a figure of all parts that have it: what a worker does not know it leaves out, or says None."""
    return [part[name] for part in parts if part.get(name) is not None]


def _sum(values: Iterable[float]) -> float:
    total = sum(values)
    return round(total, 3) if isinstance(total, float) else total


def _sums(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for part in parts for name in part)
    # Not rounded: a plugin's own figure may be as small as it likes.
    return {name: sum(part.get(name, 0) for part in parts) for name in names}
