"""A disk that is full, read-only or damaged: one clear line, exit status 1, and nothing acknowledged is lost."""

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.running import PROGRAM, Launcher, Running, log_of, options, until
from real_parts import missing

PIPELINE = Path(__file__).with_name("numbers.yaml")

QUICK = options(
    producers__lines__restart__attempts=1,
    producers__lines__restart__initial="100ms",
    sinks__rows__restart__attempts=1,
    sinks__rows__restart__initial="100ms",
)
"""So that a stage on a broken disk is given up soon."""

ONCE = [*options(producers__lines__follow=False), "--until-idle"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB of its own, mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        missing(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def write_numbers(launcher: Launcher, numbers: range) -> None:
    """Append numbered lines to the log file."""
    with (launcher.folder / "numbers.log").open("a") as file:
        file.writelines(f'{{"n": {n}, "pad": "{"x" * 80}"}}\n' for n in numbers)


def written(launcher: Launcher) -> list[int]:
    """Return the numbers in the sink's file."""
    return [json.loads(line)["n"] for line in (launcher.folder / "numbers.ndjson").read_bytes().splitlines()]


def failed(running: Running) -> str:
    """Return the one line that says why a run failed with exit status 1, which it does without a traceback."""
    assert running.wait() == 1, running.stderr
    assert "Traceback" not in running.stderr
    [error] = [line for line in running.stderr.splitlines() if line.startswith(("error: ", "failed: "))]
    return error


def test_a_full_disk_fails_clearly_and_goes_on_when_there_is_room(launcher: Launcher, small_disk: Path) -> None:
    """On a full disk the pipeline fails with one line; with room again it goes on, nothing lost, nothing doubled."""
    data = small_disk / "data"
    write_numbers(launcher, range(2_000))
    at = ["--data", str(data)]
    launcher.up(PIPELINE, *ONCE, *at).finish()
    write_numbers(launcher, range(2_000, 40_000))
    running = launcher.up(PIPELINE, *ONCE, *QUICK, *at)
    assert "the disk is full" in failed(running)
    acknowledged = written(launcher)
    assert acknowledged == list(range(len(acknowledged)))
    assert 2_000 <= len(acknowledged) < 40_000
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    launcher.up(PIPELINE, *ONCE, *at).finish()
    assert written(launcher) == list(range(40_000))


def test_a_full_disk_under_the_sink_alone(launcher: Launcher, small_disk: Path) -> None:
    """When only the sink's disk is full its stage fails with one line, and goes on when there is room."""
    rows = small_disk / "numbers.ndjson"
    write_numbers(launcher, range(40_000))
    running = launcher.up(PIPELINE, *ONCE, *QUICK, *options(sinks__rows__path=rows, sinks__rows__retry__attempts=2))
    error = failed(running)
    assert "stage rows" in error
    assert "No space left on device; make room" in error
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    launcher.up(PIPELINE, *ONCE, *options(sinks__rows__path=rows)).finish()
    assert [json.loads(line)["n"] for line in rows.read_bytes().splitlines()] == list(range(40_000))


def test_a_folder_that_cannot_be_written(launcher: Launcher, small_disk: Path) -> None:
    """On a read-only disk nothing starts: one line, exit status 1; what is there can still be read."""
    at = ["--data", str(small_disk / "data")]
    write_numbers(launcher, range(100))
    launcher.up(PIPELINE, *ONCE, *at).finish()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    running = launcher.up(PIPELINE, *ONCE, *at)
    error = failed(running)
    assert "read-only" in error
    tail = [str(PROGRAM), "topic", "tail", str(PIPELINE), "numbers", "--json", *at]
    read = subprocess.run(tail, capture_output=True, check=True, cwd=launcher.folder).stdout
    assert [json.loads(line)["value"]["n"] for line in read.splitlines()] == list(range(100))
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    write_numbers(launcher, range(100, 200))
    launcher.up(PIPELINE, *ONCE, *at).finish()
    assert written(launcher) == list(range(200))


def damage(log: Path, topic: str) -> None:
    """Overwrite the payload page of a record in the middle of a topic, as a failing disk does."""
    with contextlib.closing(sqlite3.connect(log)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [payload] = connection.execute(
            "SELECT payload FROM chunk JOIN partition ON partition.id = chunk.id >> 46 WHERE topic = ? "
            "ORDER BY chunk.id LIMIT 1 OFFSET 1",
            (topic,),
        ).fetchone()
    content = log.read_bytes()
    # A stretch of the payload that lies in one page.
    at = content.index(payload[2_000:2_100])
    with log.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 100)


def test_a_damaged_page_stops_the_reader_and_is_named(launcher: Launcher) -> None:
    """A damaged record is named with its place, not passed on; told to skip it, everything else arrives."""
    write_numbers(launcher, range(3_000))
    # Written, but not read yet.
    launcher.up(PIPELINE, *options(producers__lines__follow=False), "--until-idle", "--only", "lines").finish()
    whole = launcher.folder / "whole"
    shutil.copytree(launcher.data, whole)
    damage(launcher.data / "log.sqlite", "numbers")

    error = failed(launcher.up(PIPELINE, *ONCE, *QUICK))
    assert "stage rows" in error
    assert "topic numbers, partition 0" in error
    assert "restore the file, or set `damaged: skip`" in error
    found = subprocess.run(
        [str(PROGRAM), "log", "check", str(launcher.data)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "topic numbers, partition 0" in found.stdout + found.stderr
    acknowledged = written(launcher)
    assert acknowledged == list(range(len(acknowledged)))

    # Repaired, by putting the whole file back: it goes on as if nothing had been.
    shutil.copy(whole / "log.sqlite", launcher.data / "log.sqlite")
    for name in ("log.sqlite-wal", "log.sqlite-shm"):
        (launcher.data / name).unlink(missing_ok=True)
    launcher.up(PIPELINE, *ONCE).finish()
    assert written(launcher) == list(range(3_000))


def test_skipping_damaged_records_counts_them_as_lost(launcher: Launcher) -> None:
    """With `damaged: skip` what is whole arrives, and what is not is counted, each record in one of the two."""
    write_numbers(launcher, range(3_000))
    launcher.up(PIPELINE, *options(producers__lines__follow=False), "--until-idle", "--only", "lines").finish()
    damage(launcher.data / "log.sqlite", "numbers")
    counts = launcher.up(PIPELINE, *ONCE, *options(broker__damaged="skip")).finish()
    rows = written(launcher)
    assert rows == sorted(set(rows))
    assert counts["rows"]["lost"] > 0
    assert len(rows) + counts["rows"]["lost"] == 3_000


def test_a_disk_that_fills_up_while_it_runs(launcher: Launcher, small_disk: Path) -> None:
    """A pipeline that waits out a full disk goes on by itself when there is room again."""
    data = small_disk / "data"
    write_numbers(launcher, range(100))
    patient = options(
        producers__lines__restart__initial="100ms",
        producers__lines__restart__longest="100ms",
        producers__lines__restart__attempts=1000,
        sinks__rows__restart__initial="100ms",
        sinks__rows__restart__longest="100ms",
        sinks__rows__restart__attempts=1000,
    )
    running = launcher.up(PIPELINE, *patient, "--data", str(data))
    with log_of(data) as log:
        until(lambda: log.size("numbers") == 100, "the first lines")
    write_numbers(launcher, range(100, 40_000))
    until(lambda: "the disk is full" in running.stderr, "word of the full disk")
    assert running.process.poll() is None
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    rows = launcher.folder / "numbers.ndjson"
    until(lambda: rows.read_bytes().count(b"\n") == 40_000, "every line")
    running.signal(signal.SIGTERM)
    running.finish()
    assert written(launcher) == list(range(40_000))
