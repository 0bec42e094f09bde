"""Whatever happens to the logs, running or down, every line comes exactly once, in order."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

NAMES = ("app.log", "db.log", "web.log")


class Log:
    """One log as its writer sees it, and the lines that it should bring."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.whole: list[str] = []
        self.partial = ""
        self.known_since: int | None = None
        """How many durable lists there must be for the position to know this log."""

    def end_generation(self) -> None:
        """A line that its generation leaves without an end is taken as it is."""
        if self.partial:
            self.whole.append(self.partial)
            self.partial = ""


class AnyHistory(RuleBasedStateMachine):
    """Writers, rotations and kills in any order, against a model."""

    tail_class: type[Any]
    glob = "*.log"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.tail = self.tail_class(paths=[str(self.folder / self.glob)], max_line_bytes=4000)
        self.logs: dict[str, Log] = {}
        self.number = 0
        self.time = 1_600_000_000
        self.append(NAMES[0], 1, False)
        self.run()

    def teardown(self) -> None:
        try:
            self.loop.run_until_complete(self.tail.run(60))
        finally:
            self.loop.run_until_complete(self.tail.kill())
            self.loop.close()
            shutil.rmtree(self.folder)
        self.compare([item.value for items, _ in self.tail.lists for item in items])

    def compare(self, came: list[dict[str, str]]) -> None:
        by_name: dict[str, list[str]] = {}
        for value in came:
            by_name.setdefault(Path(value["path"]).name, []).append(value["line"])
        assert by_name == {name: log.whole for name, log in self.logs.items() if log.whole}

    def touch(self, path: Path) -> None:
        """Files are written seconds apart; the real clock is too coarse for a test that is quick."""
        self.time += 1
        os.utime(path, (self.time, self.time))

    def rotatable(self) -> list[Log]:
        return [log for log in self.logs.values() if log.known_since is not None and log.path.exists()]

    @rule(name=st.sampled_from(NAMES), lines=st.integers(1, 30), partial=st.booleans())
    def append(self, name: str, lines: int, partial: bool) -> None:
        """Write some lines, perhaps the beginning of one more."""
        log = self.logs.setdefault(name, Log(self.folder / name))
        text = ""
        for _ in range(lines):
            self.number += 1
            text += f"{name} {self.number}{'x' * (self.number * 37 % 90)}\n"
        if partial:
            text = text[: -1 - self.number % 5]
        with log.path.open("a") as out:
            out.write(text)
        *whole, log.partial = (log.partial + text).split("\n")
        log.whole += whole
        self.touch(log.path)

    @rule()
    def run(self) -> None:
        """Let the producer catch up."""
        self.loop.run_until_complete(self.tail.run(2))
        self._note_known()

    @rule()
    def run_a_little(self) -> None:
        """Let it bring one list only."""
        self.loop.run_until_complete(self.tail.one(2))
        self._note_known()

    def _note_known(self) -> None:
        known = {Path(file[0]).name for file in self.tail.position[1]}
        for name, log in self.logs.items():
            if name in known and log.known_since is None:
                log.known_since = len(self.tail.lists)

    @rule(back=st.integers(0, 3))
    def kill(self, back: int) -> None:
        """Kill it; the last lists may not have become durable. What the position must know of, it knows."""
        least = max([1, *(log.known_since for log in self.logs.values() if log.known_since is not None)])
        self.loop.run_until_complete(self.tail.kill(lost=min(back, len(self.tail.lists) - least)))

    @precondition(lambda self: self.rotatable())
    @rule(data=st.data(), by_copy=st.booleans(), at_once=st.integers(0, 5))
    def rotate(self, data: st.DataObject, by_copy: bool, at_once: int) -> None:
        """Rename, or copy and truncate, perhaps with new lines before anybody looks."""
        log = data.draw(st.sampled_from(self.rotatable()))
        for age in range(60, 0, -1):
            old = self.folder / f"{log.path.name}.{age}"
            if old.exists():
                old.rename(self.folder / f"{log.path.name}.{age + 1}")
        copy = self.folder / f"{log.path.name}.1"
        if by_copy:
            shutil.copyfile(log.path, copy)
            self.touch(copy)
            os.truncate(log.path, 0)
            self.touch(log.path)
        else:
            log.path.rename(copy)
            log.path.touch()
            self.touch(log.path)
        log.end_generation()
        if at_once:
            self.append(log.path.name, at_once, False)


class AnyHistoryOfAllFiles(AnyHistory):
    """The same where the glob matches rotated files too."""

    glob = "*.log*"

    def compare(self, came: list[dict[str, str]]) -> None:
        # A copy of what nobody had read yet may come under its own name, so only the lines can be told beforehand.
        assert sorted(value["line"] for value in came) == sorted(x for log in self.logs.values() for x in log.whole)


@pytest.mark.parametrize("examples", [40, pytest.param(1_000, marks=[pytest.mark.soak, pytest.mark.timeout(1_200)])])
@pytest.mark.parametrize("machine", [AnyHistory, AnyHistoryOfAllFiles])
def test_any_history(tail_class: type[Any], machine: type[AnyHistory], examples: int) -> None:
    """Appends, partial lines, renames, copy-truncates, new files and kills in any order lose and repeat nothing."""
    machine.tail_class = tail_class
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
