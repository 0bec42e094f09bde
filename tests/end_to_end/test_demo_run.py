"""The demo as a user runs it: the real program, a plain WebSocket client, `topic tail` beside it."""

import json
import signal
import subprocess
import sys
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import pytest

from end_to_end import viewer
from faults.running import PIPELINES, PROGRAM, Launcher, free_port, log_of, options, until

DEMO = PIPELINES / "demo.yaml"
VIEWED = {"stock_prices", "social_posts", "log_lines"}


def tail(launcher: Launcher, topic: str, *more: str) -> list[dict[str, Any]]:
    """Return what `topic tail --json` prints of a topic, partition by partition, in order."""
    command = [str(PROGRAM), "topic", "tail", str(DEMO), topic, "--data", str(launcher.data), "--json", *more]
    printed = subprocess.run(command, capture_output=True, check=True, cwd=launcher.folder, timeout=30).stdout
    found = [json.loads(line) for line in printed.splitlines()]
    return sorted(found, key=lambda record: (record["partition"], record["offset"]))


def by_hand(raw: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the flow has to make of the trades: each with the plain mean of its symbol's last 20 prices."""
    last: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=20))
    made = []
    for record in raw:
        prices = last[record["value"]["symbol"]]
        prices.append(record["value"]["price"])
        made.append({**record["value"], "moving_average": pytest.approx(sum(prices) / len(prices), rel=1e-12)})
    return made


def test_the_demo_shows_what_its_raw_topics_hold(launcher: Launcher) -> None:
    """All channels reach a plain client, every average is right, Ctrl-C drains, and the counts fit to each other."""
    port = free_port()
    # Spans of a second, so that the counted levels come within the test.
    running = launcher.up(
        DEMO,
        *options(
            sinks__live__port=port, flows__levels__steps__0__span_seconds=1, flows__levels__steps__0__grace_seconds=0
        ),
    )
    until(lambda: running.process.poll() is not None or f":{port}" in running.stderr, "the WebSocket server")
    with subprocess.Popen([sys.executable, viewer.__file__, str(port)], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert json.loads(client.stdout.readline()) == {"connected": True}
        # A second terminal beside the running pipeline.
        beside = by_hand(tail(launcher, "stock_trades"))
        assert beside
        with log_of(launcher.data) as log:
            until(lambda: log.size("log_levels") > 0 and log.size("stock_prices") > 1000, "a second of the demo")
        running.signal(signal.SIGINT)
        counts = running.finish()
        seen = json.loads(client.stdout.readline())
    assert set(seen["records"]) == VIEWED | {"log_levels"}
    assert seen["dropped"] == 0

    raw, prices = tail(launcher, "stock_trades"), tail(launcher, "stock_prices")
    assert len(prices) == len(raw)
    expected = by_hand(raw)
    for trade, price, made in zip(raw, prices, expected, strict=True):
        stamped = price["value"].pop("processed_timestamp")
        assert isinstance(stamped, str)
        assert price["value"] == made
        assert (price["key"], price["timestamp"]) == (trade["key"], trade["timestamp"])

    with log_of(launcher.data) as log:
        held = {
            topic: log.size(topic) for topic in ("stock_trades", "social_feed", "server_logs", *VIEWED, "log_levels")
        }
    for producer, topic, flow, output in (
        ("stocks", "stock_trades", "prices", "stock_prices"),
        ("social", "social_feed", "posts", "social_posts"),
        ("logs", "server_logs", "lines", "log_lines"),
    ):
        assert counts[producer]["out"] == held[topic] == counts[flow]["in"] == counts[flow]["out"] == held[output]
    assert counts["levels"]["in"] == held["server_logs"]
    assert counts["levels"]["out"] == held["log_levels"]
    assert counts["live"]["in"] == counts["live"]["out"] == sum(held[topic] for topic in (*VIEWED, "log_levels"))
    assert all(stage["in_flight"] == stage["dead_lettered"] == stage["lost"] == 0 for stage in counts.values())


def test_the_logs_pipeline_runs_on_this_machine_as_it_is(launcher: Launcher) -> None:
    """`pipelines/logs.yaml` takes the package manager's log apart and counts it; what is no log line is kept aside."""
    real = Path("/var/log/dpkg.log")
    lines = real.read_bytes().splitlines() if real.exists() else []
    env = None
    if not lines:
        pytest.skip("this machine has no log of a package manager")
    running = launcher.up(PIPELINES / "logs.yaml", *options(producers__files__follow=False), "--until-idle", env=env)
    counts = running.finish()
    assert counts["files"]["out"] == counts["parse"]["in"] == len(lines)
    assert counts["parse"]["out"] + counts["parse"]["dead_lettered"] == len(lines)
    assert counts["parse"]["out"] > 0.99 * len(lines)
    written = (launcher.folder / ".streamweaver/logs/parsed_lines.ndjson").read_bytes().splitlines()
    assert len(written) == counts["archive"]["out"] == counts["parse"]["out"]
    assert {json.loads(line)["program"] for line in written} == {"dpkg"}
