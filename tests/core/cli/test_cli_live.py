"""How a run looks while it goes on."""

from typing import Any

from rich.console import Console

from streamweaver.cli.live import LiveTable, LogLines, cells, health, milliseconds, on_terminal, stage_line


def stage(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "flow",
        "in": 10,
        "in_per_second": 5.0,
        "out_per_second": 4.0,
        "errors": 0,
        "dead_lettered": 0,
        "lag_records": 3,
        "lag_seconds": 0.5,
        "latency_ms": {"p99": 12.0},
        "health": "ok",
        "error": None,
        "activity": "processing",
        "activity_seconds": 11.0,
        **changes,
    }


def test_one_line_every_ten_seconds() -> None:
    """Figures come every second, lines every ten."""
    now = [0.0]
    lines: list[dict[str, Any]] = []
    observer = LogLines(lambda level, event, /, **fields: lines.append(fields), lambda: now[0])
    for second in range(31):
        now[0] = float(second)
        observer.metrics_published({"stages": {"prices": stage()}})
    assert lines == [{"prices": "5/s, lag 3, p99 12 ms"}] * 3


def test_what_is_not_well_is_said() -> None:
    """Errors, and a health that is not ok with what the stage is at, join the line."""
    assert stage_line(stage(errors=2, health="stuck")) == (
        "5/s, lag 3, errors 2, p99 12 ms, stuck: processing for 11 s"
    )
    assert health(stage(health="failed", error="no table")) == "failed: no table"
    assert health(stage(health="ended")) == "ended"


def test_durations_are_readable() -> None:
    """Tenths below ten milliseconds, seconds above ten."""
    assert [milliseconds(value) for value in (0.06, 9.94, 12.0, 12_345.0)] == ["0.1 ms", "9.9 ms", "12 ms", "12 s"]


def test_the_table_shows_the_newest_figures() -> None:
    """A row a stage; markup in an error is text."""
    live = LiveTable()
    live.metrics_published({"stages": {"prices": stage(health="failed", error="[red]no[/red]")}})
    console = Console(width=150, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(live.table())
    assert "prices" in captured.get()
    assert "failed: [red]no[/red]" in captured.get()
    assert len(cells("prices", stage())) == 11


def test_stopping_a_table_that_never_started_is_harmless() -> None:
    """A run that fails early stops it all the same."""
    LiveTable().stop()


def test_a_pipe_is_no_terminal() -> None:
    """Captured output gets log lines."""
    assert on_terminal() is False


def test_what_a_plugin_waits_for_is_said() -> None:
    """A stage that is well and has nothing to do says what it waits for, unless that is just its input."""
    assert health(stage(activity="waiting for a file at x.log")) == "ok, waiting for a file at x.log"
    assert health(stage(activity="waiting for input")) == "ok"
    assert health(stage(activity="waiting for a file at x.log", health="ended")) == "ended"


def test_what_nobody_knows_is_a_question_mark() -> None:
    """A lag that the broker does not say, also in the table of `status`; of a stage not heard of only that is told."""
    away = stage(lag_records=None, lag_seconds=None, health="stuck", activity="waiting for the broker")
    assert stage_line(away) == "5/s, lag ?, p99 12 ms, stuck: waiting for the broker for 11 s"
    assert cells("prices", away)[7:9] == ["?", "?"]
    assert stage_line({**away, "health": "ok"}) == "5/s, lag ?, p99 12 ms, waiting for the broker for 11 s"
    assert health(stage(health="unknown")) == "unknown"


def test_a_silent_worker_is_named() -> None:
    """In the line and in the table, with how long it has said nothing."""
    figures = {"stages": {"prices": stage()}, "silent": {"w-1": 12.3}}
    lines: list[dict[str, Any]] = []
    times = iter((0.0, 10.0, 10.0))
    LogLines(lambda level, event, /, **fields: lines.append(fields), lambda: next(times)).metrics_published(figures)
    assert lines == [{"prices": "5/s, lag 3, p99 12 ms", "silent": "w-1 for 12 s"}]
    live = LiveTable()
    live.metrics_published(figures)
    console = Console(width=150)
    with console.capture() as captured:
        console.print(live.table())
    assert captured.get().splitlines()[-1].split() == ["w-1", "silent", "for", "12", "s"]
