"""Reading without a group, from an offset or a time on."""

import asyncio

from streamweaver import BrokerError, PartitionRange
from streamweaver.testing.broker.writing import TIME, Check, Make, all_of, append, opened, read, rows, topic


async def a_reader_starts_where_it_is_told(make: Make) -> None:
    """A reader needs no group, starts at any offset of each partition, and follows what comes."""
    async with opened(make) as broker:
        name = await topic(broker, 2)
        for part in (0, 1):
            await append(broker, name, part, rows([b"%d" % number for number in range(10)]))
        probe = await broker.reader({(name, 0): 0})
        (fetched,) = await read(probe, 10)
        await probe.close()
        end = (await broker.ranges(name))[1].end
        reader = await broker.reader({(name, 0): fetched.offsets[8], (name, 1): end})
        assert [(item.partition, item.values) for item in await read(reader, 2)] == [(0, [b"8", b"9"])]
        await append(broker, name, 1, rows([b"new"]))
        assert [(item.partition, item.values) for item in await read(reader, 1)] == [(1, [b"new"])]
        await reader.close()


async def offsets_are_found_by_time(make: Make) -> None:
    """`offset_at` gives the first record with that time or a later one; the end when there is none."""
    async with opened(make) as broker:
        name = await topic(broker)
        assert await broker.offset_at(name, 0, TIME) == (await broker.ranges(name))[0].end
        for start in range(0, 100, 20):
            await append(broker, name, 0, rows([b"%d" % n for n in range(start, start + 20)], time=TIME + start))
        reader = await broker.reader({(name, 0): 0})
        offsets = [offset for fetched in await read(reader, 100) for offset in fetched.offsets]
        await reader.close()
        for wanted in (0, 1, 19, 20, 55, 99):
            assert await broker.offset_at(name, 0, TIME + wanted) == offsets[wanted]
        assert await broker.offset_at(name, 0, TIME - 1_000) == offsets[0]
        assert await broker.offset_at(name, 0, TIME + 100) == (await broker.ranges(name))[0].end


async def ranges_end_behind_the_last_record(make: Make) -> None:
    """`ranges` begins at the first record and ends behind the last one of each partition."""
    async with opened(make) as broker:
        name = await topic(broker, 2)
        await append(broker, name, 1, rows([b"a", b"b", b"c"]))
        reader = await broker.reader({(name, 1): 0})
        (fetched,) = await read(reader, 3)
        await reader.close()
        empty, full = await broker.ranges(name)
        assert empty == PartitionRange(0, 0)
        assert full.begin == fetched.offsets[0]
        assert full.end > fetched.offsets[-1]
        assert full.end == fetched.next_offset


async def closing_stores_what_waits(make: Make) -> None:
    """Commits that wait when the broker is closed are answered, and those that succeed are there afterwards."""
    async with opened(make) as broker:
        name = await topic(broker)
        commits = [asyncio.create_task(append(broker, name, 0, rows([b"%d" % number]))) for number in range(20)]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, BrokerError) for outcome in outcomes)
    stored = [b"%d" % number for number, outcome in enumerate(outcomes) if outcome is None]
    async with opened(make) as broker:
        found = {value for _, value, _, _ in await all_of(broker, name, 0, len(stored))} if stored else set()
        assert found >= set(stored)


READER: list[Check] = [
    a_reader_starts_where_it_is_told,
    offsets_are_found_by_time,
    ranges_end_behind_the_last_record,
    closing_stores_what_waits,
]
