"""`pipeline check`: everything that is wrong with a file, or what it describes."""

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import attrs
import click

from streamweaver.cli.failure import FAILED, INVALID
from streamweaver.cli.load import Loaded, data_folder, load, tool
from streamweaver.cli.output import print_json, print_table
from streamweaver.describe import pipeline
from streamweaver.errors import BrokerError, ConfigError, Finding, StreamWeaverError
from streamweaver.graph.plan import Plan

CONNECT_SECONDS = 10.0
"""How long one connection may take."""


@attrs.frozen
class Connection:
    """How opening one connection went."""

    part: str
    ok: bool
    text: str


def check_pipeline(file: Path, overrides: tuple[str, ...], data: Path | None, *, connect: bool, as_json: bool) -> int:
    """Check a file, and its connections if asked to; returns the exit status."""
    try:
        loaded = load(file, overrides)
    except ConfigError as error:
        if not as_json:
            raise
        print_json({"ok": False, "findings": _plain(error.findings)})
        return INVALID
    plan = loaded.plan
    connections = connect_all(plan, data_folder(plan, data)) if connect else []
    ok = all(connection.ok for connection in connections)
    if as_json:
        tried = {"connections": [attrs.asdict(connection) for connection in connections]} if connect else {}
        print_json({"ok": ok, "findings": _plain(loaded.warnings), **pipeline(plan), **tried})
    else:
        _print(file, loaded)
        for connection in connections:
            state = "connected" if connection.ok else "not connected"
            click.echo(f"{connection.part}: {state}: {connection.text}", err=not connection.ok)
    return 0 if ok else FAILED


def _plain(findings: list[Finding]) -> list[dict[str, Any]]:
    return [attrs.asdict(finding) for finding in findings]


def _print(file: Path, loaded: Loaded) -> None:
    for warning in loaded.warnings:
        click.echo(str(warning), err=True)
    described = pipeline(loaded.plan)
    click.echo(f"{file}: ok; pipeline {described['name']}, broker {described['broker']['use']}")
    click.echo()
    stages = [
        [
            stage["name"],
            stage["kind"],
            stage["use"] or "-",
            ", ".join(stage["from"]) or "-",
            stage["to"] or "-",
            stage["delivery"],
        ]
        for stage in described["stages"]
    ]
    print_table(["stage", "kind", "use", "reads", "writes", "guarantee"], stages)
    click.echo()
    topics = [
        [
            topic["name"],
            topic["partitions"],
            topic["codec"],
            topic["cleanup"],
            retention(topic),
            ", ".join(topic["written_by"]) or "-",
            ", ".join(topic["read_by"]) or "-",
        ]
        for topic in described["topics"]
    ]
    heads = ["topic", "partitions", "codec", "cleanup", "kept", "written by", "read by"]
    print_table(heads, topics, right=["partitions"])


def retention(topic: dict[str, Any]) -> str:
    """Return how long and how much of a topic is kept, for reading."""
    parts = []
    if topic["retention_ms"] is not None:
        seconds = topic["retention_ms"] / 1000
        unit, size = next(
            (
                (unit, size)
                for unit, size in (("d", 86400), ("h", 3600), ("m", 60))
                if seconds >= size and not seconds % size
            ),
            ("s", 1),
        )
        parts.append(f"{seconds / size:g}{unit}")
    if topic["retention_bytes"] is not None:
        parts.append(f"{topic['retention_bytes']} B")
    return ", ".join(parts) or "all"


# -- connections ----------------------------------------------------------------------------------


def connect_all(plan: Plan, data: Path) -> list[Connection]:
    """Open the broker as a tool does, and let each plugin that can `probe` do so; nothing is created or moved.

    A plugin's optional `probe()` (plain or `async`) reaches what the plugin will need, and raises if it cannot. Its
    `open` is not called: that may take over a file or a port from the pipeline that runs.
    """
    # A broker that shares no work keeps everything in the data folder.
    new = not plan.broker.build().shares_work and not data.exists()
    return [_new_folder(plan, data) if new else asyncio.run(_broker(plan, data)), *asyncio.run(_probe_all(plan))]


async def _broker(plan: Plan, data: Path) -> Connection:
    name = _name(plan)
    try:
        async with asyncio.timeout(CONNECT_SECONDS), tool(plan, data) as opened:
            there = await opened.topics()
    except (StreamWeaverError, TimeoutError, OSError) as error:
        return _failed(name, plan, error)
    wrong = [
        f"topic {topic.name} has {there[topic.name].partitions} partitions, declared are {topic.spec.partitions}"
        for topic in plan.topics.values()
        if topic.name in there and there[topic.name].partitions != topic.spec.partitions
    ]
    if wrong:
        return _failed(name, plan, BrokerError("; ".join(wrong)))
    missing = sum(name not in there for name in plan.topics)
    return Connection(name, True, f"{len(there)} topics" + (f", {missing} more with the next start" if missing else ""))


def _name(plan: Plan) -> str:
    return f"broker {plan.broker.plugin.name}"


def _new_folder(plan: Plan, data: Path) -> Connection:
    name = _name(plan)
    parent = next(folder for folder in data.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return Connection(name, False, f"{data} cannot be made: {parent} cannot be written")
    return Connection(name, True, f"nothing stored yet; the first start makes {data}")


async def _probe_all(plan: Plan) -> list[Connection]:
    connections = []
    for stage in plan.stages.values():
        steps = [(f"stage {stage.name}, step {step.name}", step.use) for step in stage.steps]
        for part, use in [(f"stage {stage.name}", stage.use), *steps]:
            plugin = None if use is None else use.build()
            if hasattr(plugin, "probe"):
                connections.append(await _probe(part, plugin, plan))
    return connections


async def _probe(part: str, plugin: Any, plan: Plan) -> Connection:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            result = plugin.probe()
            if isinstance(result, Awaitable):
                await result
    except Exception as error:
        return _failed(part, plan, error)
    return Connection(part, True, "reached")


def _failed(part: str, plan: Plan, error: Exception) -> Connection:
    return Connection(part, False, plan.redact(_text(error)))


def _text(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CONNECT_SECONDS:.0f} s"
    text = "; ".join(str(error).splitlines()) or type(error).__name__
    return text if isinstance(error, StreamWeaverError) else f"{type(error).__name__}: {text}"
