"""Kill -9 of a pipeline that follows real, rotating log files: each line arrives exactly once, in order.

What is proven, how, and what cannot be promised stands in `docs/faults.md`.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from faults import kill_at, log_writer
from faults.kill_at import POINTS
from faults.running import PIPELINES, Launcher, LogView, Row, Running, log_of, options, unmeasured, until

NUMBER = re.compile(rb"\+n(\d{7})")
PIPELINE = PIPELINES / "logs.yaml"

# A window from 2001 to 2033: everything falls into it, and a line from 2040 closes it.
SPAN_SECONDS = 1_000_000_000
LAST_WORDS = {
    "dpkg.log": b"2040-01-01 00:00:00 startup the end",
    "system.log": b"2040-01-01T00:00:00+00:00 host end: the end",
    "access.log": b'127.0.0.1 - - [01/Jan/2040:00:00:00 +0000] "GET /end HTTP/1.1" 200 -',
}

Numbers = dict[str, list[int]]
"""By file, the numbers of its lines, in the order found."""


@attrs.define
class Proof:
    """One run of the proof: the log files being written, and the pipeline being killed."""

    launcher: Launcher
    chance: random.Random
    rotate_bytes: int
    writer: "subprocess.Popen[bytes] | None" = None
    kills: Counter[str] = attrs.field(factory=Counter)
    started: float = attrs.field(factory=time.monotonic)

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.launcher.folder / "logs"

    @property
    def rows_file(self) -> Path:
        """The file that the sink writes."""
        return self.launcher.folder / "out/rows.ndjson"

    @contextmanager
    def writing(self, lines: int, rate: int) -> Iterator[None]:
        """Have the log files written for the length of a block, and until there are enough lines."""
        self.logs.mkdir()
        command = [sys.executable, log_writer.__file__, str(self.logs), "--seed", str(self.chance.randrange(2**32))]
        self.writer = subprocess.Popen(
            [*command, "--lines", str(lines), "--rate", str(rate)], stdin=subprocess.PIPE, env=unmeasured()
        )
        assert self.writer.stdin is not None
        try:
            yield
            self.writer.stdin.close()
            assert self.writer.wait(600) == 0
        finally:
            self.writer.kill()
            self.writer.wait()

    def start(self, point: str = "", number: int = 0) -> Running:
        """Start the pipeline; with a point it kills itself there."""
        settings = options(
            producers__files__max_line_bytes=log_writer.LONGEST,
            producers__files__encoding_errors="reject",
            producers__files__poll_seconds=0.05,
            flows__counts__steps__0__span_seconds=SPAN_SECONDS,
            flows__counts__steps__0__ahead_seconds=SPAN_SECONDS,
            sinks__archive__path=self.rows_file,
            sinks__archive__rotate_bytes=self.rotate_bytes,
        )
        env = unmeasured({"STREAMWEAVER_LOG": str(self.logs / "*.log")})
        if not point:
            return self.launcher.up(PIPELINE, *settings, env=env)
        env[kill_at.VARIABLE] = f"{point}#{number}"
        return self.launcher.up(PIPELINE, *settings, env=env, script=Path(kill_at.__file__))

    def kill_at_point(self, point: str) -> None:
        """Run the pipeline until it comes to a point, where it is killed."""
        number = self.chance.randint(1, POINTS[point].most)
        before = self._sink_bytes()
        running = self.start(point, number)
        if POINTS[point].stopping:
            until(lambda: self._at_work(running, before), "the pipeline at work")
            running.signal(signal.SIGTERM)
        status = running.wait(60)
        assert status == -signal.SIGKILL, f"{point} #{number}: exit status {status}\n{running.stderr[-3000:]}"
        self.kills[point] += 1
        print(f"{time.monotonic() - self.started:6.1f} s: {point} #{number}")

    def kill_at_random(self) -> None:
        """Run the pipeline and kill it at any moment: in its start, at work, while it catches up."""
        running = self.start()
        after = self.chance.uniform(0.2, 1.6)
        with pytest.raises(subprocess.TimeoutExpired):
            running.process.wait(after)
        running.process.kill()
        assert running.wait() == -signal.SIGKILL
        self.kills["a random moment"] += 1

    def begin(self) -> None:
        """Run the pipeline until it has read something of each file; from then on they are rotated."""
        running = self.start()

        def known() -> bool:
            assert running.process.poll() is None, running.stderr[-3000:]
            rows = self.rows_file.read_bytes() if self.rows_file.exists() else b""
            return all(str(self.logs / name).encode() in rows for name in LAST_WORDS)

        until(known, "lines of each file")
        running.process.kill()
        running.wait()
        (self.logs / "rotate").touch()

    def _sink_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.rows_file.parent.glob("*.ndjson"))

    def _at_work(self, running: Running, before: int) -> bool:
        assert running.process.poll() is None, running.stderr[-3000:]
        return self._sink_bytes() > before

    # -- afterwards -------------------------------------------------------------------------------

    def finish(self) -> dict[str, dict[str, int]]:
        """Let the pipeline catch up undisturbed, verify everything, close the counts' windows, and stop it."""
        ledger = json.loads((self.logs / "ledger.json").read_text())
        lines = sum(file["lines"] for file in ledger.values())
        running = self.start()
        with log_of(self.launcher.data) as log:

            def settled() -> int:
                assert running.process.poll() is None, running.stderr[-3000:]
                return log.size("parsed_lines") + log.size("logs.dead_letters")

            try:
                until(lambda: settled() >= lines, "every line", seconds=60)
            except AssertionError as error:
                raise AssertionError(f"{error}: {settled()} of {lines}\n{self._missing(log, ledger)}") from error
            self.verify(log, ledger)
            self._close_windows(log)
        counts = running.stop()
        with log_of(self.launcher.data) as log:
            self._verify_file(log)
        return counts

    def verify(self, log: LogView, ledger: dict[str, Any]) -> None:
        """Compare what the log holds with what was written."""
        raw, parsed, letters = (numbers_of(log.read(t)) for t in ("raw_lines", "parsed_lines", "logs.dead_letters"))
        for path, written in ledger.items():
            failing, everything = written["failing"], list(range(1, written["lines"] + 1))
            refused = set(failing)
            # Those that are no text never become records; the others fail in the flow.
            assert raw[path] == [n for n in everything if n not in refused or n in raw[path]], f"raw lines of {path}"
            assert parsed[path] == [n for n in everything if n not in refused], f"parsed lines of {path}"
            assert sorted(letters[path]) == sorted(failing), f"dead letters of {path}"

    def _missing(self, log: LogView, ledger: dict[str, Any]) -> str:
        parsed, letters = (numbers_of(log.read(t)) for t in ("parsed_lines", "logs.dead_letters"))
        found = []
        for path, written in ledger.items():
            gone = set(range(1, written["lines"] + 1)) - set(parsed[path]) - set(letters[path])
            found.append(f"{path}: {len(gone)} missing, {sorted(gone)[:10]} to {sorted(gone)[-3:]}")
        return "\n".join(found)

    def _close_windows(self, log: LogView) -> None:
        """Write a last line into each file, whose date closes the windows; the counts are those of the parsed lines."""
        rows = [row.json for row in log.read("parsed_lines")]
        expected = Counter((row["log_file"], row["program"], row["level"]) for row in rows)
        for name, line in LAST_WORDS.items():
            with (self.logs / name).open("ab") as file:
                file.write(line + b"\n")
        until(lambda: log.size("line_counts") >= len(expected), "the counts")
        counted = [row.json for row in log.read("line_counts")]
        assert {(c["log_file"], c["program"], c["level"]): c["count"] for c in counted} == dict(expected)
        assert len(counted) == len(expected)

    def _verify_file(self, log: LogView) -> None:
        """The sink's file holds the records of the topic, each once, in the order of their partition."""
        topic: dict[str, list[Any]] = defaultdict(list)
        for row in log.read("parsed_lines"):
            topic[row.json["log_file"]].append(row.json)
        parts = sorted(self.rows_file.parent.glob("rows-*.ndjson"))
        assert parts, "the sink's file was never rotated"
        written: dict[str, list[Any]] = defaultdict(list)
        for part in [*parts, self.rows_file]:
            for line in part.read_bytes().splitlines():
                value = json.loads(line)
                written[value["log_file"]].append(value)
        assert written == topic


def numbers_of(rows: Iterable[Row]) -> Numbers:
    """Return the lines' numbers by file, in the order of the topic."""
    found: Numbers = defaultdict(list)
    for row in rows:
        match = NUMBER.search(row.value)
        assert match, f"a line without a number: {row.value!r}"
        found[(row.key or b"").decode()].append(int(match[1]))
    return found


@pytest.fixture
def proof(launcher: Launcher) -> Proof:
    seed = int(os.environ.get("STREAMWEAVER_SEED") or random.randrange(2**32))
    print(f"STREAMWEAVER_SEED={seed}")
    return Proof(launcher, random.Random(seed), rotate_bytes=200_000)


# Reached only after seconds of work, or close to another point: left to the long form.
SLOW = {"before the checkpoint", "after the sink's mark", "next part begun"}


def prove(proof: Proof, points: Iterable[str], *, lines: int, rate: int, rounds: int, random_kills: int) -> None:
    """Kill at every named point and at random moments, in random order, while the files are written; then verify."""
    kills = [*points] * rounds + [""] * random_kills
    kills.sort()  # a set has no order that a seed could repeat
    proof.chance.shuffle(kills)
    # The first start makes the log's tables, so this point is there only.
    first = "tables made, the version not"
    kills = [first, *(kill for kill in kills if kill != first)]
    with proof.writing(lines, rate):
        for number, kill in enumerate(kills):
            if number == 1:
                proof.begin()
            if kill:
                proof.kill_at_point(kill)
            else:
                proof.kill_at_random()
    counts = proof.finish()
    ledger = json.loads((proof.logs / "ledger.json").read_text())
    print(
        f"{sum(file['lines'] for file in ledger.values())} lines in {len(ledger)} files, "
        f"{sum(file['rotations'] for file in ledger.values())} rotations, "
        f"{sum(len(file['failing']) for file in ledger.values())} dead letters, "
        f"{proof.kills.total()} kills at {len(proof.kills)} points, {time.monotonic() - proof.started:.0f} s"
    )
    assert proof.kills.total() == len(kills) >= 20
    assert counts["archive"]["dead_lettered"] == 0


@pytest.mark.timeout(300)
def test_every_line_arrives_exactly_once_whenever_the_process_is_killed(proof: Proof) -> None:
    """Killed once at nearly each named point and at random moments, nothing is lost, doubled or out of order."""
    prove(proof, POINTS.keys() - SLOW, lines=10_000, rate=500, rounds=1, random_kills=3)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_200_000_lines_arrive_exactly_once_whenever_the_process_is_killed(proof: Proof) -> None:
    """The same with 200,000 lines, three times at each point and 30 times at random."""
    proof.rotate_bytes = 4_000_000
    prove(proof, POINTS, lines=200_000, rate=1_000, rounds=3, random_kills=30)
