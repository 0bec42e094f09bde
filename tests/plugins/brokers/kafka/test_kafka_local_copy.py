"""The local copy of state is used when it is what the topic holds, and never otherwise."""

import time
from pathlib import Path
from typing import Any

import pytest

from streamweaver.testing.broker import fresh, lane_of, topic
from streamweaver_brokers.kafka import local_copy
from streamweaver_brokers.kafka.local_copy import put_down, take_up
from streamweaver_brokers.kafka.table import POSITION, REUSE_SECONDS, Table, stored_key


def filled(count: int = 3) -> Table:
    """Return a table of which so much is known that it can be copied."""
    table = Table()
    table.wrote({stored_key("store", b"%d" % n): b"v" * n for n in range(count)} | {POSITION: b"p"}, 5, count + 1)
    return table


async def test_a_copy_is_what_was_put_down(tmp_path: Path) -> None:
    """Values, place and last record are those of the table; it is not trusted before it is verified."""
    table = filled()
    await put_down(tmp_path, "group", {7: table})
    found = await take_up(tmp_path, "group", 7)
    assert (found.stores, found.next_offset, found.last) == (table.stores, 4, (3, 5, POSITION))
    assert not found.is_verified
    # Nothing has changed, so nothing is written again.
    path = tmp_path / "state/group/7.copy"
    path.unlink()
    await put_down(tmp_path, "group", {7: table, 8: found})
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "changed", "no folder"])
async def test_a_damaged_copy_is_none(tmp_path: Path, damage: str) -> None:
    """Whatever became of the file, there is an empty table in its place, and no error."""
    path = tmp_path / "state/group/0.copy"
    if damage == "no folder":
        (tmp_path / "state").write_text("in the way")
    await put_down(tmp_path, "group", {0: filled()})
    if damage == "missing":
        path.unlink()
    elif damage != "no folder":
        data = bytearray(path.read_bytes())
        data[-1] ^= damage == "changed"
        path.write_bytes({"empty": b"", "cut": bytes(data[:-1]), "changed": bytes(data)}[damage])
    found = await take_up(tmp_path, "group", 0)
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
        monkeypatch.setattr(local_copy, "time", type("Clock", (), {"time": staticmethod(lambda: later)}))
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
