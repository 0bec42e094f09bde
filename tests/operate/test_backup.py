"""The recipes of docs/operate/backup.md: a copy of a running log is whole, and a pipeline goes on from it."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STREAMWEAVER = Path(sys.executable).with_name("streamweaver")
PAGE = Path(__file__).parents[2] / "docs/operate/backup.md"

PIPELINE = """\
name: demo
delivery: exactly_once
dashboard: {enabled: false}
producers:
  orders: {use: stock_trades, to: orders, rate: 2000, seed: 3}
flows:
  means:
    from: orders
    steps:
      - {use: moving_average, field: price, by: symbol, size: 5}
    to: means
"""


def streamweaver(folder: Path, *arguments: object) -> str:
    done = subprocess.run([STREAMWEAVER, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def values(folder: Path, topic: str, data: str) -> list[dict[str, Any]]:
    said = streamweaver(folder, "topic", "tail", "p.yaml", topic, "--data", data, "--json")
    found = [json.loads(line)["value"] for line in said.splitlines()]
    return [{name: value for name, value in each.items() if name != "timestamp"} for each in found]


def test_a_copy_of_a_running_log_is_whole_and_goes_on(tmp_path: Path) -> None:
    """The page's own command, while records come in; what was restored goes on with the next record and its state."""
    command = next(line for line in PAGE.read_text().splitlines() if "VACUUM INTO" in line).removeprefix("$ ")
    (tmp_path / "p.yaml").write_text(PIPELINE)
    up = [STREAMWEAVER, "pipeline", "up", "p.yaml", "--json"]
    with subprocess.Popen(up, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline:
            if (tmp_path / ".streamweaver/demo").exists() and "means" in _held(tmp_path):
                break
            time.sleep(0.2)
        words = shlex.split(command)
        subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True, timeout=60)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    (tmp_path / "restored").mkdir()
    (tmp_path / "backup.sqlite").rename(tmp_path / "restored/log.sqlite")
    streamweaver(tmp_path, "log", "check", "restored")

    before = len(values(tmp_path, "orders", "restored"))
    streamweaver(tmp_path, *up[1:], "--data", "restored", "--duration", "1s")
    orders, means = values(tmp_path, "orders", "restored"), values(tmp_path, "means", "restored")
    original = values(tmp_path, "means", ".streamweaver/demo")
    assert len(orders) == len(means) > before > 0
    # The same seed makes the same orders, so what both hold must be the same, averages included.
    shared = min(len(means), len(original))
    assert means[:shared] == original[:shared]


def _held(folder: Path) -> set[str]:
    """The topics that hold records by now."""
    done = subprocess.run(
        [STREAMWEAVER, "topic", "list", "p.yaml", "--json"], cwd=folder, capture_output=True, text=True, timeout=60
    )
    return {row["name"] for row in json.loads(done.stdout or "[]") if row["records"]}


def test_the_page_names_what_the_log_is() -> None:
    """The file's name is the one that the broker uses."""
    assert re.search(r"`log\.sqlite`", PAGE.read_text())
