"""State in memory is what the topic says, read anew or brought up to date."""

from hypothesis import given
from hypothesis import strategies as st

from streamweaver.testing.broker import fresh, lane_of, topic
from streamweaver_brokers.kafka.table import POSITION, Table, stored_key

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
