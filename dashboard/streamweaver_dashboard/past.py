"""The figures of stages, and panels, over past time."""

import time
from typing import Any

import attrs

from streamweaver import Broker, Codec
from streamweaver.panel import Panel
from streamweaver.views import Line, make_view
from streamweaver.views.column import API_BYTES
from streamweaver.views.filter import Filter
from streamweaver.views.live import Past, make_whole, named
from streamweaver_dashboard.read_back import read_back

PANEL_RECORDS = 200_000
PANEL_SECONDS = 3.0
LONGEST_MS = 31 * 86_400_000
STAGE_POINTS = 600
TICK_MS = 100

COLUMNS = {
    "in_per_second": "in_per_second",
    "out_per_second": "out_per_second",
    "lag_records": "lag_records",
    "lag_seconds": "lag_seconds",
    "errors": "errors",
    "dead_lettered": "dead_lettered",
    "restarts": "restarts",
}
PERCENTILES = {
    f"{kind}_{share}": (f"{kind}_ms", share) for kind in ("processing", "latency") for share in ("p50", "p99")
}


async def panel_history(broker: Broker, codec: Codec, panel: Panel, start: int, end: int) -> bytes:
    """Return a part that shows a panel over a past time; ValueError when the time is none."""
    if not 0 <= start < end:
        raise ValueError("start, end: expected two times in ms, the earlier first")
    if end - start > LONGEST_MS:
        raise ValueError("start, end: expected at most 31 days")
    asked = attrs.evolve(panel, span_seconds=(end - start) / 1000)
    view = Line(asked, 1, until=end) if panel.kind == "line" else make_view(asked, TICK_MS)
    topic = panel.topic
    ends = {p: await broker.offset_at(topic, p, end) for p in range(len(await broker.ranges(topic)))}
    chosen, begin = Filter(panel.where), Past(view, panel.limit)
    past = await read_back(
        broker,
        topic,
        codec,
        since=start,
        until=ends,
        most=PANEL_RECORDS,
        seconds=PANEL_SECONDS,
        take=lambda seen: begin.add(chosen.choose(seen), end),
    )
    begin.end()
    view.take(end)
    part = make_whole(panel, 0, view.snapshot(end), end, API_BYTES, complete=past.complete)
    return named(part, id=panel.id)


async def stage_history(broker: Broker, codec: Codec, topic: str, stage: str, minutes: float) -> dict[str, Any]:
    """Return a stage's figures of the last minutes, in columns, one point a second or fewer."""
    since = round((time.time() - minutes * 60) * 1000)
    past = await read_back(broker, topic, codec, since=since, most=20_000, seconds=2.0)
    points: dict[int, list[dict[str, Any]]] = {}
    for seen in past.batches:
        for value in seen.values:
            if isinstance(value, dict) and (found := value.get("stages", {}).get(stage)):
                # Workers publish at different moments of a second.
                points.setdefault(value["time"] // 1000, []).append(found)
    seconds = sorted(points)
    every = max(1, -(-len(seconds) // STAGE_POINTS))
    seconds = seconds[::-1][::every][::-1]
    history: dict[str, Any] = {"time": [second * 1000 for second in seconds]}
    for name, column in COLUMNS.items():
        together = max if name == "lag_seconds" else sum
        history[name] = [together(part.get(column, 0) for part in points[second]) for second in seconds]
    for name, (summary, share) in PERCENTILES.items():
        history[name] = [max(part[summary][share] for part in points[second]) for second in seconds]
    return history
