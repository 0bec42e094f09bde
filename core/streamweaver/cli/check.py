"""`pipeline check`: everything that is wrong with a file, or what it describes."""

import asyncio
import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from streamweaver.cli.failure import FAILED, INVALID
from streamweaver.cli.load import Loaded, data_folder, load, say_warnings, tool
from streamweaver.cli.output import print_json, print_table
from streamweaver.describe import pipeline
from streamweaver.errors import BrokerError, ConfigError, Finding, StreamWeaverError
from streamweaver.graph.plan import Plan, StagePlan

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
    loaded = attrs.evolve(loaded, warnings=sorted([*loaded.warnings, *plugin_warnings(plan)]))
    connections = connect_all(plan, data_folder(plan, data)) if connect else []
    ok = all(connection.ok for connection in connections)
    if as_json:
        tried = {"connections": [attrs.asdict(connection) for connection in connections]} if connect else {}
        print_json({"ok": ok, "findings": _plain(loaded.warnings), **pipeline(plan), **tried})
    else:
        _print(file, loaded)
        for connection in connections:
            state = "connected" if connection.ok else "cannot be used"
            click.echo(f"{connection.part}: {state}: {connection.text}", err=not connection.ok)
    return 0 if ok else FAILED


def plugin_warnings(plan: Plan) -> list[Finding]:
    """Return what the plugins say that may still come, such as an input file, at the places of their stages."""
    found = []
    for stage, part, plugin in _plugins(plan):
        for text in plugin.warnings() if hasattr(plugin, "warnings") else ():
            at = stage.place
            found.append(Finding(at.file, at.line, at.column, plan.redact(f"{part}: {text}"), warning=True))
    return found


def _plugins(plan: Plan) -> Iterator[tuple[StagePlan, str, Any]]:
    """Go through all plugins of the stages, each made anew, with its stage and its name for people."""
    for stage in plan.stages.values():
        steps = [(f"stage {stage.name}, step {step.name}", step.use) for step in stage.steps]
        for part, use in [(f"stage {stage.name}", stage.use), *steps]:
            if use is not None:
                yield stage, part, use.build()


def _plain(findings: list[Finding]) -> list[dict[str, Any]]:
    return [attrs.asdict(finding) for finding in findings]


def _print(file: Path, loaded: Loaded) -> None:
    say_warnings(loaded)
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

    A plugin's `open` is not called: that may take over a file or a port from the pipeline that runs.
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
    probing = (_probe(part, plugin, plan) for _, part, plugin in _plugins(plan) if hasattr(plugin, "probe"))
    return list(await asyncio.gather(*probing))


async def _probe(part: str, plugin: Any, plan: Plan) -> Connection:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            # Plain ones may block; one that never ends must not keep us from the others, nor from ending.
            result = plugin.probe() if inspect.iscoroutinefunction(plugin.probe) else _in_thread(plugin.probe)
            await result
    except (Exception, SystemExit) as error:  # some clients end the process where they give up
        return _failed(part, plan, error)
    return Connection(part, True, "reached")


def _in_thread(function: Callable[[], Any]) -> "asyncio.Future[Any]":
    """Call a function in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result(result) if error is None else future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except (Exception, SystemExit) as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # nobody waits any more, and the loop is closed
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="streamweaver-probe", daemon=True).start()
    return future


def _failed(part: str, plan: Plan, error: BaseException) -> Connection:
    return Connection(part, False, plan.redact(_text(error)))


def _text(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the plugin tried to end the program, with {error.code!r}"
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CONNECT_SECONDS:.0f} s"
    text = "; ".join(str(error).splitlines()) or type(error).__name__
    return text if isinstance(error, StreamWeaverError) else f"{type(error).__name__}: {text}"
