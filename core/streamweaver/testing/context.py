"""A context for calling a plugin by hand: every kind's context in one, on a clock that stands until it is moved."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import attrs

from streamweaver.record import Record

P = ParamSpec("P")
T = TypeVar("T")

START = 1_750_000_000_000
"""Where a fake clock stands at first, in ms: 2025-06-15 15:06:40 UTC."""

BREATH_SECONDS = 0.001
"""What a sleep on a fake clock takes of real time."""


@attrs.define
class FakeClock:
    """A clock that moves only when told to; a `sleep` moves it, so nothing that waits takes any time.

    For a context called by hand, and for `run`: whoever sleeps in a pipeline moves the clock of all.
    """

    now_ms: int = START
    _moved: float = attrs.field(default=0.0, init=False)
    """Seconds that it was moved by; exact, for who sleeps less than a millisecond again and again must get on too."""

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        before, self._moved = self._moved, self._moved + seconds
        self.now_ms += round(self._moved * 1000) - round(before * 1000)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return self.now_ms

    def monotonic(self) -> float:
        """Seconds that it was moved by so far; a pipeline measures waits with it."""
        return self._moved

    async def sleep(self, seconds: float) -> None:
        """Move the clock, and let others run for a moment: a loop that only sleeps must not keep the processor."""
        self.advance(seconds)
        await asyncio.sleep(min(seconds, BREATH_SECONDS))


@attrs.define
class FakeState:
    """A state that is a dict: `values` may be looked at and set."""

    values: dict[Any, Any] = attrs.field(factory=dict)

    def get(self, key: str | bytes | int, default: Any = None, /) -> Any:
        """Return the value, or `default`."""
        return self.values.get(key, default)

    def __getitem__(self, key: str | bytes | int, /) -> Any:
        return self.values[key]

    def __setitem__(self, key: str | bytes | int, value: Any, /) -> None:
        self.values[key] = value

    def __delitem__(self, key: str | bytes | int, /) -> None:
        del self.values[key]

    def __contains__(self, key: object, /) -> bool:
        return key in self.values

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Go through everything stored."""
        return iter(list(self.values.items()))


@attrs.define(kw_only=True)
class FakeContext:
    """Fits `ProducerContext`, `TransformContext` and `SinkContext`; what the plugin reports is kept for the test."""

    pipeline: str = "test"
    stage: str = "stage"
    clock: FakeClock = attrs.field(factory=FakeClock)
    position: Any = None
    emitted: int = 0
    state: FakeState = attrs.field(factory=FakeState)
    topic: str = "topic"
    partition: int = 0
    topics: Sequence[str] = attrs.field(factory=lambda: ["topic"])
    data_dir: Path = Path()
    past: dict[str, list[Record]] = attrs.field(factory=dict)
    logged: list[tuple[str, str, dict[str, Any]]] = attrs.field(factory=list)
    counts: dict[str, int] = attrs.field(factory=dict)
    gauges: dict[str, float] = attrs.field(factory=dict)
    waiting: str | None = None

    def now(self) -> int:
        """Return the fake clock's time."""
        return self.clock.now_ms

    async def sleep(self, seconds: float) -> None:
        """Move the clock on at once, and let other tasks run."""
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def run_blocking(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in a thread."""
        return await asyncio.to_thread(function, *args, **kwargs)

    def log(
        self, event: str, /, *, level: Literal["debug", "info", "warning", "error"] = "info", **fields: Any
    ) -> None:
        """Keep the line in `logged`."""
        self.logged.append((level, event, fields))

    def waits_for(self, what: str | None) -> None:
        """Keep it in `waiting`."""
        self.waiting = what

    def count(self, name: str, amount: int = 1) -> None:
        """Keep the sum in `counts`."""
        self.counts[name] = self.counts.get(name, 0) + amount

    def gauge(self, name: str, value: float) -> None:
        """Keep the figure in `gauges`."""
        self.gauges[name] = value

    async def history(self, topic: str, limit: int) -> list[Record]:
        """Return the newest of what the test put into `past`."""
        return self.past.get(topic, [])[-limit:]
