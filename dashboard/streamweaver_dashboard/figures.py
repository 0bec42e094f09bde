"""The stages' figures: those of all workers together. Pure."""

from collections.abc import Mapping
from typing import Any

import attrs

from streamweaver.runtime.snapshot import AWAY
from streamweaver.runtime.workers import FORGET_MS, SUMMED, WORST, merged_stage

RATES = {"errors": "errors_per_second", "dead_lettered": "dead_letters_per_second"}
"""Counts, and the rate that is made of each; it is not known before a worker has published twice."""
STALE_MS = 10_000


@attrs.define
class Figures:
    """The newest figures of each worker, and what is told of all of them."""

    workers: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    newest: int | None = None
    """Time of the newest figures, also of a worker that is forgotten."""

    def take(self, worker: str, published: Mapping[str, Any]) -> None:
        """Take what a worker has published; adds its rates of errors since what it published before."""
        before = self.workers.get(worker)
        stages = {name: dict(stage) for name, stage in published.get("stages", {}).items()}
        seconds = (published["time"] - before["time"]) / 1000 if before else 0.0
        for name, stage in stages.items():
            old = before["stages"].get(name) if before else None
            for count, rate in RATES.items():
                rise = stage.get(count, 0) - old.get(count, 0) if old else 0
                if seconds > 0:
                    # Fewer than before: the worker has started anew.
                    stage[rate] = round(max(0, rise) / seconds, 3)
                elif old and rate in old:
                    stage[rate] = old[rate]
        self.newest = max(self.newest or 0, published["time"])
        self.workers[worker] = {"time": published["time"], "stages": stages}

    def merged(self, stages: Mapping[str, str], now: int) -> dict[str, Any]:
        """Return all workers taken together; `stages` are the names and kinds that there should be."""
        for worker in [name for name, held in self.workers.items() if now - held["time"] > FORGET_MS]:
            del self.workers[worker]
        fresh = [held for held in self.workers.values() if now - held["time"] <= STALE_MS]
        newest = self.newest
        return {
            "time": now if newest is None else newest,
            "workers": len(fresh),
            "stale_seconds": None if newest is None else round(max(0, now - newest) / 1000, 1),
            "stages": {
                name: merge([held["stages"][name] for held in fresh if name in held["stages"]], kind)
                for name, kind in stages.items()
            },
        }


_NOTHING: dict[str, Any] = {
    "health": "unknown",
    "activity": "nothing heard",
    "activity_seconds": 0,
    "error": None,
    "delivery": None,
    "processing_ms": None,
    "latency_ms": None,
    "counters": {},
    "gauges": {},
    **dict.fromkeys((*SUMMED, *WORST), 0),
    **dict.fromkeys(RATES.values()),
}


def merge(parts: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Take one stage's figures of several workers together; every figure is there, also when there is no worker."""
    # What none of them knew, as the lag when a run ends and its broker is away, counts as not there.
    known = {name: figure for name, figure in merged_stage(parts).items() if figure is not None} if parts else {}
    return {**_NOTHING, **known, "kind": kind}


def status(merged: Mapping[str, Any]) -> tuple[str, dict[str, dict[str, str]]]:
    """Return `ok`, `failing`, `silent` or `starting`, and the stages that are not well, with the reason."""
    bad: dict[str, dict[str, str]] = {}
    stale = merged.get("stale_seconds") or 0.0
    is_silent = stale * 1000 > STALE_MS
    for name, stage in merged["stages"].items():
        if stage["health"] in ("ok", "ended"):
            continue
        why = stage["error"] or f"{stage['activity']} for {stage['activity_seconds']:.0f} s"
        if is_silent and stage["health"] == "unknown":
            cut_off = "" if merged.get("is_answered", True) else f", {AWAY}"
            why = f"nothing heard for {stale:.0f} s{cut_off}"
        bad[name] = {"health": stage["health"], "why": why}
    if any(entry["health"] in ("failed", "stuck") for entry in bad.values()):
        return "failing", bad
    return (("silent" if is_silent else "starting") if bad else "ok"), bad
