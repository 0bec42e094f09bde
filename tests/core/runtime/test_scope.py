"""What the parts of a stage share."""

import threading
from pathlib import Path
from typing import Any

import attrs

from core.runtime.runtime_stage import scope_of
from streamweaver import Batch, Record, TransformContext, producer, transform
from streamweaver.hooks import observer
from streamweaver.runtime.context import THREAD_NAME
from streamweaver.runtime.scope import Activity, make_steps, step_context


@producer
def numbers() -> Any:
    """Produce."""


@transform
async def ask(record: Record) -> Record:
    """Ask."""
    return record


@transform("clockwork")
@attrs.define
class Clockwork:
    """Acts on time."""

    def process(self, batch: Batch, context: TransformContext) -> Any: ...

    def tick(self, context: TransformContext) -> Any: ...


PIPELINE = """
name: t
producers:
  p: {use: numbers, to: a}
flows:
  f:
    from: a
    timeout: 3s
    retry: {attempts: 7}
    restart: {attempts: 2}
    steps: [{use: ask, concurrency: 4}, {use: clockwork}, {use: ask}]
    to: b
"""


def test_steps_have_names_of_their_own_and_the_stages_limits(tmp_path: Path) -> None:
    """A second step of a plugin is told apart, since the name keeps its state."""
    scope = scope_of(PIPELINE, "f", [numbers, ask, Clockwork], tmp_path)
    plugins, steps = make_steps(scope)
    assert steps.names == [step.name for step in steps.steps] == ["ask", "clockwork", "ask.2"]
    assert [tick is not None for tick in steps.ticks] == [False, True, False]
    assert steps.tick
    assert len(plugins) == 3
    limits: Any = [getattr(step, "limits", None) for step in steps.steps]
    assert [(x.timeout_seconds, x.concurrency, x.attempts) for x in limits] == [(3.0, 4, 7), (3.0, 1, 7), (3.0, 1, 7)]
    assert scope.restarts.attempts == 2
    assert step_context(scope).stage == "f"


async def test_a_blocking_plugin_ticks_in_the_stages_thread(tmp_path: Path) -> None:
    """As all its plain methods do: it must not hold up the event loop."""

    @transform("clockwork", blocking=True)
    @attrs.define
    class Blocking:
        """Waits for something, as time passes."""

        def process(self, batch: Batch, context: TransformContext) -> Any: ...

        def tick(self, context: TransformContext) -> Any:
            return [Record(threading.current_thread().name)]

    scope = scope_of(PIPELINE, "f", [numbers, ask, Blocking], tmp_path)
    tick = make_steps(scope)[1].ticks[1]
    assert tick is not None
    (made,) = await tick(step_context(scope))
    scope.threads.close()
    assert made.value.startswith(THREAD_NAME)


def test_a_restarted_stage_gets_fresh_plugins(tmp_path: Path) -> None:
    """What one run kept on its plugins is gone."""
    scope = scope_of(PIPELINE, "f", [numbers, ask, Clockwork], tmp_path)
    assert make_steps(scope)[0][1] is not make_steps(scope)[0][1]


def test_a_unit_that_is_durable_is_accounted_for(tmp_path: Path) -> None:
    """Counted, timed, told to observers who want it, and to whoever waits for progress."""
    scope = scope_of(PIPELINE, "f", [numbers, ask, Clockwork], tmp_path)
    told: list[Any] = []
    scope.progressed = lambda: told.append("progress")
    scope.finish_unit(0.0, 3, 2)

    class Watcher:
        @observer
        def unit_done(self, stage: str, received: int, out: int) -> None:
            told.append((stage, received, out))

    scope.observers.connect(Watcher())
    scope.finish_unit(0.0, 5, 4)
    assert told == ["progress", ("f", 5, 4), "progress"]
    assert scope.metrics.units == scope.metrics.processing.current.total == 2


def test_activity_tells_since_when() -> None:
    """So that a stuck stage can be named."""
    activity = Activity()
    before = activity.since
    activity.now("writing")
    assert activity.what == "writing"
    assert activity.since >= before
