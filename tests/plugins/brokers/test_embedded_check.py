"""Damage: what readers say, what `check` finds, and that nothing else ever comes out."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from streamweaver import BrokerContext, BrokerError, CorruptLogError, StreamWeaverError, TopicSpec
from streamweaver.testing.broker import all_of, append, lane_of, read, rows
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.embedded.check import Damage, check
from streamweaver_brokers.embedded.rows import key_of

Launch = Callable[..., Awaitable[Embedded]]


async def a_log(launch: Launch) -> None:
    """Make a log of two partitions with three chunks of ten records each, and a group that has read them."""
    broker = await launch()
    await broker.create([TopicSpec(name="t", partitions=2)])
    for start in (0, 10, 20):
        for part in (0, 1):
            await append(broker, "t", part, rows([b"%d" % number for number in range(start, start + 10)]))
    async with lane_of(broker, "group", "t") as lane:
        for number in (10, 20, 30):
            unit = lane.begin()
            unit.mark("t", 0, number)
            unit.put_state("store", 0, {b"%d" % number: b"value"})
            await unit.commit()
    await broker.close()


def change(folder: Path, statement: str, *arguments: object) -> None:
    """Change the database of a closed log behind its back."""
    with closing(sqlite3.connect(folder / "log.sqlite")) as connection, connection:
        connection.execute(statement, arguments)


async def test_a_whole_log_has_no_findings(launch: Launch, folder: Path) -> None:
    """An undamaged log checks clean: closed, given as a folder or as a file, and beside its running pipeline."""
    await a_log(launch)
    assert check(folder) == check(folder / "log.sqlite") == []
    broker = await launch()
    await append(broker, "t", 0, rows([b"more"]))
    assert Embedded.check(folder) == []


@pytest.mark.parametrize("column", ["payload", "base", "newest", "stored", "crc"])
async def test_a_damaged_chunk_is_named(launch: Launch, folder: Path, column: str) -> None:
    """A changed byte is an error that names topic, partition, offsets and what to do; other partitions are read."""
    await a_log(launch)
    value = "CAST(replace(payload, x'31', x'30') AS BLOB)" if column == "payload" else f"{column} + 1"
    change(folder, f"UPDATE chunk SET {column} = {value} WHERE id = ?", key_of(1, 19))
    broker = await launch()
    with pytest.raises(CorruptLogError, match=r"topic t, partition 0, offsets 1[01] to 19: checksum.*`damaged: skip`"):
        await all_of(broker, "t", 0, 30)
    assert len(await all_of(broker, "t", 1, 30)) == 30
    (found, *_) = [damage for damage in check(folder) if damage.message.startswith("checksum")]
    assert (found.topic, found.partition, found.last) == ("t", 0, 19)


async def test_a_lane_reads_on_around_damage(launch: Launch, folder: Path) -> None:
    """A poll over several partitions hands out what is whole before it raises for what is damaged."""
    await a_log(launch)
    change(folder, "UPDATE chunk SET crc = crc + 1 WHERE id = ?", key_of(1, 9))
    broker = await launch()
    seen: list[int] = []
    async with lane_of(broker, "other", "t") as lane:
        with pytest.raises(CorruptLogError):
            for _ in range(10):
                seen += [fetched.partition for fetched in await lane.poll(timeout=1) for _ in fetched.values]
    assert set(seen) <= {1}


async def test_damaged_records_can_be_skipped(launch: Launch, folder: Path) -> None:
    """With `damaged: skip` a reader goes on behind the damage, and counts what it could not read as lost."""
    await a_log(launch)
    change(folder, "UPDATE chunk SET payload = zeroblob(100) WHERE id = ?", key_of(1, 19))
    broker = await launch(damaged="skip")
    reader = await broker.reader({("t", 0): 0})
    fetched = await read(reader, 20)
    await reader.close()
    assert [offset for item in fetched for offset in item.offsets] == [*range(10), *range(20, 30)]
    assert sum(item.lost for item in fetched) == 10


async def test_damage_at_the_end_is_skipped_as_well(launch: Launch, folder: Path) -> None:
    """With `damaged: skip` a reader gets to the end, also when the newest records are the damaged ones."""
    await a_log(launch)
    change(folder, "UPDATE chunk SET payload = zeroblob(100) WHERE id >= ?", key_of(1, 19))
    broker = await launch(damaged="skip")
    reader = await broker.reader({("t", 0): 0})
    fetched = await read(reader, 10)
    if fetched[-1].next_offset < 30:
        fetched += await reader.poll(timeout=5)
    await reader.close()
    assert [offset for item in fetched for offset in item.offsets] == [*range(10)]
    assert (fetched[-1].next_offset, sum(item.lost for item in fetched)) == (30, 20)


@pytest.mark.parametrize(
    ("statement", "wanted"),
    [
        ("DELETE FROM change WHERE id = 2", Damage("state: changes 2 to 2 are missing")),
        ("UPDATE change SET crc = crc + 1 WHERE id = 3", Damage("state: change 3: checksum does not match")),
        ("UPDATE change SET payload = x'00' WHERE id = 3", Damage("state: change 3: checksum does not match")),
        ("DELETE FROM chunk WHERE id = 1 << 46 | 19", Damage("missing", "t", 0, 10, 19)),
        (
            "DELETE FROM chunk WHERE id = 1 << 46 | 29",
            Damage(
                "group group has consumed up to 30, but the partition ends at 20: newer records are missing", "t", 0
            ),
        ),
        (
            "UPDATE consumed SET partition = 9",
            Damage("group group has consumed from a partition that does not exist (id 9)"),
        ),
    ],
)
async def test_what_is_missing_is_found(launch: Launch, folder: Path, statement: str, wanted: Damage) -> None:
    """Lost chunks and offsets beyond the end are findings of their own."""
    await a_log(launch)
    change(folder, statement)
    assert check(folder) == [wanted]
    assert str(wanted).endswith(wanted.message)


@pytest.mark.parametrize("statement", ["DELETE FROM change WHERE id = 2", "UPDATE change SET crc = crc + 1"])
async def test_state_with_a_hole_is_refused(launch: Launch, folder: Path, statement: str) -> None:
    """Without one of the changes state would be wrong, so the pipeline does not start with it."""
    await a_log(launch)
    change(folder, statement)
    with pytest.raises(CorruptLogError, match=r"state, change \d: .*; restore the file, or start with a new"):
        await launch()


async def test_a_group_beyond_the_end_is_refused(launch: Launch, folder: Path) -> None:
    """A group that has consumed what is not there gets an error, instead of waiting for ever."""
    await a_log(launch)
    change(folder, "DELETE FROM chunk WHERE id = 1 << 46 | 29")
    broker = await launch()
    with pytest.raises(CorruptLogError, match="offset 30 is committed, but the partition ends at 20"):
        await broker.join("group", ["t"])


def test_no_log_is_an_error(folder: Path) -> None:
    """A folder without a log is not a log without damage."""
    with pytest.raises(BrokerError, match="no log here"):
        check(folder)


async def _use(folder: Path) -> list[bytes | None]:
    """Do everything that touches the file; returns what could be read of partition 0."""
    broker = Embedded(durability="process")
    await broker.open(BrokerContext(pipeline="test", data_dir=folder))
    try:
        values: list[bytes | None] = []
        outcomes = await asyncio.gather(
            _read_all(broker, values),
            broker.topics(),
            broker.offset_at("t", 0, 1 << 60),
            broker.offsets("group"),
            append(broker, "t", 0, rows([b"new"])),
            broker.maintain(),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, StreamWeaverError):
                raise outcome
        return values
    finally:
        await broker.close()


async def _read_all(broker: Embedded, values: list[bytes | None]) -> None:
    reader = await broker.reader({("t", 0): 0})
    try:
        while found := await reader.poll(max_records=10, timeout=0):
            values += [value for item in found for value in item.values]
    finally:
        await reader.close()


async def test_damaged_pages_are_always_our_errors(launch: Launch, folder: Path, tmp_path: Path) -> None:
    """Whichever page of the file is overwritten, only our errors come out, and what is read is what was written."""
    await a_log(launch)
    whole = (folder / "log.sqlite").read_bytes()
    wanted = [b"%d" % number for number in range(30)]
    found = 0
    for page in range(len(whole) // 4096):
        for junk in (b"\xff" * 512, b"\x00" * 4096):
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir()
            (copy / "log.sqlite").write_bytes(whole[: page * 4096] + junk + whole[page * 4096 + len(junk) :])
            try:
                found += bool(check(copy))
                values = await _use(copy)
            except StreamWeaverError:
                continue
            values = [value for value in values if value != b"new"]
            assert values == wanted[: len(values)] or values == wanted
    assert found >= 8
