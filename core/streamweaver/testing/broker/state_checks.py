"""A producer's position and the values of a state store, durable with the unit that sets them."""

from collections.abc import Mapping

from streamweaver.testing.broker.writing import Check, Make, all_of, fresh, lane_of, opened, rows, topic


async def a_producer_keeps_its_position(make: Make) -> None:
    """A producer's position is stored with its rows, read back at once and after a restart; an abort keeps the old."""
    group = fresh("producer")
    async with opened(make) as broker:
        name = await topic(broker)
        async with lane_of(broker, group, single=True) as lane:
            assert lane.position() is None
            assert list(lane.partitions) == []
            for position in (b"1", b"2"):
                unit = lane.begin()
                unit.append(name, 0, rows([position]))
                unit.mark_position(position)
                await unit.commit()
                assert lane.position() == position
            unit = lane.begin()
            unit.append(name, 0, rows([b"never"]))
            unit.mark_position(b"never")
            await unit.abort()
            assert lane.position() == b"2"
    async with opened(make) as broker, lane_of(broker, group, single=True) as lane:
        assert lane.position() == b"2"
        assert [value for _, value, _, _ in await all_of(broker, name, 0, 2)] == [b"1", b"2"]


async def state_is_put_changed_deleted_and_listed(make: Make) -> None:
    """State values can be set, replaced, deleted and iterated, each store and partition for itself."""
    group, store = fresh("group"), fresh("store")
    async with opened(make) as broker:
        name = await topic(broker)
        async with lane_of(broker, group, name) as lane:

            async def put(changes: Mapping[bytes, bytes | None], to: str = store) -> None:
                unit = lane.begin()
                unit.put_state(to, 0, changes)
                await unit.commit()

            await put({b"a": b"1", b"b": b"2", b"": b"empty key", b"c": b""})
            await put({b"a": b"3", b"b": None, b"never there": None})
            await put({b"a": b"other"}, to=store + "-other")
            assert lane.get_state(store, 0, b"a") == b"3"
            assert lane.get_state(store, 0, b"b") is None
            assert lane.get_state(store, 0, b"c") == b""
            assert lane.get_state(fresh("store"), 0, b"a") is None
            wanted = {b"a": b"3", b"": b"empty key", b"c": b""}
            assert dict(lane.state_items(store, 0)) == wanted
    async with opened(make) as broker, lane_of(broker, group, name) as lane:
        assert lane.get_state(store, 0, b"a") == b"3"
        assert dict(lane.state_items(store, 0)) == wanted


async def much_state_can_be_listed(make: Make) -> None:
    """Iterating a store of some thousand values gives each once, also while new ones are committed."""
    async with opened(make) as broker:
        name, store = await topic(broker), fresh("store")
        async with lane_of(broker, fresh("group"), name) as lane:
            unit = lane.begin()
            unit.put_state(store, 0, {b"%05d" % number: b"x" for number in range(3_500)})
            await unit.commit()
            items = lane.state_items(store, 0)
            next(items)
            unit = lane.begin()
            unit.put_state(store, 0, {b"00000": b"changed"})
            await unit.commit()
            assert sum(1 for _ in items) == 3_499


STATE: list[Check] = [
    a_producer_keeps_its_position,
    state_is_put_changed_deleted_and_listed,
    much_state_can_be_listed,
]
