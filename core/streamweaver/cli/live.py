"""How a run looks while it goes on: a table on a terminal, a log line now and then elsewhere. Both are observers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamweaver.hooks import observer
from streamweaver.runtime.context import Log
from streamweaver.runtime.snapshot import AWAY

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

PERIOD_SECONDS = 10.0

STYLES = {"ok": "green", "ended": "dim", "failed": "bold red", "stuck": "bold yellow"}


class LogLines:
    """Logs one line for all stages every ten seconds.

    Workers that say nothing (`silent`, seconds by name) are named: their figures are not among the others'.
    """

    def __init__(self, log: Log, monotonic: Callable[[], float]) -> None:
        self._log = log
        self._monotonic = monotonic
        self._next = monotonic() + PERIOD_SECONDS

    @observer
    def metrics_published(self, metrics: dict[str, Any]) -> None:
        """Log, if it is time."""
        if self._monotonic() < self._next:
            return
        self._next = self._monotonic() + PERIOD_SECONDS
        stages = {name: stage_line(stage) for name, stage in metrics["stages"].items()}
        silent = ", ".join(f"{worker} for {seconds:.0f} s" for worker, seconds in metrics.get("silent", {}).items())
        self._log("info", "running", **stages, **({"silent": silent} if silent else {}))


def stage_line(stage: dict[str, Any]) -> str:
    """Return a stage's figures in one short text."""
    parts = [f"{_told(rate(stage))}/s", f"lag {_told(stage['lag_records'])}"]
    if stage["errors"]:
        parts.append(f"errors {stage['errors']}")
    parts.append(f"p99 {milliseconds(stage['latency_ms']['p99'])}")
    if stage["health"] != "ok":
        parts.append(health(stage))
    elif stage["activity"] == AWAY:
        parts.append(f"{AWAY} for {stage['activity_seconds']:.0f} s")
    return ", ".join(parts)


def _told(figure: float | None, digits: int = 0) -> str:
    """Return a figure for reading; `?` where nobody knows it now."""
    return "?" if figure is None else f"{figure:.{digits}f}"


def rate(stage: dict[str, Any]) -> float | None:
    """Return the records per second that a stage takes in; None where nobody knows."""
    per_second: float | None = stage["in_per_second"]
    return per_second


def milliseconds(value: float) -> str:
    """Return a duration for reading."""
    if value >= 10_000:
        return f"{value / 1000:.0f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def health(stage: dict[str, Any]) -> str:
    """Return a stage's health, with what it is at when that is not well, or what its plugin waits for."""
    if stage["health"] in ("ok", "ended", "stopped"):
        activity = str(stage.get("activity", ""))
        # Waiting for input goes without saying.
        waits = stage["health"] == "ok" and activity.startswith("waiting for ") and activity != "waiting for input"
        return f"ok, {activity}" if waits else str(stage["health"])
    if stage["error"]:
        return f"{stage['health']}: {stage['error']}"
    if stage["health"] == "unknown":
        return "unknown"
    return f"{stage['health']}: {stage['activity']} for {stage['activity_seconds']:.0f} s"


HEADS = ("stage", "kind", "in/s", "out/s", "in", "errors", "dead letters", "lag", "lag s", "p99", "health")


def cells(name: str, stage: dict[str, Any]) -> list[str]:
    """Return a stage's row under `HEADS`."""
    return [
        name,
        stage["kind"],
        _told(rate(stage)),
        _told(stage["out_per_second"]),
        str(stage["in"]),
        str(stage["errors"]),
        str(stage["dead_lettered"]),
        _told(stage["lag_records"]),
        _told(stage["lag_seconds"], 1),
        milliseconds(stage["latency_ms"]["p99"]),
        health(stage),
    ]


LIVE_HEADS = ("stage", "in/s", "out/s", "errors", "dead letters", "lag", "p99", "health")
"""What fits on a line of 80 characters; `pipeline status` shows the rest."""


class LiveTable:
    """Shows the stages in a table that is drawn anew about twice a second (Rich)."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._metrics: dict[str, Any] = {"stages": {}}

    @observer
    def metrics_published(self, metrics: dict[str, Any]) -> None:
        """Take the figures for the next drawing."""
        self._metrics = metrics

    def start(self) -> None:
        """Begin to draw, on standard error; what else is written there, or to a terminal, scrolls by above."""
        import sys

        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            get_renderable=self.table,
            console=Console(stderr=True),
            refresh_per_second=2,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start()

    def stop(self) -> None:
        """Take the table away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def table(self) -> "Table":
        """Make the table of the newest figures."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for head in LIVE_HEADS:
            table.add_column(head, justify="left" if head in ("stage", "health") else "right", no_wrap=True)
        for name, stage in self._metrics["stages"].items():
            shown = dict(zip(HEADS, cells(name, stage), strict=True))
            *row, state = [shown[head] for head in LIVE_HEADS]
            table.add_row(*map(Text, row), Text(state, style=STYLES.get(stage["health"], ""), overflow="ellipsis"))
        for worker, seconds in self._metrics.get("silent", {}).items():
            silent = Text(f"silent for {seconds:.0f} s", style=STYLES["stuck"])
            table.add_row(Text(worker), *[""] * (len(LIVE_HEADS) - 2), silent)
        return table


def on_terminal() -> bool:
    """Whether standard error is a terminal on which a table can be drawn again and again."""
    import sys

    if not sys.stderr.isatty():
        return False
    from rich.console import Console

    return not Console(stderr=True).is_dumb_terminal
