"""Stopping: drained within the deadline, or given up with exit status 3, and then the next start loses nothing."""

import json
import signal
from pathlib import Path

import pytest

from faults import kill_at
from faults.running import PIPELINES, Launcher, Running, free_port, log_of, options, unmeasured, until

PIPELINE = Path(__file__).with_name("numbers.yaml")
SLOW = Path(__file__).with_name("slow_disk.py")


def write_numbers(launcher: Launcher, count: int) -> None:
    """Leave a log file of numbered lines."""
    lines = "".join(f'{{"n": {n}}}\n' for n in range(count))
    (launcher.folder / "numbers.log").write_text(lines)


def written(launcher: Launcher) -> list[int]:
    """Return the numbers in the sink's file."""
    rows = launcher.folder / "numbers.ndjson"
    # The last line may be on its way.
    return [json.loads(line)["n"] for line in rows.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def wait_for_rows(launcher: Launcher, running: Running) -> None:
    """Wait until the sink has written something."""
    rows = launcher.folder / "numbers.ndjson"

    def some() -> bool:
        assert running.process.poll() is None, running.stderr[-3000:]
        return rows.exists() and rows.stat().st_size > 0

    until(some, "rows in the file")


def slowly(launcher: Launcher, *more: str) -> Running:
    """Start the pipeline on a disk on which each write of the sink takes 200 ms."""
    return launcher.up(PIPELINE, *more, script=SLOW, env=unmeasured())


def finish_undisturbed(launcher: Launcher, count: int) -> None:
    """Let the next start go on to the end: nothing is lost, nothing comes twice."""
    launcher.up(PIPELINE, *options(producers__lines__follow=False), "--until-idle").finish()
    assert written(launcher) == list(range(count))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_drains(launcher: Launcher, number: int) -> None:
    """Told to stop at 1,200 records/s, the demo drains, exits with 0, and every topic is read to its end."""
    port = free_port()
    running = launcher.up(PIPELINES / "demo.yaml", *options(sinks__live__port=port))
    with log_of(launcher.data) as log:
        until(lambda: log.size("stock_prices") > 300, "some prices")
    running.signal(number)
    counts = running.finish()
    assert counts["stocks"]["out"] == counts["prices"]["in"] == counts["prices"]["out"] > 300
    assert sum(counts[flow]["out"] for flow in ("prices", "posts", "lines", "levels")) == counts["live"]["in"]


def test_what_a_deadline_cuts_off_comes_with_the_next_start(launcher: Launcher) -> None:
    """A sink that cannot drain in time ends with exit status 3, and nothing is lost or doubled."""
    count = 60_000
    write_numbers(launcher, count)
    running = slowly(launcher, *options(drain_timeout="300ms"))
    wait_for_rows(launcher, running)
    running.signal(signal.SIGTERM)
    assert running.wait() == 3, running.stderr
    assert len(written(launcher)) < count, "the sink was not slow enough to be cut off"
    finish_undisturbed(launcher, count)


def test_a_second_signal_stops_at_once(launcher: Launcher) -> None:
    """Told twice, a pipeline with much left to drain ends with exit status 3, and nothing is lost or doubled."""
    count = 60_000
    write_numbers(launcher, count)
    running = slowly(launcher, *options(drain_timeout="10m"))
    wait_for_rows(launcher, running)
    running.signal(signal.SIGINT)
    # The first signal is taken in when nothing more is produced, which the log of the pipeline tells.
    until(lambda: "drain" in running.stderr.lower() or "stopping" in running.stderr.lower(), "word of the first signal")
    running.signal(signal.SIGINT)
    assert running.wait(10) == 3, running.stderr
    assert len(written(launcher)) < count
    finish_undisturbed(launcher, count)


def test_a_sink_ahead_of_its_mark_is_not_taken_to_lag(launcher: Launcher) -> None:
    """Killed between the sink's state and the broker's mark, with nothing more to come, it is idle at once."""
    write_numbers(launcher, 100)
    once = options(producers__lines__follow=False)
    killed = launcher.up(
        PIPELINE,
        *once,
        script=Path(kill_at.__file__),
        # The first save is that of an empty file.
        env=unmeasured({kill_at.VARIABLE: "state saved, the mark not#2"}),
    )
    assert killed.wait() == -signal.SIGKILL, killed.stderr
    counts = launcher.up(PIPELINE, *once, "--until-idle").finish(10)
    assert counts["rows"]["in"] == 0
    assert written(launcher) == list(range(100))
