"""The figures of all stages; what the engine does with them is in its own tests."""

from pathlib import Path
from typing import Any

import attrs
import msgspec

from core.runtime.runtime_stage import scope_of
from streamweaver import BrokerContext, producer
from streamweaver.runtime.report import METRICS_SPEC, Reporter
from streamweaver.runtime.scope import IDLE


@producer
def numbers() -> Any:
    """Produce."""


async def test_a_snapshot_is_stored_as_plain_json(tmp_path: Path) -> None:
    """One record a snapshot, of all stages under one key, in a topic that keeps an hour; an idle one says for what."""
    scope = scope_of("name: t\nproducers:\n  p: {use: numbers, to: a}\n", "p", [numbers], tmp_path)
    scope.metrics.received = scope.metrics.out = 7
    await scope.broker.open(BrokerContext(pipeline="t", data_dir=tmp_path))
    await scope.broker.create([attrs.evolve(METRICS_SPEC, name="t.metrics")])
    reporter = Reporter(scope.plan, scope.broker, scope.clock, {"p": scope}, scope.observers, scope.log)
    await reporter.publish()
    scope.metrics.waits_for = "a file at x.log"
    scope.activity.now(IDLE)
    assert (await reporter.snapshot())["stages"]["p"]["activity"] == "waiting for a file at x.log"
    scope.activity.now("failed")
    scope.error = "broken"
    await reporter.publish()
    reader = await scope.broker.reader({("t.metrics", 0): 0})
    rows = (await reader.poll())[0]
    await reader.close()
    await scope.broker.close()
    assert rows.keys == [b"0", b"0"]
    first, second = [msgspec.json.decode(value or b"")["stages"]["p"] for value in rows.values]
    assert (first["out"], first["health"], first["lag_records"], first["kind"]) == (7, "ok", 0, "producer")
    assert (second["health"], second["error"]) == ("failed", "broken")
    assert METRICS_SPEC.retention_ms == 3_600_000
