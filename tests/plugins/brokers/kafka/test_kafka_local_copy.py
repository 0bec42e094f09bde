"""The local copy of state is used when it is what the topic holds, and never otherwise."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamweaver.testing.broker import fresh, lane_of, topic
from streamweaver_brokers.kafka import local_copy
from streamweaver_brokers.kafka.local_copy import LocalCopies
from streamweaver_brokers.kafka.table import POSITION, REUSE_SECONDS, Table, stored_key

Log = list[tuple[str, str, dict[str, Any]]]


Changes = dict[bytes, bytes | None]
changes = st.dictionaries(
    st.builds(stored_key, st.sampled_from(["a", "b"]), st.binary(min_size=1, max_size=1)),
    st.none() | st.binary(max_size=2),
    max_size=40,
)


def filled(count: int = 3) -> Table:
    """Return a table of which so much is known that it can be copied."""
    table = Table()
    table.wrote({stored_key("store", b"%d" % n): b"v" * n for n in range(count)} | {POSITION: b"p"}, 5, count + 1)
    return table


def copies_in(folder: Path, log: Log | None = None) -> LocalCopies:
    """Return the local copies of a group; what they say goes to `log`."""
    said: Log = [] if log is None else log
    return LocalCopies(folder, "group", lambda level, event, **fields: said.append((level, event, fields)))


def values(table: Table) -> dict[str, dict[bytes, bytes]]:
    """Return everything in a table."""
    return {name: dict(store.items()) for name, store in table.stores.items()}


async def test_a_copy_is_what_was_put_down(tmp_path: Path) -> None:
    """Values, place and last record are those of the table; it is not trusted before it is verified."""
    table = filled()
    copies = copies_in(tmp_path)
    await copies.put_down({7: table})
    found = await copies.take_up(7)
    assert (values(found), found.next_offset, found.last) == (values(table), 4, (3, 5, POSITION))
    assert not found.is_verified
    # It is as old as what it holds, not as the file.
    assert found.fresh_at == pytest.approx(table.fresh_at, abs=1)
    # Nothing has changed, so nothing is written again.
    path = tmp_path / "state/group/7.copy"
    path.unlink()
    await copies.put_down({7: table, 8: found})
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


@given(before=changes, after=changes, piece=st.integers(1, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_a_copy_is_the_table_at_one_moment(tmp_path: Path, before: Changes, after: Changes, piece: int) -> None:
    """Whatever is committed while it is written, piece by piece: the copy is the table as it was at the beginning."""
    table = Table()
    table.wrote({**before, POSITION: b"p"}, 5, len(before) + 1)
    wanted = values(table)
    pieces = local_copy._pieces

    def disturbed(copied: Table) -> Iterator[Any]:
        left = list(after.items())
        for each in pieces(copied):
            yield each
            if left:
                copied.wrote(dict([left.pop()]), 6, copied.next_offset + 1)

    async def copy() -> Table:
        copies = copies_in(tmp_path)
        await copies.put_down({0: table})
        return await copies.take_up(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_copy, "PIECE_VALUES", piece)
        patch.setattr(local_copy, "_pieces", disturbed)
        found = asyncio.run(copy())
    assert {name: held for name, held in values(found).items() if held} == {n: h for n, h in wanted.items() if h}
    assert (found.next_offset, found.last) == (len(before) + 1, (len(before), 5, POSITION))
    assert table.replaced is None


async def test_a_large_table_is_copied_in_pieces(tmp_path: Path) -> None:
    """No piece holds much more than the bound, so that nothing else in the process waits long for one."""
    table = filled()
    table.wrote({stored_key("many", b"%d" % n): b"" for n in range(50_000)}, 6, 60_000)
    sizes = [sum(len(part) for _, _, part in piece) for piece in local_copy._pieces(table)]
    assert sum(sizes) == table.size
    assert max(sizes) < 1.1 * local_copy.PIECE_VALUES


async def test_a_copy_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    """The log names the path and the reason, not again while it stays the same; when it can be, it is written."""
    log: Log = []
    copies = copies_in(tmp_path, log)
    (tmp_path / "state").write_text("in the way")
    table = filled()
    await copies.put_down({0: table, 1: filled()})
    ((level, event, fields),) = log
    assert (level, event) == ("warning", "local copy of the state cannot be written")
    assert str(tmp_path / "state") in fields["path"]
    # Nothing is kept for a copy that nobody makes.
    assert table.replaced is None
    (tmp_path / "state").unlink()
    await copies.put_down({0: table})
    assert (await copies.take_up(0)).size == table.size
    assert len(log) == 1


async def test_a_table_that_is_cleared_meanwhile_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a table that has forgotten half of it would pass for whole; the next copy is of what it holds then."""
    pieces, table, copies = local_copy._pieces, filled(), copies_in(tmp_path)

    def cleared(copied: Table) -> Iterator[Any]:
        for each in pieces(copied):
            copied.clear()
            copied.wrote({stored_key("store", b"new"): b"v"}, 6, 9)
            yield each

    with monkeypatch.context() as patch:
        patch.setattr(local_copy, "_pieces", cleared)
        await copies.put_down({0: table})
    assert list((tmp_path / "state/group").iterdir()) == []
    assert (table.replaced, table.copied) == (None, None)
    await copies.put_down({0: table})
    assert values(await copies.take_up(0)) == {"store": {b"new": b"v"}}


async def test_a_copy_that_is_cancelled_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while its file is being created, in a thread that cannot be cancelled."""
    creating, go_on, created = threading.Event(), threading.Event(), local_copy._created

    def slowly(path: Path) -> BinaryIO:
        creating.set()
        go_on.wait()
        return created(path)

    monkeypatch.setattr(local_copy, "_created", slowly)
    table = filled()
    copying = asyncio.create_task(copies_in(tmp_path).put_down({0: table}))
    await asyncio.to_thread(creating.wait)
    copying.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await copying
    await asyncio.get_running_loop().shutdown_default_executor()
    assert list((tmp_path / "state/group").iterdir()) == []
    assert (table.replaced, table.copied) == (None, None)


async def test_what_a_killed_worker_left_of_a_copy_is_removed(tmp_path: Path) -> None:
    """A part of a copy that nobody has written to for long goes; one that may be under way stays, and so do copies."""
    copies = copies_in(tmp_path)
    await copies.put_down({7: filled()})
    folder = tmp_path / "state/group"
    for name, age in {"7.1.new": 2, "8.1.new": 2, "7.2.new": 0}.items():
        (folder / name).write_text("a part")
        then = time.time() - age * local_copy.BROKEN_OFF_SECONDS
        os.utime(folder / name, (then, then))
    os.utime(folder / "7.copy", (0, 0))
    assert (await copies.take_up(7)).size == filled().size
    assert {path.name for path in folder.iterdir()} == {"7.copy", "7.2.new"}


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "changed", "no folder"])
async def test_a_damaged_copy_is_none(tmp_path: Path, damage: str) -> None:
    """Whatever became of the file, there is an empty table in its place, and no error."""
    path = tmp_path / "state/group/0.copy"
    if damage == "no folder":
        (tmp_path / "state").write_text("in the way")
    copies = copies_in(tmp_path)
    await copies.put_down({0: filled()})
    if damage == "missing":
        path.unlink()
    elif damage != "no folder":
        data = bytearray(path.read_bytes())
        data[-1] ^= damage == "changed"
        path.write_bytes({"empty": b"", "cut": bytes(data[:-1]), "changed": bytes(data)}[damage])
    found = await copies.take_up(0)
    assert (found.stores, found.next_offset, found.last, found.is_verified) == ({}, 0, None, True)


@pytest.fixture
def log() -> list[tuple[str, dict[str, Any]]]:
    """What was logged."""
    return []


async def turn(broker: Any, group: str, name: str, values: dict[bytes, bytes | None]) -> dict[bytes, bytes]:
    """Return the state that a lane begins with; afterwards it puts more into it and ends."""
    async with lane_of(broker, group, name) as lane:
        state = dict(lane.state_items("store", 0))
        unit = lane.begin()
        unit.put_state("store", 0, values)
        await unit.commit()
    return state


@pytest.mark.parametrize("then", ["nothing", "more", "aged", "of another topic", "ahead"])
async def test_the_next_process_reads_what_is_new(
    launch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, log: list[tuple[str, dict[str, Any]]]
) -> None:
    """The state is right in any case; the copy is used where its last record is still in its place."""
    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    noted = {"log": lambda level, event, **fields: log.append((event, fields))}
    broker = await launch({"data_dir": one})
    name, group = await topic(broker), fresh("group")
    # Values that are the same again and again, so that only time and place tell the records apart.
    await turn(broker, group, name, {b"%d" % n: b"x" for n in range(100)})
    wanted: dict[bytes, bytes] = {b"%d" % n: b"x" for n in range(100)}
    if then == "more":
        # Another machine goes on.
        await turn(await launch({"data_dir": two}), group, name, {b"0": None, b"more": b"y"})
        wanted = {key: value for key, value in wanted.items() if key != b"0"} | {b"more": b"y"}
    elif then == "aged":
        later = time.time() + REUSE_SECONDS + 1
        clock = {"time": staticmethod(lambda: later), "monotonic": staticmethod(time.monotonic)}
        monkeypatch.setattr(local_copy, "time", type("Clock", (), clock))
    elif then in {"of another topic", "ahead"}:
        other = await launch({"data_dir": three})
        admin = other._session.cluster._admin
        await admin.delete_topics([f"{group}.state"])
        await other._session.cluster.look()
        count = 200 if then == "of another topic" else 5
        await turn(other, group, name, {b"%d" % n: b"x" for n in range(count)})
        wanted = {b"%d" % n: b"x" for n in range(count)}
    log.clear()
    assert await turn(await launch({"data_dir": one, **noted}), group, name, {b"new": b"z"}) == wanted
    assert ("local copy of the state is used" in [event for event, _ in log]) == (then in {"nothing", "more"})
    # What was committed after that is in the copy, too.
    log.clear()
    assert await turn(await launch({"data_dir": one, **noted}), group, name, {}) == {**wanted, b"new": b"z"}
    if then != "aged":
        assert [fields["values"] for event, fields in log if "is used" in event] == [len(wanted) + 1]
