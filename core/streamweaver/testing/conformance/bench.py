"""One stage of the real engine, with the plugin under test in it, on an embedded log in an empty folder."""

import asyncio
import contextlib
import inspect
import selectors
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from streamweaver.contracts import Broker, BrokerContext, Fetched, Rows, TopicSpec
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.record import Record
from streamweaver.runtime.clock import Clock
from streamweaver.runtime.codec import decode
from streamweaver.runtime.dead_letter import DeadLetter, from_row
from streamweaver.runtime.flow import run_flow
from streamweaver.runtime.plugin_life import call
from streamweaver.runtime.producer import Stop, run_producer
from streamweaver.runtime.scope import Scope
from streamweaver.runtime.sink import run_sink
from streamweaver.testing.conformance.clock import QuickClock
from streamweaver.testing.conformance.probe import probed
from streamweaver.testing.conformance.suite import Suite
from streamweaver.testing.context import START
from streamweaver.testing.harness import plan_of
from streamweaver.testing.single import INPUT, OUTPUT, around, as_yaml

STAGE = "stage"

Wrap = Callable[[Any], Any]


def pipeline(suite: Suite, **words: Any) -> Plan:
    """Return the plan of a pipeline of one stage that uses the plugin; `words` stand beside it."""
    plugin, options = suite.plugin, dict(suite.options)
    if plugin.kind != "producer":
        words = {"retry": {"initial": "1ms", "longest": "1ms"}, **words}
    file: dict[str, Any] = {
        "name": "conformance",
        "delivery": "best_effort",
        "broker": {"use": "embedded", "durability": "process"},
        "topics": {INPUT: {"external": True}},
    }
    if plugin.kind == "codec":
        file["topics"] = {INPUT: {"external": True, "codec": plugin.name}, OUTPUT: {"codec": plugin.name}}
        file["flows"] = {STAGE: {"from": INPUT, "to": OUTPUT, **words}}
    else:
        if plugin.kind == "transform":
            options["concurrency"] = words.pop("concurrency", 1)
        file |= around(plugin, options, stage=STAGE, words=words)
    return plan_of(as_yaml(file), suite.targets)


@attrs.define
class Running:
    """A stage that runs."""

    scope: Scope
    task: asyncio.Task[None]
    stop: Stop
    patience: float
    _progress: asyncio.Event

    async def until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait until something is so; AssertionError when the stage ends, or time is up, before."""
        try:
            async with asyncio.timeout(self.patience):
                while not reached():
                    if self.task.done():
                        raise AssertionError(f"{what}: the stage ended before, {failure(self.task)}")
                    self._progress.clear()
                    progress = asyncio.create_task(self._progress.wait())
                    try:
                        # Not everything that is waited for is announced.
                        await asyncio.wait({progress, self.task}, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        progress.cancel()
        except TimeoutError:
            raise AssertionError(
                f"{what}: not within {self.patience:g} s; the stage is {self.scope.activity.what}"
            ) from None

    async def told(self, event: asyncio.Event, what: str) -> None:
        """Wait for an event, and go on in the very moment of it; AssertionError as in `until`."""
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait({waiting, self.task}, timeout=self.patience, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not event.is_set():
            ended = f", {failure(self.task)}" if self.task.done() else ""
            raise AssertionError(f"{what}: it is not; the stage is {self.scope.activity.what}{ended}")

    async def settled(self, end: int) -> None:
        """Wait until every input record before the offset `end` is settled."""
        await self.until(lambda: self.done_to >= end, f"{end} records are to be settled")

    @property
    def done_to(self) -> int:
        """The next offset of the input that the stage will settle."""
        return self.scope.settled.get((INPUT, 0), 0)

    async def ended(self) -> None:
        """Wait until the stage has ended by itself; AssertionError when it failed."""
        await asyncio.wait({self.task}, timeout=self.patience)
        assert self.task.done(), f"the stage did not end within {self.patience:g} s; it is {self.scope.activity.what}"
        assert failure(self.task) == ENDED, failure(self.task)


ENDED = "without an error"


def failure(task: "asyncio.Task[None]") -> str:
    """Say how a stage's task ended."""
    error = None if task.cancelled() else task.exception()
    return ENDED if error is None else f"with {type(error).__name__}: {error}"


@attrs.define
class Bench:
    """A plugin's stage, to be started and stopped as often as wanted on the same log."""

    suite: Suite
    plan: Plan
    broker: Broker
    folder: Path
    clock: Clock
    fed: int = 0
    lines: list[str] = attrs.field(factory=list)
    """What the stage and the plugin logged, without any blanking of secrets."""

    # -- input ------------------------------------------------------------------------------------

    async def feed(self, values: Iterable[Any], *, keys: Sequence[bytes | None] | None = None) -> int:
        """Append records to the input; returns the offset behind the last."""
        codec = self.plan.topics[INPUT].codec
        return await self.feed_bytes([None if value is None else codec.encode(value) for value in values], keys=keys)

    async def feed_bytes(self, values: Sequence[bytes | None], *, keys: Sequence[bytes | None] | None = None) -> int:
        """Append records whose values are encoded already."""
        if values:
            numbers = range(self.fed, self.fed + len(values))
            names = [b"key-%d" % (number % 3) for number in numbers] if keys is None else keys
            unit = self.broker.begin()
            unit.append(INPUT, 0, Rows([*names], [*values], [START + number for number in numbers]))
            await unit.commit()
            self.fed += len(values)
        return self.fed

    # -- the stage --------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self, wrap: Wrap | None = None, **changes: Any) -> AsyncIterator[Running]:
        """Run the stage; at the end cancel it, as the engine does, and see that it ends.

        `wrap` puts a probe around the plugin, `changes` are to the stage's plan.
        """
        plan = self.plan if wrap is None else probed(self.plan, STAGE, wrap)
        progress = asyncio.Event()
        scope = Scope(
            plan=plan,
            stage=attrs.evolve(plan.stages[STAGE], **changes),
            broker=self.broker,
            clock=self.clock,
            data_dir=self.folder / "data",
            log=self._log,
            redact=str,
            observers=Observers(self.lines.append),
            progressed=progress.set,
        )
        stop = Stop()
        patience = self.suite.patience_seconds
        task = asyncio.create_task(_run(scope, stop))
        try:
            yield Running(scope, task, stop, patience, progress)
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=patience)
            scope.threads.close()
        assert task.done(), (
            f"the stage did not end within {patience:g} s of being cancelled; it is {scope.activity.what}"
        )
        closing = [line for line in self.lines if "close failed" in line]
        assert not closing, closing[0]

    async def process(self, values: Iterable[Any], wrap: Wrap | None = None, **changes: Any) -> Running:
        """Feed values, run the stage until they are settled, and stop it."""
        end = await self.feed(values)
        async with self.running(wrap, **changes) as running:
            await running.settled(end)
        return running

    def _log(self, level: str, event: str, /, **fields: Any) -> None:
        self.lines.append(f"{level}: {event} {fields}")

    # -- what came of it --------------------------------------------------------------------------

    async def outputs(self) -> list[Record]:
        """Return what the stage has written to its topic."""
        codec = self.plan.topics[OUTPUT].codec
        return [record for rows in await self._rows(OUTPUT) for record in decode(rows, codec)[0]]

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters."""
        return [
            from_row(rows.keys[i], rows.values[i], rows.timestamps[i], rows.headers[i] if rows.headers else ())
            for rows in await self._rows(self.plan.dead_letters)
            for i in range(len(rows))
        ]

    async def committed(self) -> int:
        """Return the input offset up to which the stage has committed."""
        return (await self.broker.offsets(self.plan.group(STAGE))).get((INPUT, 0), 0)

    async def stored(self) -> list[int]:
        """Return the numbers of the records that a sink has stored, as its author reads them back."""
        assert self.suite.read is not None, "asked only of suites with `read`"
        try:
            return [int(number) for number in await call(self.suite.read, self.suite.chosen())]
        except FileNotFoundError:
            return []

    async def _rows(self, topic: str) -> list[Fetched]:
        (held,) = await self.broker.ranges(topic)
        found: list[Fetched] = []
        if held.end == held.begin:
            return found
        reader = await self.broker.reader({(topic, 0): held.begin})
        try:
            while not found or found[-1].next_offset < held.end:
                found += await reader.poll()
        finally:
            await reader.close()
        return found


async def _run(scope: Scope, stop: Stop) -> None:
    if scope.stage.kind == "producer":
        await run_producer(scope, stop)
    elif scope.stage.kind == "flow":
        await run_flow(scope)
    else:
        await run_sink(scope)


@contextlib.asynccontextmanager
async def bench(
    suite: Suite, folder: Path, name: str = "bench", clock: Clock | None = None, **words: Any
) -> AsyncIterator[Bench]:
    """Prepare the folder, and open a log for a stage with the plugin; `name` sets several logs in one folder apart."""
    if suite.prepare is not None and not (folder / "streamweaver").exists():
        await call(suite.prepare)
    plan = pipeline(suite, **words)
    broker: Broker = plan.broker.build()
    at = folder / "streamweaver" / name
    await broker.open(BrokerContext(pipeline=plan.name, data_dir=at))
    try:
        own = [TopicSpec(name=name) for name in (INPUT, OUTPUT, plan.dead_letters, plan.replay(STAGE))]
        await broker.create(own)
        yield Bench(suite, plan, broker, at, clock or QuickClock())
    finally:
        await broker.close()


# -- running a check ------------------------------------------------------------------------------


class _CountingSelector(selectors.DefaultSelector):
    """Counts how often the event loop asks for news, which it does once a turn."""

    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for news."""
        self.turns += 1
        return super().select(timeout)


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that knows how many turns it has made: many of them while nothing happens are a busy loop."""

    def __init__(self) -> None:
        self._counting = _CountingSelector()
        super().__init__(self._counting)

    @property
    def turns(self) -> int:
        """Turns since the beginning."""
        return self._counting.turns


def finish(check: Any) -> None:
    """Run what a check returned to its end, in an event loop of its own."""
    if not inspect.iscoroutine(check):
        return
    loop = CountingLoop()
    # What a plugin leaves behind is told by the behaviour that asks for it, not by the loop's last words.
    loop.set_exception_handler(lambda _loop, _context: None)
    try:
        loop.run_until_complete(check)
    finally:
        # Not `asyncio.run`: it would wait for ever for a task that does not end when it is cancelled.
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        loop.close()


def busy_threads() -> set[threading.Thread]:
    """Return the threads that somebody started on purpose; the event loop's own pool is nobody's."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}
