"""The dashboard's options and its command, on the real program."""

import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "streamweaver"

PIPELINE = """
name: shown
producers:
  numbers: {use: ndjson_file, path: numbers.ndjson, to: numbers}
sinks:
  out: {use: console, from: numbers, format: value}
"""


def write(folder: Path) -> Path:
    """Write a small pipeline and its input."""
    (folder / "numbers.ndjson").write_text('{"n": 1}\n{"n": 2}\n')
    (folder / "shown.yaml").write_text(PIPELINE.lstrip())
    return folder / "shown.yaml"


def up(file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the pipeline to its end."""
    return subprocess.run(
        [PROGRAM, "pipeline", "up", file.name, "--until-idle", *more],
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_the_dashboard_no_address_is_named(tmp_path: Path) -> None:
    """`--no-dashboard` runs the same pipeline and opens no port."""
    ran = up(write(tmp_path), "--no-dashboard")
    assert ran.returncode == 0, ran.stderr
    assert "http://" not in ran.stderr


def test_the_dashboard_alone_shows_a_pipeline_that_ran(tmp_path: Path) -> None:
    """`streamweaver dashboard FILE` serves what another process has stored, and ends with 0 when it is asked to."""
    file = write(tmp_path)
    assert up(file, "--no-dashboard").returncode == 0
    shown = subprocess.Popen(
        [PROGRAM, "dashboard", file.name, "--port", "0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        assert shown.stderr is not None
        said = []
        for line in shown.stderr:
            said.append(line)
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        assert address, said
        with urllib.request.urlopen(f"{address[0]}/api/pipeline", timeout=20) as answer:
            assert json.load(answer)["pipeline"] == "shown"
    finally:
        shown.terminate()
        status = shown.wait(timeout=30)
        shown.stderr.close()
    assert status == 0


def test_a_port_that_is_taken_is_told_once(tmp_path: Path) -> None:
    """One line, exit status 1, and no advice to use an option that the command does not have."""
    file = write(tmp_path)
    assert up(file, "--no-dashboard").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [PROGRAM, "dashboard", file.name, "--port", port]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.count("in use") == 1
    assert f"port {port} of 127.0.0.1 is in use by another program; say --port with another one" in ran.stderr
    assert "--no-dashboard" not in ran.stderr


def test_a_run_without_the_dashboard_that_was_asked_for_does_not_begin(tmp_path: Path) -> None:
    """Its port in the file is named with its place, and nothing is read or written; exit status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = write(tmp_path)
        lines = [line for line in file.read_text().splitlines() if not line.startswith("dashboard")]
        file.write_text("\n".join([*lines, f"dashboard: {{port: {port}}}", ""]))
        ran = up(file)
    assert ran.returncode == 1
    place = f"{file.name}:{len(lines) + 1}:19"
    assert f"failed: {place}: dashboard: port {port} of 127.0.0.1 is in use by another program" in ran.stderr
    assert "event=finished" not in ran.stderr
    assert "stage=" not in ran.stderr.partition("event=starting")[2].partition("failed:")[0]


def test_a_file_that_is_wrong_is_refused(tmp_path: Path) -> None:
    """The command reads the file as `up` does: findings, exit status 2, no traceback."""
    (tmp_path / "wrong.yaml").write_text("name: wrong\n")
    ran = subprocess.run([PROGRAM, "dashboard", "wrong.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)
    assert ran.stderr.startswith("wrong.yaml:1:1: ")
