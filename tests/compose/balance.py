"""What must hold of the demo's topics whatever was killed: each record once, in order, with the right values."""

import json
import math
import subprocess
import sys
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import Any

import yaml

from compose.stack import PRODUCERS, ROOT, Stack, in_order, until

FLOWS = {
    "prices": ("stock_trades", "stock_prices", {"moving_average", "processed_timestamp"}),
    "posts": ("social_feed", "social_posts", {"relevance", "matches", "processed_timestamp"}),
    "lines": ("server_logs", "log_lines", {"processed_timestamp"}),
}
"""Each flow's input and output, and the fields that it adds."""
MADE = {"stocks": "stock_trades", "social": "social_feed", "logs": "server_logs"}
SEED = 7


def seeded(folder: Path) -> Path:
    """Write the demo with producers that always make the same; returns the file."""
    pipeline = yaml.safe_load((ROOT / "pipelines/demo.yaml").read_text())
    for producer in pipeline["producers"].values():
        producer["seed"] = SEED
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump(pipeline, sort_keys=False))
    path.chmod(0o644)
    folder.chmod(0o755)
    return path


def quiet(stack: Stack) -> None:
    """Stop the producers, drained, and wait until everything has gone through the flows."""
    stack.compose("stop", *PRODUCERS)
    assert [stack.state(name)["ExitCode"] for name in PRODUCERS] == [0, 0, 0], stack.logs()
    for source, target, _ in FLOWS.values():
        made = len(stack.tail(source))
        until(lambda made=made, target=target: len(stack.tail(target)) >= made, f"{made} records in {target}")  # type: ignore[misc]


def check(stack: Stack, pipeline: Path, folder: Path) -> dict[str, int]:
    """Check every topic of a stack that is quiet; returns how many records each has."""
    counts = {}
    for name, topic in MADE.items():
        counts[topic] = _as_made(stack, pipeline, folder, name, topic)
    for source, target, added in FLOWS.values():
        read, written = in_order(stack.tail(source)), in_order(stack.tail(target))
        bare = {
            p: [{k: v for k, v in value.items() if k not in added} for value in held] for p, held in written.items()
        }
        assert bare == read, f"{target} does not hold what {source} holds, once and in order"
        counts[target] = sum(map(len, written.values()))
        if target == "stock_prices":
            _averages(written)
    return counts


def _as_made(stack: Stack, pipeline: Path, folder: Path, name: str, topic: str) -> int:
    """A producer's topic holds exactly the beginning of the sequence that its seed makes: nothing lost or twice."""
    rows = stack.tail(topic)
    reference = _reference(pipeline, folder, name, topic, len(rows))
    assert _plain(rows) == _plain(reference), f"{topic} is not what {name} makes"
    return len(rows)


def _plain(rows: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Records by key, without what differs from run to run."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        value = {field: held for field, held in row["value"].items() if "timestamp" not in field}
        found[row["key"]][json.dumps(value, sort_keys=True)] += 1
    return found


def _reference(pipeline: Path, folder: Path, name: str, topic: str, count: int) -> list[dict[str, Any]]:
    """What the producer makes on the embedded log, where nothing is killed."""
    program, data = Path(sys.executable).with_name("streamweaver"), folder / f"reference-{name}"
    settings = ("--set", f"producers.{name}.count={count}", "--set", f"producers.{name}.rate=1000000")
    up = (program, "pipeline", "up", pipeline, "--only", name, "--until-idle", "--no-dashboard", "--data", data)
    _said(*up, *settings)
    said = _said(program, "topic", "tail", pipeline, topic, "--data", data, "--json")
    return [json.loads(line) for line in said.splitlines()]


def _said(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stderr[-3000:]}"
    return done.stdout


def _averages(written: dict[int, list[dict[str, Any]]]) -> None:
    """Each moving average is that of the last 20 prices of its symbol."""
    windows: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=20))
    for held in written.values():
        for value in held:
            window = windows[value["symbol"]]
            window.append(value["price"])
            assert value["moving_average"] == math.fsum(window) / len(window)
