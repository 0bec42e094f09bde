"""A real process, really killed: what is stored with the position is exact."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

# Stores every list together with its position, as the engine does, and stops when nothing has come for a while.
_STAGE = """
import asyncio, sqlite3, sys
import msgspec
from streamweaver.testing import FakeContext
from streamweaver_producers.file_tail import FileTail

class Context(FakeContext):
    idle = 0
    async def sleep(self, seconds):
        self.clock.advance(seconds)
        Context.idle += 1
        if Context.idle > 30:
            raise KeyboardInterrupt
        await asyncio.sleep(0.002)

async def main(pattern, store):
    store = sqlite3.connect(store)
    store.execute("pragma synchronous=off")
    store.execute("create table if not exists lines (text)")
    store.execute("create table if not exists position (at)")
    store.commit()
    at = store.execute("select at from position").fetchone()
    context = Context(position=at and msgspec.msgpack.decode(at[0]))
    async for items in FileTail(paths=[pattern]).produce(context):
        Context.idle = 0
        with store:
            store.executemany("insert into lines values (?)", [(item.value["line"],) for item in items])
            store.execute("delete from position")
            store.execute("insert into position values (?)", [msgspec.msgpack.encode(items[-1].position)])
        print(len(items), flush=True)

try:
    asyncio.run(main(*sys.argv[1:]))
except KeyboardInterrupt:
    pass
"""


@pytest.mark.parametrize("rounds", [7, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def test_kill_nine(tmp_path: Path, rounds: int) -> None:
    """Killed with SIGKILL in the middle, again and again, while logs grow and rotate: every line once, in order."""
    luck = random.Random(4)
    log, store = tmp_path / "app.log", tmp_path / "store.db"
    expected: list[str] = []
    clock = 1_600_000_000
    for round_ in range(rounds):
        rotate = round_ > 0 and luck.random() < 0.7
        if rotate:
            for age in range(round_ + 1, 0, -1):
                if (old := tmp_path / f"app.log.{age}").exists():
                    old.rename(tmp_path / f"app.log.{age + 1}")
            log.rename(tmp_path / "app.log.1")
        lines = [f"{round_} {n} {'x' * luck.randrange(200)}" for n in range(luck.randrange(2000, 6000))]
        with log.open("a") as out:
            out.write("\n".join(lines) + "\n")
        expected += lines
        clock += 1
        os.utime(log, (clock, clock))
        last = round_ == rounds - 1
        with subprocess.Popen(
            [sys.executable, "-c", _STAGE, str(tmp_path / "*.log"), str(store)], stdout=subprocess.PIPE, text=True
        ) as stage:
            assert stage.stdout is not None
            # Killed after some lists, perhaps while it is storing the next one.
            for _ in range(10_000 if last else luck.randrange(1, 4)):
                if not stage.stdout.readline():
                    break
            if not last:
                stage.send_signal(signal.SIGKILL)
    with closing(sqlite3.connect(store)) as stored:
        assert [text for (text,) in stored.execute("select text from lines order by rowid")] == expected
