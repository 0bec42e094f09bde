"""A stage's scope on a plan from YAML, without an engine around it."""

from pathlib import Path
from typing import Any

from core.runtime.runtime_kit import ManualClock
from streamweaver.hooks import Observers
from streamweaver.runtime.scope import Scope
from streamweaver.testing.harness import plan_of


def scope_of(pipeline: str, stage: str, plugins: Any, tmp_path: Path, lines: list[Any] | None = None) -> Scope:
    """Make the scope of one stage; log lines go to `lines`."""
    plan = plan_of(pipeline, plugins)

    def log(level: str, event: str, /, **fields: Any) -> None:
        if lines is not None:
            lines.append((level, event, fields))

    return Scope(
        plan=plan,
        stage=plan.stages[stage],
        broker=plan.broker.build(),
        clock=ManualClock(),
        data_dir=tmp_path,
        log=log,
        redact=lambda text: text.replace("hunter2", "***"),
        observers=Observers(lambda _: None),
        progressed=lambda: None,
    )
