"""What the engine lends to plugins: the contexts of the contracts, made real."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

import attrs

from streamweaver.metrics import StageMetrics
from streamweaver.record import Record
from streamweaver.runtime.clock import Clock
from streamweaver.runtime.state import StateView
from streamweaver.runtime.thread import Thread
from streamweaver.text import clean

P = ParamSpec("P")
T = TypeVar("T")

THREAD_NAME = "streamweaver-stage"
"""Begins the names of the threads that plugins' blocking code runs in."""


class Log(Protocol):
    """Where log lines of a stage go; redaction and form are the receiver's business."""

    def __call__(self, level: str, event: str, /, **fields: Any) -> None:
        """Write one line."""


@attrs.define
class Threads:
    """One thread for a stage's blocking code, started at the first use."""

    _thread: Thread | None = None

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in the thread; calls queue up."""
        if self._thread is None:
            self._thread = Thread(THREAD_NAME)
        result: T = await self._thread.run(functools.partial(function, *args, **kwargs))
        return result

    def close(self) -> None:
        """Let the thread end after what it is doing."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None


@attrs.define
class StageContext:
    """The part that every kind of plugin gets, one a stage."""

    pipeline: str
    stage: str
    clock: Clock
    metrics: StageMetrics
    write_log: Log
    threads: Threads = attrs.field(factory=Threads)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return self.clock.now()

    async def sleep(self, seconds: float) -> None:
        """Wait on the stage's clock."""
        await self.clock.sleep(seconds)

    async def run_blocking(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking code in the stage's thread."""
        return await self.threads.run(function, *args, **kwargs)

    def log(
        self, event: str, /, *, level: Literal["debug", "info", "warning", "error"] = "info", **fields: Any
    ) -> None:
        """Write one log line, marked with the stage."""
        self.write_log(level, event, stage=self.stage, **fields)

    def waits_for(self, what: str | None) -> None:
        """Say what the plugin waits for."""
        self.metrics.waits_for = None if what is None else clean(what)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter of the stage's own."""
        name = clean(name)
        self.metrics.counters[name] = self.metrics.counters.get(name, 0) + int(amount)

    def gauge(self, name: str, value: float) -> None:
        """Set a figure of the stage's own."""
        # A number of another library would keep all figures from being published.
        self.metrics.gauges[clean(name)] = float(value)


@attrs.define
class ProducerStageContext(StageContext):
    """A producer's context, made anew for each call of `produce`."""

    position: Any = None
    emitted: int = 0


@attrs.define(kw_only=True)
class StepContext(StageContext):
    """A step's context for one partition. For `open`, which belongs to no partition, `state` is not set."""

    state: StateView = attrs.field(default=None)
    topic: str = ""
    partition: int = 0


@attrs.define(kw_only=True)
class SinkStageContext(StageContext):
    """A sink's context."""

    topics: Sequence[str]
    data_dir: Path
    read_history: Callable[[str, int], Awaitable[list[Record]]]

    async def history(self, topic: str, limit: int) -> list[Record]:
        """Return up to `limit` of the newest records of a topic, oldest first."""
        return await self.read_history(topic, limit)
