"""Kill -9: whatever the moment, the file holds each record exactly once, in order."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamweaver import Batch, Record, Size
from streamweaver.testing import FakeContext
from streamweaver_sinks.file import File

WRITER = """
import sys
from pathlib import Path
from streamweaver import Batch, Record
from streamweaver.testing import FakeContext
from streamweaver_sinks.file import File

folder = Path(sys.argv[1])
sink = File(path=folder / "out.ndjson", rotate_bytes=int(sys.argv[2]) or None, durability=sys.argv[3])
sink.open(FakeContext(data_dir=folder / "state"))
ends = [sink.committed("t", p) or 0 for p in (0, 1)]
print(*ends, flush=True)
turn = 0
while True:
    batches = []
    for partition in (0, 1):
        first = ends[partition]
        numbers = range(first, first + 1 + first % 40)
        records = [Record({"p": partition, "n": n, "pad": "x" * (n % 50)}) for n in numbers]
        batches.append(Batch(records, "t", partition, first, first + len(records) - 1))
        ends[partition] += len(records)
    turn += 1
    if turn % 3:
        sink.write_all(batches)
        print(*ends, flush=True)
    else:
        for batch in batches:
            sink.write(batch)
            acknowledged = [end if batch.partition or not p else 0 for p, end in enumerate(ends)]
            print(*acknowledged, flush=True)
"""


def told(acknowledged: list[int], line: bytes) -> list[int]:
    """Take in what the writer says is durable, by partition."""
    return [max(before, int(word)) for before, word in zip(acknowledged, line.split(), strict=True)]


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("rotate_bytes", "durability"), [(0, "full"), (6000, "full"), (2000, "process")])
def test_kill_9_at_random_moments(tmp_path: Path, rotate_bytes: int, durability: str, kills: int) -> None:
    """After every kill the offsets agree with the rows, and acknowledged rows are all there, once."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged = [0, 0]
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(rotate_bytes), durability], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        resumed = [int(word) for word in child.stdout.readline().split()]
        for before, after in zip(acknowledged, resumed, strict=True):
            assert after >= before
        # A moment that is random in the writer's work, not in its start: some writes, then some microseconds.
        for _ in range(chance.randrange(1, 40)):
            acknowledged = told(acknowledged, child.stdout.readline())
        for _ in range(chance.randrange(0, 20_000)):
            pass
        os.kill(child.pid, signal.SIGKILL)
        for line in child.stdout.read().splitlines(keepends=True):
            if line.endswith(b"\n"):
                acknowledged = told(acknowledged, line)
        child.wait()
        child.stdout.close()

    sink = File(path=tmp_path / "out.ndjson", rotate_bytes=Size(rotate_bytes) if rotate_bytes else None)
    context: Any = FakeContext(data_dir=tmp_path / "state")
    sink.open(context)
    committed = [sink.committed("t", p) or 0 for p in (0, 1)]
    sink.write(Batch([Record({"p": 0, "n": committed[0]})], "t", 0, committed[0], committed[0]))
    sink.close()
    parts = sorted(tmp_path.glob("out-*.ndjson"))
    assert bool(parts) == bool(rotate_bytes)
    rows = [json.loads(line) for part in [*parts, tmp_path / "out.ndjson"] for line in part.read_text().splitlines()]
    for partition, end in ((0, committed[0] + 1), (1, committed[1])):
        assert [row["n"] for row in rows if row["p"] == partition] == list(range(end))
        assert end >= acknowledged[partition]
