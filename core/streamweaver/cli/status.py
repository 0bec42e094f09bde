"""`pipeline status`: the newest figures that a pipeline's workers have published, read through the broker."""

import asyncio
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from streamweaver.cli.failure import FAILED
from streamweaver.cli.live import HEADS, cells
from streamweaver.cli.load import data_folder, load, tool
from streamweaver.cli.output import print_json, print_table, time_text
from streamweaver.contracts import Broker
from streamweaver.errors import BrokerError, UnknownTopicError
from streamweaver.graph.plan import Plan
from streamweaver.runtime.reading import through
from streamweaver.runtime.workers import merged

SILENT_MS = 5_000
"""A pipeline that has published nothing for so long does not run, or cannot: it does so every second."""

UNKNOWN = "?"
"""Stands for who holds the pipeline's data, where the broker cannot tell."""

_FURTHER_BACK = 5_000


def print_status(file: Path, data: Path | None, as_json: bool) -> int:
    """Print the newest figures; returns the exit status, 1 when the pipeline does not run or has fallen silent."""
    plan = load(file).plan
    metrics = asyncio.run(newest(plan, data_folder(plan, data)))
    age = time.time_ns() // 1_000_000 - metrics["time"]
    holder = metrics.get("holder", UNKNOWN)
    heard = bool(metrics["running"]) and age <= SILENT_MS
    running = heard if holder == UNKNOWN else holder is not None
    if not running:
        metrics["stages"] = {name: _at_rest(stage) for name, stage in metrics["stages"].items()}
    if as_json:
        print_json({**metrics, "running": running, "silent": running and not heard, "age_ms": max(0, age)})
    else:
        workers = f", {metrics['workers']} workers" if "workers" in metrics else ""
        at = f"{time_text(metrics['time'])} ({_ago(age)} ago)"
        if running:
            state = f"running{workers}" if heard else f"silent, though {holder} has not ended{workers}, last seen {at}"
        else:
            # The last figures of a run that was stopped say so; without them it was killed, or the machine failed.
            state = f"not running{workers}, last seen {at}" if metrics["running"] else f"stopped since {at}"
        click.echo(f"pipeline {metrics['pipeline']}: {state}")
        if running and not heard:
            click.echo("it is only starting, or blocked: its log lines say where", err=True)
        right = [head for head in HEADS if head not in ("stage", "kind", "health")]
        rows = [cells(name, stage) for name, stage in metrics["stages"].items()]
        print_table(HEADS, rows, right=right, spare=["kind", "in", "out/s", "errors"])
    return 0 if running and heard else FAILED


async def newest(plan: Plan, data: Path) -> dict[str, Any]:
    """Return the newest figures of the workers that run, or else the last ever; BrokerError when there are none.

    Where the broker knows, `holder` says who runs the pipeline.
    """
    async with tool(plan, data) as broker:
        holder = {"holder": await broker.holder()} if hasattr(broker, "holder") else {}
        try:
            held = (await broker.ranges(plan.metrics))[0]
        except UnknownTopicError:
            raise BrokerError(f"pipeline {plan.name} has never run here, so there is nothing to show") from None
        by_worker: dict[bytes | None, dict[str, Any]] = {}
        since = time.time_ns() // 1_000_000 - SILENT_MS
        if held.end > held.begin:
            at = min(await broker.offset_at(plan.metrics, 0, since), held.end - 1)
            by_worker = await _figures(broker, plan, at)
            if not by_worker:
                # Of a pipeline that ended, while its dashboard goes on, what dashboards say comes last.
                by_worker = await _figures(broker, plan, at - _FURTHER_BACK)
    if not by_worker:
        raise BrokerError(f"pipeline {plan.name} has published no figures yet; try again in a second")
    alive = [metrics for metrics in by_worker.values() if metrics["running"] and metrics["time"] >= since]
    return merged(alive or [max(by_worker.values(), key=lambda metrics: int(metrics["time"]))]) | holder


def _at_rest(stage: dict[str, Any]) -> dict[str, Any]:
    """Return the last figures of a stage that runs no more: nothing flows, none is well; what had failed says so."""
    health = "stopped" if stage["health"] in ("ok", "stuck") else stage["health"]
    activity = stage["activity"] if stage["activity"] in ("ended", "failed") else "stopped"
    rates = {name: 0.0 for name in stage if name.endswith("_per_second")}
    return {**stage, **rates, "health": health, "activity": activity}


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
