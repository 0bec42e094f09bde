"""State in memory is what the topic says, read anew or brought up to date."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.testing.broker import PATIENCE, fresh, lane_of, topic
from streamweaver_brokers.kafka.client import Clients
from streamweaver_brokers.kafka.table import PIECE_RECORDS, POSITION, REUSE_SECONDS, Table, restore, stored_key

changes_of = st.lists(
    st.tuples(st.sampled_from(["a", "b.c", ""]), st.binary(max_size=3), st.none() | st.binary(max_size=3)), max_size=30
)


@given(changes_of, st.integers(0, 30))
def test_reading_again_from_anywhere_ends_the_same(changes: list[tuple[str, bytes, bytes | None]], at: int) -> None:
    """A table that reads part of its topic a second time is not changed by that: the last record of a key counts."""
    table, model = Table(), {}
    for store, key, value in changes:
        table.set(stored_key(store, key), value)
        model[store, key] = value
    for store, key, value in changes[at:]:
        table.set(stored_key(store, key), value)
    assert {(store, key): table.get(store, key) for store, key in model} == model
    kept = {place: value for place, value in model.items() if value is not None}
    assert {(store, key): value for store in ("a", "b.c", "") for key, value in table.items(store)} == kept
    assert table.size == len(kept)


def test_a_position_is_in_no_store() -> None:
    """A producer's position cannot be mistaken for a step's value."""
    table = Table()
    table.set(POSITION, b"5")
    assert table.get("", POSITION[1:]) == b"5"
    assert stored_key("store", b"position") != POSITION


async def test_much_state_is_restored(launch) -> None:
    """Thousands of values, replaced and deleted over many units, are the same in the next process."""
    name, group = fresh("topic"), fresh("group")
    broker = await launch()
    name = await topic(broker)
    wanted: dict[bytes, bytes] = {}
    async with lane_of(broker, group, name) as lane:
        for turn in range(10):
            unit = lane.begin()
            put = {b"%d" % number: b"%d" % turn for number in range(turn * 300, turn * 300 + 600)}
            gone = {b"%d" % number: None for number in range(turn * 300, turn * 300 + 100)}
            unit.put_state("store", 0, {**put, **gone})
            await unit.commit()
            wanted = {key: value for key, value in {**wanted, **put}.items() if key not in gone}
    await broker.close()
    async with lane_of(await launch(), group, name) as lane:
        assert dict(lane.state_items("store", 0)) == wanted


async def put(broker: Any, values: dict[bytes, bytes]) -> TopicPartition:
    """Store values as a lane does; return the partition of the state topic that holds them."""
    group = fresh("group")
    async with lane_of(broker, group, await topic(broker)) as lane:
        unit = lane.begin()
        unit.put_state("store", 0, values)
        await unit.commit()
    part = TopicPartition(f"{group}.state", 0)
    async with asyncio.timeout(PATIENCE):
        # A lane knows by its new producer's start that the last transaction has ended; here nobody starts one.
        while (await broker._session.cluster.ends([part]))[part] < len(values):
            await asyncio.sleep(0.05)
    return part


async def test_a_table_is_fresh_when_it_has_been_read(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that fails makes no old table a fresh one: from try to try it would outlive the tombstones."""
    broker = await launch()
    session = broker._session
    part = await put(broker, {b"key": b"value"})
    old = monotonic() - REUSE_SECONDS + 60
    table = Table(fresh_at=old)

    async def cut(*_: Any) -> None:
        raise OSError("the network is cut")

    with monkeypatch.context() as patch:
        patch.setattr(Clients, "start", cut)
        with pytest.raises(OSError, match="the network is cut"):
            await restore(session.clients, session.cluster, {part: table}, session.log)
    assert table.fresh_at == old
    await restore(session.clients, session.cluster, {part: table}, session.log)
    assert monotonic() - table.fresh_at < 60
    assert table.get("store", b"key") == b"value"


async def test_a_table_that_nobody_has_followed_for_long_is_read_anew(launch: Any) -> None:
    """What was deleted meanwhile may have left no tombstone: a table as it should be read on is not trusted."""
    broker = await launch()
    session = broker._session
    part = await put(broker, {b"key": b"value"})
    (end,) = (await session.cluster.ends([part])).values()
    table = Table(next_offset=end, fresh_at=monotonic() - REUSE_SECONDS - 1)
    table.set(stored_key("store", b"gone"), b"value")
    await restore(session.clients, session.cluster, {part: table}, session.log)
    assert dict(table.items("store")) == {b"key": b"value"}


class Stretch:
    """A client whose topic holds no records, only the marks of transactions: what is read of it are positions."""

    step_seconds = 0.3

    def __init__(self, *, pause: float, step: int) -> None:
        self._pause = pause
        self._step = step
        self._position = 0

    def consumer(self, **_: Any) -> Any:
        """Return a consumer, which is this one too."""
        return self

    def assign(self, parts: Any) -> None:
        """Do nothing."""

    def seek(self, part: Any, offset: int) -> None:
        """Go there."""
        self._position = offset

    def pause(self, part: Any) -> None:
        """Do nothing."""

    async def start(self, client: Any) -> None:
        """Do nothing."""

    async def end(self, client: Any) -> None:
        """Do nothing."""

    async def getmany(self, **_: Any) -> dict[Any, Any]:
        """Move on, past no record."""
        await asyncio.sleep(self._pause)
        self._position += self._step
        return {}

    async def position(self, _: Any) -> int:
        """Return where it is."""
        return self._position

    async def begins(self, parts: Any) -> dict[Any, int]:
        """Return the first offsets."""
        return dict.fromkeys(parts, 0)

    async def ends(self, parts: Any) -> dict[Any, int]:
        """Return the ends."""
        return dict.fromkeys(parts, 10)


@pytest.mark.parametrize(
    ("pause", "step"), [pytest.param(0.06, 1, id="slowly"), pytest.param(0.4, 10, id="late and at once")]
)
async def test_marks_of_transactions_are_progress(pause: float, step: int) -> None:
    """Reading fails when it stands still for a step's time, not when it moves on without records."""
    stretch: Any = Stretch(pause=pause, step=step)
    table = Table(fresh_at=monotonic())
    await restore(stretch, stretch, {TopicPartition("state", 0): table}, lambda *_, **__: None)
    assert table.next_offset == 10


async def test_reading_that_stands_still_fails() -> None:
    """The error names the partition of which nothing comes."""
    still: Any = Stretch(pause=0.05, step=0)
    table = Table(fresh_at=monotonic())
    with pytest.raises(TimeoutError, match=r"state\[3\]"):
        await restore(still, still, {TopicPartition("state", 3): table}, lambda *_, **__: None)


async def test_others_have_a_turn_while_much_is_restored(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client hands out what it has fetched without ever waiting; other lanes must not wait for all of it."""
    broker = await launch()
    session = broker._session
    part = await put(broker, {b"%d" % number: b"value" for number in range(5 * PIECE_RECORDS)})
    turns, seen, read = 0, [], Table.read

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    def noted(table: Table, records: Any, position: int) -> None:
        if records:
            seen.append(turns)
        read(table, records, position)

    monkeypatch.setattr(Table, "read", noted)
    working = asyncio.create_task(others())
    table = Table()
    await restore(session.clients, session.cluster, {part: table}, session.log)
    working.cancel()
    assert table.size == 5 * PIECE_RECORDS
    assert len(seen) >= 5
    assert len(set(seen)) == len(seen)
