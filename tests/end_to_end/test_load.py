"""The demo under its load: how late records are, how much memory and processor the process takes, what is dropped."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import attrs
import psutil
import pytest

from end_to_end import viewer
from faults.running import PIPELINES, Launcher, free_port, log_of, options, unmeasured, until

RATE = 1_200
WARM_UP_SECONDS = 2.0


@attrs.frozen
class Load:
    """What a run under load showed."""

    seen: dict[str, Any]
    counts: dict[str, dict[str, int]]
    seconds: float
    processor_share: float
    resident_mib: list[float]
    """At the end of the warm-up, and then at each tenth of the run."""

    def __str__(self) -> str:
        seen = self.seen
        return (
            f"{seen['measured']} records in {self.seconds:.0f} s, producer to client: p50 {seen['p50']} ms, "
            f"p99 {seen['p99']} ms, p99.9 {seen['p999']} ms, max {seen['max']} ms; dropped {seen['dropped']}; "
            f"{self.processor_share:.1%} of a core; resident {self.resident_mib[0]:.1f} to {self.resident_mib[-1]:.1f} "
            f"MiB (most {max(self.resident_mib):.1f}); load average {os.getloadavg()[0]:.1f}"
        )


def under_load(launcher: Launcher, seconds: float) -> Load:
    """Run the demo with a client for a time, after a warm-up."""
    port = free_port()
    running = launcher.up(PIPELINES / "demo.yaml", *options(sinks__live__port=port), env=unmeasured())
    until(lambda: running.process.poll() is not None or f":{port}" in running.stderr, "the WebSocket server")
    process = psutil.Process(running.process.pid)
    command = [sys.executable, viewer.__file__, str(port), str(WARM_UP_SECONDS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=unmeasured()) as client:
        assert client.stdout is not None
        client.stdout.readline()
        resident, used = [], 0.0
        started = time.monotonic()
        for tenth in range(11):
            # A load lasts as long as it is said to: this is the load, not a wait for something to have happened.
            ends = started + WARM_UP_SECONDS + tenth * seconds / 10
            until(lambda ends=ends: time.monotonic() >= ends, "the time", seconds=seconds)  # type: ignore[misc]
            resident.append(process.memory_info().rss / 2**20)
            times = process.cpu_times()
            if tenth == 0:
                used = times.user + times.system
        used = times.user + times.system - used
        counts = running.stop()
        seen = json.loads(client.stdout.readline())
    return Load(seen, counts, seconds, used / seconds, resident)


def check(launcher: Launcher, load: Load) -> None:
    """What holds however busy the machine is: everything made is seen, nothing is dropped, at the rate asked for."""
    assert load.seen["measured"] == pytest.approx(RATE * load.seconds, rel=0.1)
    assert load.seen["dropped"] == 0
    with log_of(launcher.data) as log:
        for topic in ("stock_prices", "social_posts", "log_lines"):
            missed = log.size(topic) - load.seen["records"][topic]
            # The client came after the start.
            assert 0 <= missed < RATE * 3, topic


def test_the_demo_keeps_up_with_its_load(launcher: Launcher) -> None:
    """1,200 records/s for some seconds: all reach the client and none is dropped."""
    load = under_load(launcher, 5.0)
    print(load)
    check(launcher, load)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_demo_keeps_up_for_ten_minutes(launcher: Launcher) -> None:
    """1,200 records/s for 10 minutes: p99 to the client under 25 ms, under a quarter of a core, and memory is flat."""
    load = under_load(launcher, 600.0)
    print(load)
    check(launcher, load)
    # What the first minute fills (caches, histograms, the page cache of SQLite) is not growth.
    assert load.resident_mib[-1] <= 1.1 * load.resident_mib[1], load.resident_mib
    assert load.seen["p99"] < 25
    assert load.processor_share < 0.25
