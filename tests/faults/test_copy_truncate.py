"""Rotation by copying and truncating, as often as one likes between two looks: every line is read, from the copies."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from streamweaver_producers.file_tail.follower import Follower, Scope
from streamweaver_producers.file_tail.tailed import LineRules

TICK_NS = 4_000_000
"""How coarse a file system's times may be: a copy and the truncation after it share one."""


class History:
    """A log file, its copies, and a reader that looks at it now and then."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.path = folder / "app.log"
        self.path.touch()
        self.written = 0
        self.read: list[int] = []
        self._chance = chance
        self._copies = 0
        self._tick = 1_700_000_000_000_000_000
        self._now = 0
        self._position: Any = None
        self._follower = self._new()

    def _new(self) -> Follower:
        scope = Scope(
            paths=[str(self.path)],
            start="beginning",
            follow=True,
            include_gzip=False,
            rules=LineRules(max_line_bytes=4096),
            event_timeout_ms=1 << 60,
            log=lambda *_, **__: None,
        )
        return Follower(scope)

    def _stamp(self, *paths: Path) -> None:
        self._tick += TICK_NS
        for path in paths:
            os.utime(path, ns=(self._tick, self._tick))

    def write(self) -> None:
        with self.path.open("a") as file:
            for _ in range(self._chance.randrange(1, 5)):
                self.written += 1
                file.write(f"{self.written:06d}\n")
        self._stamp(self.path)

    def copy_and_truncate(self) -> None:
        self._copies += 1
        copy = self.path.with_name(f"app.log-{self._copies:04d}")
        shutil.copyfile(self.path, copy)
        os.truncate(self.path, 0)
        self._stamp(self.path, copy)

    def look(self) -> None:
        idle = 0
        while idle < 2:
            self._now += 1100
            self._follower.scan(self._now)
            idle += 1
            for file in list(self._follower.files):
                lines, _ = self._follower.step(file, self._now)
                if lines:
                    idle = 0
                    self.read += [int(line) for line in lines if isinstance(line, bytes)]
                    self._position = self._follower.position()

    def restart(self) -> None:
        self._follower.close()
        self._follower = self._new()
        self._follower.resume(self._position, self._now)

    def end(self) -> None:
        self.look()
        self._follower.close()


@pytest.mark.parametrize("seed", range(40))
def test_lines_of_copies_that_nobody_saw_being_made_are_read(tmp_path: Path, seed: int) -> None:
    """Written, copied, truncated, looked at and restarted in any order: each line once, in order."""
    chance = random.Random(seed)
    history = History(tmp_path, chance)
    history.write()
    history.look()
    for _ in range(30):
        act = chance.choices(
            [history.write, history.copy_and_truncate, history.look, history.restart], weights=[4, 3, 2, 1]
        )[0]
        act()
    history.end()
    assert history.read == list(range(1, history.written + 1))
