"""What survives a kill, a torn file and a failing disk: everything that was acknowledged, and nothing half."""

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamweaver import BrokerContext, TopicSpec
from streamweaver.testing.broker import all_of, append, lane_of, rows
from streamweaver_brokers.embedded import Embedded, fold, recent, schema
from streamweaver_brokers.embedded.check import check

Launch = Callable[..., Awaitable[Embedded]]
Spawn = Callable[..., Any]

LANES = 4

COMMITS = """
    from streamweaver_brokers.embedded import recent

    recent.LAYER_BYTES = 20_000  # folds state all the time

    async def lane(broker, number, size):
        member = await broker.join(f"lane{number}", [], single=True)
        async for lane in member.lanes():
            unit_number = int(lane.position() or b"0")
            while True:
                unit_number += 1
                unit = lane.begin()
                mark = b"%d:%d:" % (number, unit_number)
                for topic in ("a", "b"):
                    unit.append(topic, unit_number % 2, rows(mark + b"%d" % row for row in range(unit_number % 7 + 1)))
                unit.put_state("store", number, {b"unit": b"%d" % unit_number})
                unit.mark_position(b"%d" % unit_number)
                await unit.commit()
                say(number, unit_number)

    async def main():
        broker = await launch(durability=sys.argv[2])
        await broker.create([TopicSpec(name="a", partitions=2), TopicSpec(name="b", partitions=2)])
        await asyncio.gather(*(lane(broker, number, 3) for number in range(4)))

    asyncio.run(main())
"""


async def stored_units(broker: Embedded, topic: str) -> dict[int, list[int]]:
    """Return the numbers of each lane's units in a topic, having verified that each is whole and there once."""
    found: dict[int, list[int]] = {lane: [] for lane in range(LANES)}
    for part, held in enumerate(await broker.ranges(topic)):
        values = [value for _, value, _, _ in await all_of(broker, topic, part, held.end)] if held.end else []
        position = 0
        while position < len(values):
            lane, unit, row = map(int, (values[position] or b"").split(b":"))
            size = unit % 7 + 1
            whole = [b"%d:%d:%d" % (lane, unit, index) for index in range(size)]
            assert row == 0
            assert values[position : position + size] == whole
            found[lane].append(unit)
            position += size
    for units in found.values():
        units.sort()
    return found


@pytest.mark.parametrize("durability", ["full", "process"])
async def test_kill_in_the_middle_of_commits(launch: Launch, spawn: Spawn, folder: Path, durability: str) -> None:
    """After each of several kill -9 every acknowledged unit is there, whole and once, and nothing half."""
    chance = random.Random(7)
    acknowledged = [0] * LANES
    for _ in range(4):
        child = spawn(COMMITS, durability)
        for _ in range(chance.randrange(20, 400)):
            lane, unit = map(int, child.stdout.readline().split())
            acknowledged[lane] = unit
        child.send_signal(signal.SIGKILL)
        for line in child.stdout.read().splitlines():
            if len(words := line.split()) == 2:
                acknowledged[int(words[0])] = int(words[1])
        child.wait()
        broker = await launch(durability=durability)
        in_a, in_b = await stored_units(broker, "a"), await stored_units(broker, "b")
        assert in_a == in_b
        for lane in range(LANES):
            last = in_a[lane][-1] if in_a[lane] else 0
            assert in_a[lane] == list(range(1, last + 1)), "a unit is missing or doubled"
            assert acknowledged[lane] <= last <= acknowledged[lane] + 1, (
                "one unit a lane may be stored but not answered"
            )
            async with lane_of(broker, f"lane{lane}", single=True) as held:
                assert held.position() == (b"%d" % last if last else None)
                assert held.get_state("store", lane, b"unit") == held.position()
        await broker.close()
        assert check(folder) == []
    assert min(acknowledged) > 0


def copied(folder: Path) -> int:
    """Return how many values have been folded into the table."""
    with closing(schema.connect(folder / schema.NAME)) as connection:
        return int(connection.execute("SELECT count(*) FROM state").fetchone()[0])


@pytest.mark.parametrize("folding", [False, True])
async def test_a_torn_write_ahead_log_keeps_whole_units(
    launch: Launch, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folding: bool
) -> None:
    """Cut at any place, the file gives back a prefix of the units, each with its rows and its state, folded or not."""
    if folding:
        monkeypatch.setattr(recent, "LAYER_BYTES", 5_000)
        monkeypatch.setattr(fold, "PIECE_VALUES", 1)
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    for number in range(1, 21):
        async with lane_of(broker, "g", single=True) as lane:
            unit = lane.begin()
            unit.append("t", 0, rows([b"%d" % number] * number))
            unit.put_state("store", 0, {b"%d" % (number % 7): b"%d" % number, b"%d" % (number % 5 + 7): None})
            unit.put_state("store", 0, {b"%d" % (number % 3 + 7): b"%d" % number})
            unit.mark_position(b"%d" % number)
            await unit.commit()
    wal = (folder / "log.sqlite-wal").read_bytes()
    main = (folder / "log.sqlite").read_bytes()
    prefixes = set()
    for cut in [*range(0, len(wal), len(wal) // 60), len(wal)]:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        (copy / "log.sqlite").write_bytes(main)
        (copy / "log.sqlite-wal").write_bytes(wal[:cut])
        torn = Embedded()
        await torn.open(BrokerContext(pipeline="test", data_dir=copy))
        if "t" in await torn.topics():
            end = (await torn.ranges("t"))[0].end
            values = [value for _, value, _, _ in await all_of(torn, "t", 0, end)] if end else []
            async with lane_of(torn, "g", single=True) as lane:
                last = int(lane.position() or b"0")
            assert values == [b"%d" % number for number in range(1, last + 1) for _ in range(number)]
            state: dict[bytes, bytes] = {}
            for number in range(1, last + 1):
                state.pop(b"%d" % (number % 5 + 7), None)
                state |= {b"%d" % (number % 7): b"%d" % number, b"%d" % (number % 3 + 7): b"%d" % number}
            assert dict(torn.state_items("store", 0)) == state
            prefixes.add(last)
        await torn.close()
        assert check(copy) == []
    assert folding == bool(copied(folder))
    assert max(prefixes) == 20
    assert len(prefixes) > 10


async def test_a_disk_that_is_full_for_a_while(launch: Launch, spawn: Spawn, folder: Path) -> None:
    """When files cannot grow, commits fail with StorageError; with space again they succeed; the acknowledged stay."""
    child = spawn("""
        async def main():
            broker = await launch()
            await broker.create([TopicSpec(name="t")])
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
            failed = 0
            for number in range(100):
                try:
                    await append(broker, "t", 0, rows([b"%d" % number + b" " * 50_000]))
                    say("stored", number)
                except StorageError as error:
                    failed += 1
                    assert "\\n" not in str(error), str(error)
                if failed == 5:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            await broker.close()
            say("failed", failed)
        asyncio.run(main())
    """)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[-1] == ["failed", "5"]
    stored = [int(number) for word, number in lines if word == "stored"]
    assert 20 < len(stored) == 95
    broker = await launch()
    values = [value for _, value, _, _ in await all_of(broker, "t", 0, 95)]
    assert [int(value or b"") for value in values] == stored
    await broker.close()
    assert check(folder) == []


async def test_a_folder_that_may_not_be_written(spawn: Spawn) -> None:
    """Without permission a runner gets a clear error, and a tool can still read what is there."""
    folder = Path(tempfile.mkdtemp())
    try:
        broker = Embedded()
        await broker.open(BrokerContext(pipeline="test", data_dir=folder))
        await broker.create([TopicSpec(name="t")])
        await append(broker, "t", 0, rows([b"a"]))
        await broker.close()
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        child = spawn(
            """
            async def main():
                try:
                    await launch()
                except StorageError as error:
                    say(error)
                tool = await launch(role="tool")
                say([value for _, value, _, _ in await all_of(tool, "t", 0, 1)])
                try:
                    await append(tool, "t", 0, rows([b"b"]))
                except StorageError as error:
                    say(error)
                await tool.close()

            if os.geteuid() == 0:
                os.setuid(65534)
            asyncio.run(main())
            """,
            on=folder,
        )
        out, _ = child.communicate(timeout=60)
        runner, read, appended = out.splitlines()
        assert runner == f"{folder}/log.lock: permission denied; choose another data folder or mend this one"
        assert read == "[b'a']"
        assert appended.startswith(f"{folder}/log.sqlite: it is read-only")
    finally:
        os.chmod(folder, 0o755)  # noqa: PTH101
        shutil.rmtree(folder)
