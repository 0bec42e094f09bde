"""What plugins are lent: clock, log, figures, a thread."""

import asyncio
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.runtime.runtime_kit import ManualClock
from streamweaver.metrics import StageMetrics
from streamweaver.record import Record
from streamweaver.runtime.context import ProducerStageContext, SinkStageContext, StageContext, Threads


def stage(lines: list[Any] | None = None) -> StageContext:
    def log(level: str, event: str, /, **fields: Any) -> None:
        if lines is not None:
            lines.append((level, event, fields))

    return StageContext("pipeline", "stage", ManualClock(5.0), StageMetrics(), log)


async def test_time_is_the_clocks() -> None:
    """So that tests can set it."""
    context = stage()
    assert context.now() == 5000
    await context.sleep(2)
    assert context.now() == 7000


def test_a_log_line_is_marked_with_the_stage() -> None:
    """Level and fields are the plugin's."""
    lines: list[Any] = []
    stage(lines).log("hello", level="warning", n=1)
    assert lines == [("warning", "hello", {"stage": "stage", "n": 1})]


def test_figures_of_the_plugins_own_are_published() -> None:
    """Counters add up, gauges are set."""
    context = stage()
    context.count("seen")
    context.count("seen", 4)
    context.gauge("temperature", 1.0)
    context.gauge("temperature", 2.0)
    context.waits_for("spring")
    assert context.metrics.waits_for == "spring"
    assert context.metrics.snapshot()["counters"] == {"seen": 5}
    assert context.metrics.snapshot()["gauges"] == {"temperature": 2.0}


def test_names_of_undecodable_files_can_be_published() -> None:
    """A lone surrogate, which no UTF-8 has, would keep every stage's figures from being published."""
    context = stage()
    context.count("caf\udce9")
    context.count("caf\udce9")
    context.gauge("caf\udce9", 1.0)
    context.waits_for("caf\udce9")
    assert (context.metrics.counters, context.metrics.gauges) == ({"caf\\udce9": 2}, {"caf\\udce9": 1.0})
    assert context.metrics.waits_for == "caf\\udce9"
    context.waits_for(None)
    assert context.metrics.waits_for is None


def test_figures_are_plain_numbers_whatever_gave_them() -> None:
    """They can be published; what is no number is the plugin's mistake, where it makes it."""
    context = stage()
    context.gauge("share", Fraction(1, 2))  # type: ignore[arg-type]
    context.count("seen", Fraction(3))  # type: ignore[arg-type]
    assert msgspec.json.decode(msgspec.json.encode(context.metrics.snapshot()))["gauges"] == {"share": 0.5}
    assert context.metrics.counters == {"seen": 3}
    with pytest.raises(ValueError, match="hot"):
        context.gauge("temperature", "hot")  # type: ignore[arg-type]


async def test_blocking_code_runs_in_one_thread_of_the_stage() -> None:
    """One call at a time, in order, never in the event loop's thread; results and errors come back."""
    context = stage()
    ran: list[int] = []

    def work(n: int, *, plus: int) -> tuple[int, int]:
        ran.append(n)
        return n + plus, threading.get_ident()

    found = await asyncio.gather(*(context.run_blocking(work, n, plus=10) for n in range(5)))
    assert [n for n, _ in found] == [10, 11, 12, 13, 14]
    assert ran == [0, 1, 2, 3, 4]
    assert len({thread for _, thread in found} | {threading.get_ident()}) == 2
    context.threads.close()
    context.threads.close()


async def test_threads_may_be_used_again_after_close() -> None:
    """A restarted stage gets a new one."""
    threads = Threads()
    for _ in range(2):
        assert await threads.run(len, "abc") == 3
        threads.close()


async def test_kinds_add_what_is_theirs() -> None:
    """A producer's position, a sink's topics and past."""
    basis = ("pipeline", "stage", ManualClock(), StageMetrics(), lambda *_, **__: None)
    assert ProducerStageContext(*basis, position=7, emitted=3).position == 7

    async def read(topic: str, limit: int) -> list[Record]:
        return [Record(f"{topic} {limit}")]

    context = SinkStageContext(*basis, topics=["a"], data_dir=Path("x"), read_history=read)
    assert [r.value for r in await context.history("a", 3)] == ["a 3"]
