"""Running a pipeline, or one plugin, inside a test: records and plugins in, everything that is left behind out."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from streamweaver.config import apply, parse, resolve
from streamweaver.config.node import Findings
from streamweaver.errors import RunError
from streamweaver.graph.build import build
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.plugin import plugin_of
from streamweaver.record import Record
from streamweaver.registry import Registry
from streamweaver.runtime.clock import Clock, SystemClock
from streamweaver.runtime.codec import Encoder
from streamweaver.runtime.engine import Engine, RunOptions, Summary
from streamweaver.testing.context import FakeClock
from streamweaver.testing.ran import LogLine, Ran, left, opened, stored
from streamweaver.testing.scratch import ScratchLog
from streamweaver.testing.single import INPUT, OUTPUT, around, as_yaml

__all__ = ["LogLine", "Ran", "plan_of", "run", "run_async", "stored"]

FILE = "pipeline.yaml"
"""What findings call the text."""

During = Callable[[Engine], Awaitable[None]]


def run(what: object, plugins: Iterable[object] = (), /, **options: Any) -> Ran:
    """Run a pipeline, or one plugin, in a test that is no coroutine; everything else as of `run_async`."""
    return asyncio.run(run_async(what, plugins, **options))


async def run_async(
    what: object,
    plugins: Iterable[object] = (),
    /,
    *,
    records: Mapping[str, Iterable[Any]] | Iterable[Any] = (),
    options: Mapping[str, Any] | None = None,
    log: ScratchLog | None = None,
    data_dir: Path | None = None,
    fails: bool = False,
    until_idle: bool = True,
    duration_seconds: float | None = None,
    only: Iterable[str] | None = None,
    clock: Clock | None = None,
    observers: Iterable[object] = (),
    during: During | None = None,
) -> Ran:
    """Run the pipeline of a YAML text, or one producer, transform or sink, until everything has flowed through.

    `plugins` are decorated classes and functions, usable by name beside those installed. One plugin runs in a pipeline
    around it, in a stage of its name, with `options` as they would stand beside `use`. `records` are there before
    anything runs: values, or a `Record` where key, time or headers matter; those of a plugin, or for a pipeline a list
    for each topic. A producer is run to its end: for one that has none, `count` among the options ends it.

    The data goes to a folder of its own that is removed at the end; give `data_dir` to run several times on the same
    data, as a restart would, or a `log` from a fixture. One plugin runs on a `FakeClock`, so that nothing it waits for
    takes any time, a pipeline on the machine's clock; `clock` is another one. Nobody moves a `FakeClock` while all are
    idle, so a step's `tick` is not called on it and a run on it cannot last `duration_seconds`: call `tick` by hand,
    or run the step in a pipeline, for `duration_seconds` and not `until_idle`. `during` gets the running engine, to
    stop it or to look at it, and is cancelled when the pipeline fails meanwhile. ConfigError when the text or the
    options are wrong; RunError when the pipeline fails, which includes counts that do not balance, unless it is
    expected to (`fails`).
    """
    name = log.name if log is not None else str
    output = name(OUTPUT)
    if isinstance(what, str):
        if options:
            raise ValueError("run: got options beside a pipeline, expected them in its text")
        plan = _on(log, what, plugins)
        given = _by_topic(records)
        clock = clock or SystemClock()
    else:
        plugin = plugin_of(what)
        given = {name(INPUT): list(_of_plugin(plugin.kind, records))} if records else {}
        parts = around(plugin, options or {}, stage=plugin.name, source=name(INPUT), target=output)
        plan = _on(log, as_yaml({"name": name("run"), **parts}), [what, *plugins])
        clock = clock or FakeClock()
    if duration_seconds is not None and isinstance(clock, FakeClock):
        raise ValueError(
            "run: got duration_seconds on a clock that stands while nobody sleeps, expected it on the machine's, "
            "as a pipeline runs on; leave it out, or run the plugin in the text of a pipeline"
        )
    lines: list[LogLine] = []

    def write(level: str, event: str, /, **fields: Any) -> None:
        lines.append(LogLine(level, event, fields))

    watching = Observers(lambda text: write("error", text))
    for observer in observers:
        watching.connect(observer)
    chosen = RunOptions(
        duration_seconds=duration_seconds, until_idle=until_idle, only=None if only is None else frozenset(only)
    )
    with _folder(data_dir, log) as folder:
        if given:
            await _feed(plan, folder, given, clock)
        engine = Engine(plan, chosen, data_dir=folder, clock=clock, log=write, redact=plan.redact, observers=watching)
        summary = await _run(engine, during)
        if summary.error is not None and not fails:
            raise RunError(summary.error)
        rows, kept = await left(plan, folder)
    metrics = {stage: scope.metrics.snapshot() for stage, scope in engine.scopes.items()}
    return Ran(plan, summary, rows, lines, metrics, kept, output)


@contextlib.contextmanager
def _folder(data_dir: Path | None, log: ScratchLog | None) -> Iterator[Path]:
    given = log.data_dir if data_dir is None and log is not None else data_dir
    if given is not None:
        yield given
    else:
        with tempfile.TemporaryDirectory(prefix="streamweaver-") as folder:
            yield Path(folder)


async def _run(engine: Engine, during: During | None) -> Summary:
    """Run to the end; what `during` raises comes out, with nothing left running."""
    if during is None:
        return await engine.run()
    running = asyncio.create_task(engine.run())
    looking = asyncio.ensure_future(during(engine))
    try:
        await asyncio.wait({running, looking}, return_when=asyncio.FIRST_COMPLETED)
        has_failed = running.done() and running.result().error is not None
        if looking.done() or not has_failed:
            # Also when the run has ended well, and it has not: what it looks for may be what it has stopped.
            await looking
        return await running
    finally:
        looking.cancel()
        if not running.done():
            engine.abort()
        await asyncio.wait({running, looking})


# -- what goes in ---------------------------------------------------------------------------------


def _by_topic(records: Mapping[str, Iterable[Any]] | Iterable[Any]) -> dict[str, list[Any]]:
    if isinstance(records, Mapping):
        return {topic: list(values) for topic, values in records.items()}
    if list(records):
        raise ValueError("run: got a list of records beside a pipeline, expected a list for each topic, by its name")
    return {}


def _of_plugin(kind: str, records: Any) -> Iterable[Any]:
    if kind == "producer":
        raise ValueError("run: got records for a producer, expected none: it brings its own")
    if isinstance(records, Mapping):
        raise TypeError("run: got records by topic for one plugin, expected a list of values or records")
    return records  # type: ignore[no-any-return]


async def _feed(plan: Plan, data_dir: Path, given: Mapping[str, list[Any]], clock: Clock) -> None:
    """Append the records to their topics; a record that cannot be stored raises."""
    for topic in given:
        if topic not in plan.topics:
            raise ValueError(f"run: got records for {topic!r}, which is no topic of the pipeline")
    async with opened(plan, data_dir, "run") as broker:
        await broker.create([plan.topics[topic].spec for topic in given])
        unit = broker.begin()
        for topic, items in given.items():
            made = plan.topics[topic]
            encoder = Encoder(made.codec, made.spec.partitions, None, broker.max_record_bytes)
            listed = [item if isinstance(item, Record) else Record(item) for item in items]
            for partition, rows in encoder.encode(listed, 0, clock.now()).items():
                unit.append(topic, partition, rows)
        await unit.commit()


def plan_of(pipeline: str, plugins: Iterable[object] = ()) -> Plan:
    """Return the checked plan of a YAML text; ConfigError with every finding when it is wrong."""
    return _on(None, pipeline, plugins)


def _on(log: ScratchLog | None, pipeline: str, plugins: Iterable[object]) -> Plan:
    findings = Findings()
    tree = parse(pipeline, FILE)
    if log is not None:
        tree = apply(tree, f"broker={as_yaml(log.broker)}", findings=findings)
    tree = resolve(tree, os.environ, Path(), findings)
    findings.raise_errors()
    registry = Registry()
    registry.add(plugins)
    return build(tree, registry)[0]
