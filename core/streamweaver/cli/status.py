"""`pipeline status`: the newest figures that a pipeline's workers have published, read through the broker."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from streamweaver.cli.failure import FAILED
from streamweaver.cli.live import HEADS, cells
from streamweaver.cli.load import data_folder, elsewhere, load, tool
from streamweaver.cli.output import print_json, print_table, time_text
from streamweaver.contracts import Broker
from streamweaver.errors import BrokerError, UnknownTopicError
from streamweaver.graph.plan import Plan
from streamweaver.runtime.reading import through
from streamweaver.runtime.workers import SILENT_SECONDS, WORST, last_run, merged

UNKNOWN = "?"
"""Stands for who holds the pipeline's data, where the broker cannot tell."""

RUNNING = {"running": True, "silent": True, "unheard": None, "killed": False, "stopped": False}
"""What may be said of a pipeline, and whether it runs by that; None where nobody here can know.

It is heard, and runs; it is `silent`, and its process is there; it is `unheard`, and may have ended or be cut off from
its broker; it was `killed`, or its machine failed, since its process is gone and has not said so; it has said that it
`stopped`.
"""

_FURTHER_BACK = 5_000


def print_status(file: Path, overrides: tuple[str, ...], data: Path | None, as_json: bool) -> int:
    """Print the newest figures; returns the exit status, 1 when the pipeline does not run or nothing is heard of it."""
    plan = load(file, overrides).plan
    metrics = asyncio.run(newest(plan, data_folder(plan, data)))
    age = max(0, time.time_ns() // 1_000_000 - metrics["time"])
    state = state_of(metrics, age)
    if not (heard := state == "running"):
        as_it_is = _unheard if state in ("silent", "unheard") else _at_rest
        metrics["stages"] = {name: as_it_is(stage) for name, stage in metrics["stages"].items()}
    if as_json:
        silent = state in ("silent", "unheard")
        print_json({**metrics, "state": state, "running": RUNNING[state], "silent": silent, "age_ms": age})
    else:
        click.echo(f"pipeline {metrics['pipeline']}: {_told(state, metrics, age)}")
        if state == "silent":
            click.echo("it is only starting, or blocked: its log lines say where", err=True)
        if state == "unheard":
            click.echo("it cannot reach the broker, or it has ended without a word: its log lines say which", err=True)
        right = [head for head in HEADS if head not in ("stage", "kind", "health")]
        rows = [cells(name, stage) for name, stage in metrics["stages"].items()]
        print_table(HEADS, rows, right=right, spare=["kind", "in", "out/s", "errors"])
    return 0 if heard else FAILED


def state_of(metrics: Mapping[str, Any], age_ms: int) -> str:
    """Return which word of `RUNNING` is true, by the newest figures and their age."""
    holder = metrics.get("holder", UNKNOWN)
    if holder is not None and metrics["running"] and age_ms <= SILENT_SECONDS * 1000:
        return "running"
    if holder not in (None, UNKNOWN):
        return "silent"
    # The last figures of a run that ends in order say so.
    if not metrics["running"]:
        return "stopped"
    return "killed" if holder is None else "unheard"


def _told(state: str, metrics: Mapping[str, Any], age_ms: int) -> str:
    workers = f", {metrics['workers']} workers" if "workers" in metrics else ""
    at = f"{time_text(metrics['time'])} ({_ago(age_ms)} ago)"
    return {
        "running": f"running{workers}",
        "silent": f"silent, though {metrics.get('holder')} has not ended{workers}, last seen {at}",
        "unheard": f"not heard of for {_ago(age_ms)}{workers}, last seen {at}",
        "killed": f"not running{workers}, last seen {at}",
        "stopped": f"stopped since {at}{workers}",
    }[state]


async def newest(plan: Plan, data: Path) -> dict[str, Any]:
    """Return the newest figures of the workers that are heard, or else the last of the last run, all workers together.

    Where the broker knows, `holder` says who runs the pipeline. BrokerError when there are no figures.
    """
    async with tool(plan, data) as broker:
        holder = {"holder": await broker.holder()} if hasattr(broker, "holder") else {}
        since = time.time_ns() // 1_000_000 - round(SILENT_SECONDS * 1000)
        try:
            figures = await _figures(broker, plan, await broker.offset_at(plan.metrics, 0, since))
            alive = [found for found in figures.values() if found["running"] and found["time"] >= since]
            if alive:
                return merged(alive) | holder
            # Workers do not all end at the same moment; and while a dashboard goes on, what it says comes last.
            held = (await broker.ranges(plan.metrics))[0]
            figures = await _figures(broker, plan, held.end - _FURTHER_BACK)
        except UnknownTopicError:
            nothing = f"pipeline {plan.name} has never run here, so there is nothing to show"
            raise BrokerError(f"{nothing}; {elsewhere(plan)}") from None
    if not figures:
        raise BrokerError(f"pipeline {plan.name} has published no figures yet; try again in a second")
    return last_run(figures.values()) | holder


def _unheard(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the last figures of a stage of which nothing is heard: nobody knows its rates, its lag, how it does."""
    told = {**stage, **dict.fromkeys((*_rates(stage), *WORST))}
    return told if stage["health"] in ("ended", "failed") else {**told, "health": "unknown", "activity": "not heard of"}


def _at_rest(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the last figures of a stage that runs no more: nothing flows, none is well; what had failed says so."""
    health = "stopped" if stage["health"] in ("ok", "stuck") else stage["health"]
    activity = stage["activity"] if stage["activity"] in ("ended", "failed") else "stopped"
    return {**stage, **dict.fromkeys(_rates(stage), 0.0), "health": health, "activity": activity}


def _rates(stage: Mapping[str, Any]) -> list[str]:
    """Return the names of all rates of a stage."""
    return [name for name in stage if name.endswith("_per_second")]


async def _figures(broker: Broker, plan: Plan, at: int) -> dict[bytes | None, dict[str, Any]]:
    """Return the newest figures of each worker from an offset on; others' records in the topic are none."""
    by_worker: dict[bytes | None, dict[str, Any]] = {}
    async for rows in through(broker, plan.metrics, {0: at}):
        for key, value in zip(rows.keys, rows.values, strict=True):
            if value and "stages" in (figures := msgspec.json.decode(value)):
                by_worker[key] = figures
    return by_worker


def _ago(age_ms: int) -> str:
    seconds = max(0, age_ms) // 1000
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
