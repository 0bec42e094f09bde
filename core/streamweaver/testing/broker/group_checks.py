"""A group reads each record until it has committed it, with one lane for each of its shares."""

import asyncio

from streamweaver import Broker, LaneLostError
from streamweaver.testing.broker import writing
from streamweaver.testing.broker.writing import (
    Check,
    Make,
    all_of,
    append,
    consume,
    fresh,
    lane_of,
    next_values,
    opened,
    raises,
    rows,
    topic,
)


async def a_group_reads_every_partition(make: Make) -> None:
    """All lanes of a group together read all of its topics, in order within each partition."""
    async with opened(make) as broker:
        one, two = await topic(broker, 3), await topic(broker, 3)
        wanted = {
            (name, part): [b"%s-%d-%d" % (name.encode(), part, number) for number in range(20)]
            for name in (one, two)
            for part in range(3)
        }
        for (name, part), values in wanted.items():
            await append(broker, name, part, rows(values))
        found = await consume(broker, fresh("group"), [one, two], 120)
        assert {where: [value for _, value, _, _ in seen] for where, seen in found.items()} == wanted


async def a_group_resumes_where_it_committed(make: Make) -> None:
    """After a restart a group gets what it has not committed, and nothing else."""
    group = fresh("group")
    async with opened(make) as broker:
        name = await topic(broker)
        await append(broker, name, 0, rows([b"%d" % number for number in range(10)]))
        async with lane_of(broker, group, name) as lane:
            (fetched,) = await lane.poll(max_records=4, timeout=writing.PATIENCE)
            unit = lane.begin()
            unit.mark(name, 0, fetched.next_offset)
            await unit.commit()
            await lane.poll(max_records=4, timeout=writing.PATIENCE)
        seen = len(fetched)
    async with opened(make) as broker:
        found = await consume(broker, group, [name], 10 - seen)
        assert [value for _, value, _, _ in found[name, 0]] == [b"%d" % number for number in range(seen, 10)]


async def rewind_brings_back_what_is_not_committed(make: Make) -> None:
    """`rewind` goes back to the last commit, or to the beginning when there is none."""
    async with opened(make) as broker:
        name = await topic(broker)
        await append(broker, name, 0, rows([b"a", b"b"]))
        async with lane_of(broker, fresh("group"), name) as lane:
            assert await next_values(lane) == [b"a", b"b"]
            await lane.rewind()
            (fetched,) = await lane.poll(max_records=1, timeout=writing.PATIENCE)
            assert fetched.values == [b"a"]
            unit = lane.begin()
            unit.mark(name, 0, fetched.next_offset)
            await unit.commit()
            assert await next_values(lane) == [b"b"]
            await lane.rewind()
            assert await next_values(lane) == [b"b"]


async def seek_goes_anywhere(make: Make) -> None:
    """A sink that keeps its own offsets starts where it says."""
    async with opened(make) as broker:
        name = await topic(broker)
        await append(broker, name, 0, rows([b"%d" % number for number in range(10)]))
        async with lane_of(broker, fresh("group"), name) as lane:
            first = await lane.poll(timeout=writing.PATIENCE)
            lane.seek(name, 0, first[0].offsets[7])
            assert await next_values(lane) == [b"7", b"8", b"9"]


async def two_groups_are_independent(make: Make) -> None:
    """Each group reads everything, and commits for itself alone."""
    async with opened(make) as broker:
        name = await topic(broker, 2)
        for part in (0, 1):
            await append(broker, name, part, rows([b"%d" % part] * 5))
        groups = [fresh("group"), fresh("group")]
        one, two = await asyncio.gather(*(consume(broker, group, [name], 10) for group in groups))
        assert one == two
        assert set(await broker.offsets(groups[0])) == {(name, 0), (name, 1)}
        assert await broker.offsets(fresh("group")) == {}


async def leave_and_join_again(make: Make) -> None:
    """A group can be left and joined again in one process; it goes on where it was."""
    async with opened(make) as broker:
        name, group = await topic(broker), fresh("group")
        for number in range(3):
            await append(broker, name, 0, rows([b"%d" % number]))
            found = await consume(broker, group, [name], 1)
            assert [value for _, value, _, _ in found[name, 0]] == [b"%d" % number]


async def a_released_lane_is_lost(make: Make) -> None:
    """Whoever goes on with a lane that was given back gets LaneLostError, and nothing of it is stored."""
    async with opened(make) as broker:
        name, group = await topic(broker), fresh("group")
        await append(broker, name, 0, rows([b"a"]))
        async with lane_of(broker, group, name) as lane:
            unit = lane.begin()
            unit.append(name, 0, rows([b"never"]))
            unit.mark(name, 0, 1)
        with raises(LaneLostError):
            await unit.commit()
        await unit.abort()
        with raises(LaneLostError):
            await lane.poll(timeout=0)
        assert await broker.offsets(group) == {}
        assert (await broker.ranges(name))[0].begin == 0
        await append(broker, name, 0, rows([b"b"]))
        assert [value for _, value, _, _ in await all_of(broker, name, 0, 2)] == [b"a", b"b"]


async def a_single_group_has_one_lane(make: Make) -> None:
    """With `single` the whole group has one lane, over all partitions; the next member gets it after the first."""
    async with opened(make) as broker:
        name, group = await topic(broker, 3), fresh("group")
        for part in range(3):
            await append(broker, name, part, rows([b"%d" % part]))
        async with lane_of(broker, group, name, single=True) as lane:
            assert sorted(lane.partitions) == [(name, 0), (name, 1), (name, 2)]
            second = asyncio.create_task(_join_single(broker, group, name))
            done, _ = await asyncio.wait([second], timeout=0.3)
            assert not done, "two members of a single group had a lane at the same time"
        await asyncio.wait_for(second, writing.PATIENCE)


async def _join_single(broker: Broker, group: str, name: str) -> None:
    async with lane_of(broker, group, name, single=True) as lane:
        assert len(lane.partitions) == 3


GROUP: list[Check] = [
    a_group_reads_every_partition,
    a_group_resumes_where_it_committed,
    rewind_brings_back_what_is_not_committed,
    seek_goes_anywhere,
    two_groups_are_independent,
    leave_and_join_again,
    a_released_lane_is_lost,
    a_single_group_has_one_lane,
]
