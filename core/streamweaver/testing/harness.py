"""Running a whole pipeline inside a test: YAML text and plugins in, what every topic then holds out."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from streamweaver.config import parse, resolve
from streamweaver.config.node import Findings
from streamweaver.contracts import Broker, BrokerContext, Codec, Fetched
from streamweaver.errors import RunError
from streamweaver.graph.build import build
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.record import Record
from streamweaver.registry import Registry
from streamweaver.runtime.clock import Clock, SystemClock
from streamweaver.runtime.codec import decode
from streamweaver.runtime.dead_letter import DeadLetter, from_row
from streamweaver.runtime.engine import Engine, RunOptions, Summary

FILE = "pipeline.yaml"
"""What findings call the text."""

During = Callable[[Engine], Awaitable[None]]


@attrs.frozen
class LogLine:
    """One line that the engine or a plugin logged."""

    level: str
    event: str
    fields: dict[str, Any]


@attrs.frozen
class Ran:
    """A run that has ended, and everything that it left behind."""

    plan: Plan
    summary: Summary
    rows: Mapping[str, list[Fetched]]
    """What each topic holds, by topic and partition, as stored."""
    log: list[LogLine]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """The counts of each stage, as `pipeline up --json` prints them."""
        return self.summary.counts

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The pipeline's dead letters, of this run and earlier ones on the same data, in order."""
        return [
            from_row(rows.keys[i], rows.values[i], rows.timestamps[i], rows.headers[i] if rows.headers else ())
            for rows in self.rows[self.plan.dead_letters]
            for i in range(len(rows))
        ]

    def records(self, topic: str) -> list[Record]:
        """Return what a topic holds, decoded, partition after partition; a record that cannot be decoded raises."""
        codec: Codec = self.plan.topics[topic].codec
        records: list[Record] = []
        for rows in self.rows[topic]:
            good, bad = decode(rows, codec)
            if bad:
                raise bad[0].error
            records += good
        return records

    def values(self, topic: str) -> list[Any]:
        """Return the values of `records`."""
        return [record.value for record in self.records(topic)]


def run(pipeline: str, plugins: Iterable[object] = (), **options: Any) -> Ran:
    """Run a pipeline in a test that is no coroutine; options as of `run_async`."""
    return asyncio.run(run_async(pipeline, plugins, **options))


async def run_async(
    pipeline: str,
    plugins: Iterable[object] = (),
    *,
    data_dir: Path | None = None,
    fails: bool = False,
    until_idle: bool = True,
    duration_seconds: float | None = None,
    only: Iterable[str] | None = None,
    clock: Clock | None = None,
    observers: Iterable[object] = (),
    during: During | None = None,
) -> Ran:
    """Run the pipeline of a YAML text until its producers have ended and everything has flowed through.

    `plugins` are decorated classes and functions, usable by name beside those installed. The data goes to a folder
    of its own that is removed at the end; give `data_dir` to run several times on the same data, as a restart would.
    `during` gets the running engine, to stop it or to look at it. ConfigError when the text is wrong; RunError when
    the pipeline fails, which includes counts that do not balance, unless it is expected to (`fails`).
    """
    if data_dir is None:
        with tempfile.TemporaryDirectory(prefix="streamweaver-") as folder:
            return await run_async(
                pipeline,
                plugins,
                data_dir=Path(folder),
                fails=fails,
                until_idle=until_idle,
                duration_seconds=duration_seconds,
                only=only,
                clock=clock,
                observers=observers,
                during=during,
            )
    plan = plan_of(pipeline, plugins)
    lines: list[LogLine] = []

    def log(level: str, event: str, /, **fields: Any) -> None:
        lines.append(LogLine(level, event, fields))

    watching = Observers(lambda text: log("error", text))
    for observer in observers:
        watching.connect(observer)
    engine = Engine(
        plan,
        RunOptions(
            duration_seconds=duration_seconds, until_idle=until_idle, only=None if only is None else frozenset(only)
        ),
        data_dir=data_dir,
        clock=clock or SystemClock(),
        log=log,
        redact=plan.redact,
        observers=watching,
    )
    running = asyncio.create_task(engine.run())
    try:
        if during is not None:
            await during(engine)
        summary = await running
    finally:
        if not running.done():
            engine.abort()
            await asyncio.wait({running})
    if summary.error is not None and not fails:
        raise RunError(summary.error)
    return Ran(plan, summary, await stored(plan, data_dir), lines)


def plan_of(pipeline: str, plugins: Iterable[object] = ()) -> Plan:
    """Return the checked plan of a YAML text; ConfigError with every finding when it is wrong."""
    findings = Findings()
    tree = resolve(parse(pipeline, FILE), os.environ, Path(), findings)
    findings.raise_errors()
    registry = Registry()
    registry.add(plugins)
    return build(tree, registry)[0]


async def stored(plan: Plan, data_dir: Path) -> dict[str, list[Fetched]]:
    """Return what each topic of a pipeline holds, from its data folder."""
    broker: Broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline=plan.name, data_dir=data_dir, role="tool"))
    try:
        return {topic: await _all(broker, topic) for topic in await broker.topics()}
    finally:
        await broker.close()


async def _all(broker: Broker, topic: str) -> list[Fetched]:
    found: list[Fetched] = []
    left = {number: held for number, held in enumerate(await broker.ranges(topic)) if held.end > held.begin}
    if not left:
        return found
    reader = await broker.reader({(topic, number): held.begin for number, held in left.items()})
    try:
        while left:
            for rows in await reader.poll():
                found.append(rows)
                if rows.partition in left and rows.next_offset >= left[rows.partition].end:
                    del left[rows.partition]
    finally:
        await reader.close()
    return sorted(found, key=lambda rows: (rows.partition, rows.next_offset))
