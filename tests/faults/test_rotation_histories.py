"""Rotation of every kind, as often as one likes between two looks of the reader: every line is read, once, in order."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from streamweaver_producers.file_tail.follower import Follower, Scope
from streamweaver_producers.file_tail.tailed import LineRules

TICK_NS = 4_000_000
"""How coarse a file system's times may be: a copy and the truncation after it share one, two acts do not."""

NEVER = 10**9


class History:
    """A log file, what rotation made of it, and a reader that looks at it now and then."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.path = folder / "app.log"
        self.written = 0
        self.read: list[int] = []
        self._chance = chance
        self._handle = self.path.open("ab", buffering=0)
        self._place = self.path
        self._rotations = 0
        self._tick = 1_700_000_000_000_000_000
        self._now = 0
        self._position: Any = None
        self._follower = self._new()

    def _new(self) -> Follower:
        scope = Scope(
            paths=[str(self.path.with_name("*.log"))],
            start="beginning",
            follow=True,
            include_gzip=False,
            rules=LineRules(max_line_bytes=4096),
            event_timeout_ms=NEVER,
            log=lambda *_, **__: None,
        )
        return Follower(scope)

    def _stamp(self, *paths: Path) -> None:
        self._tick += TICK_NS
        for path in paths:
            os.utime(path, ns=(self._tick, self._tick))

    # -- the writer -------------------------------------------------------------------------------

    def write(self) -> None:
        for _ in range(self._chance.randrange(1, 60)):
            self.written += 1
            self._handle.write(b"%06d %s\n" % (self.written, b"x" * self._chance.randrange(30)))
        self._stamp(self._place)

    def _numbered(self) -> Path:
        self._rotations += 1
        return self.path.with_name(f"app.log-{self._rotations:04d}")

    def _begin_anew(self) -> None:
        self._handle.close()
        self._handle = self.path.open("ab", buffering=0)
        self._place = self.path
        self._stamp(self.path)

    def copy_and_truncate(self) -> None:
        copy = self._numbered()
        shutil.copyfile(self.path, copy)
        os.truncate(self.path, 0)
        self._stamp(self.path, copy)

    def rename_and_linger(self) -> None:
        self._place = self._numbered()
        self.path.rename(self._place)
        for _ in range(self._chance.randrange(3)):
            self.write()
            self._chance.choice([self.look, self.restart, self.rest])()
        self._begin_anew()

    def rename_and_shift(self) -> None:
        for number in range(self._rotations, 0, -1):
            self.path.with_name(f"app.log.{number}").rename(self.path.with_name(f"app.log.{number + 1}"))
        self.path.rename(self.path.with_name("app.log.1"))
        self._rotations += 1
        self._begin_anew()

    # -- the reader -------------------------------------------------------------------------------

    def rest(self) -> None:
        """Nobody looks."""

    def look(self, most_lists: int | None = None, quiet: int = 3) -> None:
        """Poll some times; perhaps only until some lists were read."""
        most = self._chance.choice([1, 2, NEVER]) if most_lists is None else most_lists
        idle = 0
        while idle < quiet:
            # Looks for changed names come once a second, looks for new lines more often.
            self._now += self._chance.choice([50, 50, 1100])
            self._follower.scan(self._now)
            idle += 1
            for file in list(self._follower.files):
                lines, _ = self._follower.step(file, self._now)
                if lines:
                    idle = 0
                    self.read += [int(line[:6]) for line in lines if isinstance(line, bytes)]
                    self._position = self._follower.position()
                    most -= 1
                    if most == 0:
                        return

    def restart(self) -> None:
        """Begin again from the position of the last list, as after a kill."""
        self._follower.close()
        self._follower = self._new()
        self._follower.resume(self._position, self._now)

    def end(self) -> None:
        """Read to the end."""
        self.look(NEVER, 80)
        self._follower.close()
        self._handle.close()


@pytest.mark.parametrize("acts", [6, 12, 40])
@pytest.mark.parametrize("rotation", ["copy_and_truncate", "rename_and_linger", "rename_and_shift"])
def test_lines_are_read_through_any_history_of_rotations(tmp_path: Path, rotation: str, acts: int) -> None:
    """Written, rotated, looked at and restarted in any order: each line once, in order."""
    for seed in range(40):
        chance = random.Random(f"{rotation} {acts} {seed}")
        folder = tmp_path / str(seed)
        folder.mkdir()
        history = History(folder, chance)
        # What was rotated away before the first look was never there for the reader.
        history.write()
        history.look(NEVER)
        for _ in range(acts):
            act = chance.choices(
                [history.write, getattr(history, rotation), history.look, history.restart], weights=[35, 25, 20, 20]
            )[0]
            act()
        history.end()
        assert history.read == list(range(1, history.written + 1)), f"seed {seed}"
