"""What is stored comes back: in order, whole, as it was, and to nobody else changed."""

import asyncio

from streamweaver import Fetched, Rows
from streamweaver.testing.broker import writing
from streamweaver.testing.broker.writing import TIME, Check, Make, all_of, append, opened, read, records, rows, topic


async def rows_keep_their_order(make: Make) -> None:
    """Within a partition rows come in the order of the calls and of the commits; offsets rise."""
    async with opened(make) as broker:
        name = await topic(broker, 2)
        for start in range(0, 300, 100):
            unit = broker.begin()
            for number in range(start, start + 100):
                unit.append(name, number % 2, rows([b"%d" % number]))
            await unit.commit()
        reader = await broker.reader({(name, 0): 0, (name, 1): 0})
        values: dict[int, list[bytes | None]] = {0: [], 1: []}
        for fetched in await read(reader, 300, max_records=37):
            assert len(fetched) <= 37
            assert list(fetched.offsets) == sorted(set(fetched.offsets))
            assert len(fetched.offsets) == len(fetched.values) == len(fetched.keys) == len(fetched.timestamps)
            assert fetched.next_offset > fetched.offsets[-1]
            assert fetched.lost == 0
            values[fetched.partition] += fetched.values
        await reader.close()
        assert values == {part: [b"%d" % number for number in range(part, 300, 2)] for part in (0, 1)}


async def a_poll_has_one_item_a_partition(make: Make) -> None:
    """However many units were stored, a poll gives each partition at most one item, and no more than asked for."""
    async with opened(make) as broker:
        name = await topic(broker, 3)
        for number in range(30):
            await append(broker, name, number % 3, rows([b"%d" % number]))
        reader = await broker.reader({(name, part): 0 for part in range(3)})
        seen = 0
        async with asyncio.timeout(writing.PATIENCE):
            while seen < 30:
                found = await reader.poll(max_records=7, timeout=writing.PATIENCE)
                assert len({fetched.partition for fetched in found}) == len(found)
                assert 0 < sum(map(len, found)) <= 7
                seen += sum(map(len, found))
        await reader.close()


async def rows_come_back_as_they_were(make: Make) -> None:
    """Keys, empty and missing values, odd times and headers survive, in memory and after a restart."""
    wanted = Rows(
        [None, b"", "ключ-鍵".encode(), b"\x00\xff", b"gone", b"same"],
        [b"plain", b"", "значение-値".encode(), bytes(range(256)), None, b"same"],
        [TIME, TIME, TIME - 5_000, TIME + 1, TIME, 0],
        [(), (("a", b"1"), ("a", b""), ("ü", b"\xff")), (), (), (("x", b"y" * 300),), ()],
    )
    async with opened(make) as broker:
        name = await topic(broker)
        await append(broker, name, 0, rows([b"before"]), wanted)
        first = await all_of(broker, name, 0, 7)
    async with opened(make) as broker:
        again = await all_of(broker, name, 0, 7)
    assert first == again
    assert first == [
        (None, b"before", TIME, ()),
        *records(Fetched(wanted.keys, wanted.values, wanted.timestamps, wanted.headers)),
    ]


async def large_records_pass(make: Make) -> None:
    """Records of 900 kB are stored, and a poll does not pile up too many of them."""
    async with opened(make) as broker:
        name = await topic(broker)
        big = [bytes([number]) * 900_000 for number in range(8)]
        for value in big:
            await append(broker, name, 0, rows([value]))
        reader = await broker.reader({(name, 0): 0})
        found = await read(reader, 8)
        await reader.close()
        assert [value for fetched in found for value in fetched.values] == big
        assert max(len(fetched) for fetched in found) < 8, "all at once: a poll must be bounded in bytes"


async def what_was_handed_out_is_the_readers_own(make: Make) -> None:
    """Neither changing appended rows after the commit nor changing fetched ones is seen by another reader."""
    async with opened(make) as broker:
        name = await topic(broker)
        readers = [await broker.reader({(name, 0): 0}) for _ in range(2)]
        mine = rows([b"a", b"b"])
        await append(broker, name, 0, mine)
        mine.values.reverse()
        for reader in readers:
            (fetched,) = await read(reader, 2)
            assert fetched.values == [b"a", b"b"]
            fetched.values.clear()
            fetched.keys.append(b"x")
            await reader.close()


ROW: list[Check] = [
    rows_keep_their_order,
    a_poll_has_one_item_a_partition,
    rows_come_back_as_they_were,
    large_records_pass,
    what_was_handed_out_is_the_readers_own,
]
