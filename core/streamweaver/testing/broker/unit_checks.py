"""A unit of work is stored as a whole or not at all."""

import asyncio

from streamweaver import ConflictError
from streamweaver.testing.broker import writing
from streamweaver.testing.broker.writing import (
    Check,
    Make,
    all_of,
    append,
    fresh,
    lane_of,
    next_values,
    opened,
    raises,
    rows,
    topic,
)


async def a_unit_is_stored_as_a_whole(make: Make) -> None:
    """Rows, state, offset and position of a unit are all there after the commit, also after a restart."""
    group = fresh("group")
    async with opened(make) as broker:
        source, target = await topic(broker), await topic(broker)
        await append(broker, source, 0, rows([b"in"]))
        async with lane_of(broker, group, source) as lane:
            assert lane.committed(source, 0) is None
            assert list(lane.partitions) == [(source, 0)]
            (fetched,) = await lane.poll(timeout=writing.PATIENCE)
            unit = lane.begin()
            unit.append(target, 0, rows([b"out"]))
            unit.put_state("store", 0, {b"key": b"value"})
            unit.mark(source, 0, fetched.next_offset)
            await unit.commit()
            assert lane.committed(source, 0) == fetched.next_offset
            assert lane.get_state("store", 0, b"key") == b"value"
    async with opened(make) as broker:
        assert await broker.offsets(group) == {(source, 0): fetched.next_offset}
        assert [value for _, value, _, _ in await all_of(broker, target, 0, 1)] == [b"out"]
        async with lane_of(broker, group, source) as lane:
            assert lane.get_state("store", 0, b"key") == b"value"
            assert await lane.poll(timeout=0.2) == []


async def an_aborted_unit_leaves_nothing(make: Make) -> None:
    """After an abort there are no rows, no state and no offset of it, and the records come again after a rewind."""
    group = fresh("group")
    async with opened(make) as broker:
        source, target = await topic(broker), await topic(broker)
        await append(broker, source, 0, rows([b"in"]))
        async with lane_of(broker, group, source) as lane:
            (fetched,) = await lane.poll(timeout=writing.PATIENCE)
            unit = lane.begin()
            unit.append(target, 0, rows([b"never"]))
            unit.put_state("store", 0, {b"key": b"never"})
            unit.mark(source, 0, fetched.next_offset)
            await unit.abort()
            assert lane.committed(source, 0) is None
            assert lane.get_state("store", 0, b"key") is None
            await lane.rewind()
            assert await next_values(lane) == [b"in"]
        await append(broker, target, 0, rows([b"kept"]))
        assert [value for _, value, _, _ in await all_of(broker, target, 0, 1)] == [b"kept"]
        assert await broker.offsets(group) == {}


async def a_unit_outside_a_group_spans_topics(make: Make) -> None:
    """A unit begun on the broker appends to several topics at once."""
    async with opened(make) as broker:
        one, two = await topic(broker), await topic(broker, 2)
        unit = broker.begin()
        unit.append(one, 0, rows([b"1"]))
        unit.append(two, 1, rows([b"2"]))
        await unit.commit()
        assert [value for _, value, _, _ in await all_of(broker, one, 0, 1)] == [b"1"]
        assert [value for _, value, _, _ in await all_of(broker, two, 1, 1)] == [b"2"]


async def of_two_that_expect_one_end_the_first_appends(make: Make) -> None:
    """A unit that expects an end is stored as a whole, or with ConflictError not at all, whoever tries at once."""
    async with opened(make) as broker:
        guarded, other = await topic(broker), await topic(broker)

        async def end(name: str) -> int:
            return (await broker.ranges(name))[0].end

        async def add(value: bytes, expected: int) -> None:
            unit = broker.begin()
            unit.append(other, 0, rows([value]))
            unit.append(guarded, 0, rows([value]))
            unit.expect_end(guarded, 0, expected)
            await unit.commit()

        begin = await end(guarded)
        await add(b"1", begin)
        with raises(ConflictError):
            await add(b"too late", begin)
        moved = await end(guarded)
        assert moved > begin
        results = await asyncio.gather(*(add(b"2", moved) for _ in range(3)), return_exceptions=True)
        # All may be in each other's way where none can wait for the other; then the next one alone succeeds.
        assert sum(not isinstance(result, ConflictError) for result in results) <= 1, results
        if all(results):
            await add(b"2", await end(guarded))
        assert [value for _, value, _, _ in await all_of(broker, guarded, 0, 2)] == [b"1", b"2"]
        assert [value for _, value, _, _ in await all_of(broker, other, 0, 2)] == [b"1", b"2"]


async def many_small_units_at_once(make: Make) -> None:
    """Units that are committed at the same time are all stored, each once."""
    async with opened(make) as broker:
        name = await topic(broker, 2)
        await asyncio.gather(*(append(broker, name, number % 2, rows([b"%d" % number])) for number in range(200)))
        for part in (0, 1):
            values = [value for _, value, _, _ in await all_of(broker, name, part, 100)]
            assert sorted(map(str, values)) == sorted(str(b"%d" % number) for number in range(part, 200, 2))


UNIT: list[Check] = [
    a_unit_is_stored_as_a_whole,
    an_aborted_unit_leaves_nothing,
    a_unit_outside_a_group_spans_topics,
    of_two_that_expect_one_end_the_first_appends,
    many_small_units_at_once,
]
