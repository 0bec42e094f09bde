"""As fast as it goes: from a finite JSON producer through a moving average to a file, one process, exactly once."""

import os
import time
from pathlib import Path

import attrs
import psutil
import pytest

from faults.running import Launcher, options, unmeasured

PIPELINE = Path(__file__).with_name("throughput.yaml")


@attrs.frozen
class Pace:
    """What one run showed."""

    records: int
    seconds: float
    """From the process's start to its end, that of Python included."""
    processor_seconds: float
    most_mib: float
    """The high-water mark of resident memory."""

    def __str__(self) -> str:
        return (
            f"{self.records} records in {self.seconds:.2f} s ({self.records / self.seconds:,.0f}/s; "
            f"{self.records / self.processor_seconds:,.0f} a second of processor time), "
            f"{self.most_mib:.1f} MiB at most; load average {os.getloadavg()[0]:.1f}"
        )


def run(folder: Path, count: int, only: str = "", *more: str) -> Pace:
    """Run the pipeline to its end."""
    folder.mkdir(exist_ok=True)
    launcher = Launcher(folder)
    stages = ["--only", only] if only else []
    started = time.monotonic()
    running = launcher.up(
        PIPELINE, "--until-idle", *stages, *options(producers__stocks__count=count), *more, env=unmeasured()
    )
    process = psutil.Process(running.process.pid)
    try:
        most, used = 0, 0.0
        while running.process.poll() is None:
            try:
                # Looked at often: the kernel's own mark (VmHWM) goes away with the process.
                most = max(most, process.memory_info().rss)
                times = process.cpu_times()
                used = times.user + times.system
            except psutil.Error:
                break
            time.sleep(0.02)
        running.wait()
        seconds = time.monotonic() - started
        counts = running.finish()
    finally:
        launcher.kill_all()
    for name, stage in counts.items():
        assert stage["out"] == count, name
    if "out" in counts:
        with (folder / "prices.ndjson").open("rb") as rows:
            assert sum(1 for _ in rows) == count
    return Pace(count, seconds, used, most / 2**20)


def test_memory_does_not_grow_with_the_backlog(tmp_path: Path) -> None:
    """A stage that starts with ten times the backlog takes no more memory."""
    most = {}
    for count in (20_000, 200_000):
        folder = tmp_path / str(count)
        run(folder, count, "stocks")
        pace = run(folder, count, "averages,out")
        print(pace)
        most[count] = pace.most_mib
    assert most[200_000] <= 1.25 * most[20_000]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_throughput_and_memory_of_large_runs(tmp_path: Path) -> None:
    """All stages at once, and with a backlog: the memory of 200,000 records and of 2,000,000 is the same."""
    for stages in (("",), ("stocks", "averages,out")):
        most = {}
        for count in (200_000, 2_000_000):
            folder = tmp_path / f"{len(stages)}-{count}"
            for only in stages:
                pace = run(folder, count, only)
                print(only or "all stages", pace)
            most[count] = pace.most_mib
        assert most[2_000_000] <= 1.15 * most[200_000]
