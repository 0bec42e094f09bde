"""The behaviour that every broker must show: named checks, for the tests of a broker.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_behaviour(check, make):
        await check(make)

`make` opens a broker, each time on the same data; a check closes what it has opened before it asks for another one.
Topics and groups get names of their own, so all checks may share one server. Nothing here assumes that offsets have no
gaps, or how many lanes a group has.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from streamweaver import (
    Broker,
    BrokerError,
    ConflictError,
    Fetched,
    Headers,
    Lane,
    LaneLostError,
    PartitionRange,
    Reader,
    Rows,
    TopicMismatchError,
    TopicSpec,
    UnknownTopicError,
)

Make: TypeAlias = Callable[[], Awaitable[Broker]]
Check: TypeAlias = Callable[[Make], Awaitable[None]]
Seen: TypeAlias = tuple[bytes | None, bytes | None, int, Headers]
"""A record as read: key, value, timestamp, headers."""

PATIENCE = 30.0
"""Seconds after which something that must happen is taken to have failed."""

TIME = 1_750_000_000_000

CHECKS: list[Check] = []
"""Every check, in a sensible order."""


def _check(function: Check) -> Check:
    CHECKS.append(function)
    return function


# -- what checks are written with -----------------------------------------------------------------


def fresh(what: str) -> str:
    """Return a name that nobody has used."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


def rows(values: Iterable[bytes | None], *, key: bytes | None = None, time: int = TIME) -> Rows:
    """Return rows with these values, one key, and timestamps that rise by 1 ms."""
    listed = list(values)
    return Rows([key] * len(listed), listed, [time + index for index in range(len(listed))])


def records(fetched: Fetched) -> list[Seen]:
    """Return what was fetched, row by row."""
    headers = fetched.headers or [()] * len(fetched)
    return list(zip(fetched.keys, fetched.values, fetched.timestamps, headers, strict=True))


@contextlib.asynccontextmanager
async def opened(make: Make) -> AsyncIterator[Broker]:
    """Open a broker and close it at the end."""
    broker = await make()
    try:
        yield broker
    finally:
        await broker.close()


async def topic(broker: Broker, partitions: int = 1, *, stem: str = "topic") -> str:
    """Create a topic with a new name."""
    name = fresh(stem)
    await broker.create([TopicSpec(name=name, partitions=partitions)])
    return name


async def append(broker: Broker, name: str, partition: int, *parts: Rows) -> None:
    """Append rows in a unit of work outside of any group."""
    unit = broker.begin()
    for part in parts:
        unit.append(name, partition, part)
    await unit.commit()


@contextlib.asynccontextmanager
async def lane_of(broker: Broker, group: str, *topics: str, single: bool = False) -> AsyncIterator[Lane]:
    """Join a group, wait for a lane, and leave at the end; for topics of one partition, which make one lane."""
    member = await broker.join(group, topics, single=single)
    lanes = member.lanes()
    async with asyncio.timeout(PATIENCE):
        lane = await anext(lanes)
    try:
        yield lane
    finally:
        await lane.release()
        await member.leave()
        async with asyncio.timeout(PATIENCE):
            async for _ in lanes:
                raise AssertionError("a lane was assigned after `leave`")


async def consume(broker: Broker, group: str, topics: Sequence[str], count: int) -> dict[tuple[str, int], list[Seen]]:
    """Run all lanes of a group until `count` records are read and committed; return them by partition."""
    found: dict[tuple[str, int], list[Seen]] = {}
    enough = asyncio.Event()

    async def run(lane: Lane) -> None:
        try:
            while not enough.is_set():
                unit = lane.begin()
                for fetched in await lane.poll(timeout=0.1):
                    found.setdefault((fetched.topic, fetched.partition), []).extend(records(fetched))
                    unit.mark(fetched.topic, fetched.partition, fetched.next_offset)
                await unit.commit()
                if sum(map(len, found.values())) >= count:
                    enough.set()
        except LaneLostError:
            pass  # it moved to another lane of this group
        finally:
            await lane.release()

    member = await broker.join(group, topics)
    tasks: list[asyncio.Task[None]] = []

    def start(lane: Lane) -> None:
        tasks.append(asyncio.create_task(run(lane)))

    async def take() -> None:
        async for lane in member.lanes():
            start(lane)

    taker = asyncio.create_task(take())
    try:
        async with asyncio.timeout(PATIENCE):
            await enough.wait()
    except TimeoutError:
        failures = [task.exception() for task in (*tasks, taker) if task.done() and task.exception()]
        seen = sum(map(len, found.values()))
        raise AssertionError(f"group {group}: {seen} of {count} records after {PATIENCE} s; {failures}") from None
    finally:
        enough.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await member.leave()
        await taker
    for task in tasks:
        task.result()
    return found


async def read(reader: Reader, count: int, *, max_records: int = 5_000) -> list[Fetched]:
    """Poll until `count` records have come."""
    found: list[Fetched] = []
    async with asyncio.timeout(PATIENCE):
        while sum(map(len, found)) < count:
            found += await reader.poll(max_records=max_records, timeout=PATIENCE)
    return found


async def all_of(broker: Broker, name: str, partition: int, count: int) -> list[Seen]:
    """Read a partition from its beginning until `count` records have come."""
    begin = (await broker.ranges(name))[partition].begin
    reader = await broker.reader({(name, partition): begin})
    try:
        return [record for fetched in await read(reader, count) for record in records(fetched)]
    finally:
        await reader.close()


async def next_values(lane: Lane) -> list[bytes | None]:
    """Poll once and return the values."""
    async with asyncio.timeout(PATIENCE):
        return [value for fetched in await lane.poll(timeout=PATIENCE) for value in fetched.values]


@contextlib.contextmanager
def raises(kind: type[BrokerError], *words: str) -> Iterator[None]:
    """Assert that the block raises that error, with a text that holds all the words."""
    text = ""
    try:
        yield
    except kind as error:
        text = str(error)
    assert text, f"expected {kind.__name__} with a text"
    for word in words:
        assert word in text, f"expected {word!r} in {text!r}"


# -- topics ---------------------------------------------------------------------------------------


@_check
async def topics_exist_as_declared(make: Make) -> None:
    """`create` is repeatable, `topics` and `ranges` show what was made, also after a restart."""
    async with opened(make) as broker:
        one, two = fresh("one"), fresh("two")
        specs = [TopicSpec(name=one, partitions=3), TopicSpec(name=two, cleanup="compact")]
        await broker.create(specs)
        await broker.create(specs)
        assert await broker.ranges(one) == [PartitionRange(0, 0)] * 3
    async with opened(make) as broker:
        found = await broker.topics()
        assert found[one].partitions == 3
        assert found[two].cleanup == "compact"
        assert found[two].partitions == 1


@_check
async def fewer_partitions_are_a_mismatch(make: Make) -> None:
    """A topic cannot lose partitions; the error names it."""
    async with opened(make) as broker:
        name = await topic(broker, 3)
        with raises(TopicMismatchError, name, "3"):
            await broker.create([TopicSpec(name=name, partitions=2)])
        assert (await broker.topics())[name].partitions == 3


@_check
async def unknown_topics_are_named(make: Make) -> None:
    """Reading, joining and writing what was never created is an UnknownTopicError, and harms nobody else."""
    async with opened(make) as broker:
        known, unknown = await topic(broker), fresh("unknown")
        with raises(UnknownTopicError):
            await broker.ranges(unknown)
        with raises(UnknownTopicError):
            async with lane_of(broker, fresh("group"), unknown):
                pass
        with raises(UnknownTopicError):
            await broker.reader({(unknown, 0): 0})
        unit = broker.begin()
        with raises(UnknownTopicError):
            unit.append(known, 0, rows([b"not alone"]))
            unit.append(unknown, 0, rows([b"lost"]))
            await unit.commit()
        await unit.abort()
        await append(broker, known, 0, rows([b"kept"]))
        assert [value for _, value, _, _ in await all_of(broker, known, 0, 1)] == [b"kept"]


# -- rows -----------------------------------------------------------------------------------------


@_check
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


@_check
async def a_poll_has_one_item_a_partition(make: Make) -> None:
    """However many units were stored, a poll gives each partition at most one item, and no more than asked for."""
    async with opened(make) as broker:
        name = await topic(broker, 3)
        for number in range(30):
            await append(broker, name, number % 3, rows([b"%d" % number]))
        reader = await broker.reader({(name, part): 0 for part in range(3)})
        seen = 0
        async with asyncio.timeout(PATIENCE):
            while seen < 30:
                found = await reader.poll(max_records=7, timeout=PATIENCE)
                assert len({fetched.partition for fetched in found}) == len(found)
                assert 0 < sum(map(len, found)) <= 7
                seen += sum(map(len, found))
        await reader.close()


@_check
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


@_check
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


@_check
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


# -- units of work --------------------------------------------------------------------------------


@_check
async def a_unit_is_stored_as_a_whole(make: Make) -> None:
    """Rows, state, offset and position of a unit are all there after the commit, also after a restart."""
    group = fresh("group")
    async with opened(make) as broker:
        source, target = await topic(broker), await topic(broker)
        await append(broker, source, 0, rows([b"in"]))
        async with lane_of(broker, group, source) as lane:
            assert lane.committed(source, 0) is None
            assert list(lane.partitions) == [(source, 0)]
            (fetched,) = await lane.poll(timeout=PATIENCE)
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


@_check
async def an_aborted_unit_leaves_nothing(make: Make) -> None:
    """After an abort there are no rows, no state and no offset of it, and the records come again after a rewind."""
    group = fresh("group")
    async with opened(make) as broker:
        source, target = await topic(broker), await topic(broker)
        await append(broker, source, 0, rows([b"in"]))
        async with lane_of(broker, group, source) as lane:
            (fetched,) = await lane.poll(timeout=PATIENCE)
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


@_check
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


@_check
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


@_check
async def many_small_units_at_once(make: Make) -> None:
    """Units that are committed at the same time are all stored, each once."""
    async with opened(make) as broker:
        name = await topic(broker, 2)
        await asyncio.gather(*(append(broker, name, number % 2, rows([b"%d" % number])) for number in range(200)))
        for part in (0, 1):
            values = [value for _, value, _, _ in await all_of(broker, name, part, 100)]
            assert sorted(map(str, values)) == sorted(str(b"%d" % number) for number in range(part, 200, 2))


# -- groups ---------------------------------------------------------------------------------------


@_check
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


@_check
async def a_group_resumes_where_it_committed(make: Make) -> None:
    """After a restart a group gets what it has not committed, and nothing else."""
    group = fresh("group")
    async with opened(make) as broker:
        name = await topic(broker)
        await append(broker, name, 0, rows([b"%d" % number for number in range(10)]))
        async with lane_of(broker, group, name) as lane:
            (fetched,) = await lane.poll(max_records=4, timeout=PATIENCE)
            unit = lane.begin()
            unit.mark(name, 0, fetched.next_offset)
            await unit.commit()
            await lane.poll(max_records=4, timeout=PATIENCE)
        seen = len(fetched)
    async with opened(make) as broker:
        found = await consume(broker, group, [name], 10 - seen)
        assert [value for _, value, _, _ in found[name, 0]] == [b"%d" % number for number in range(seen, 10)]


@_check
async def rewind_brings_back_what_is_not_committed(make: Make) -> None:
    """`rewind` goes back to the last commit, or to the beginning when there is none."""
    async with opened(make) as broker:
        name = await topic(broker)
        await append(broker, name, 0, rows([b"a", b"b"]))
        async with lane_of(broker, fresh("group"), name) as lane:
            assert await next_values(lane) == [b"a", b"b"]
            await lane.rewind()
            (fetched,) = await lane.poll(max_records=1, timeout=PATIENCE)
            assert fetched.values == [b"a"]
            unit = lane.begin()
            unit.mark(name, 0, fetched.next_offset)
            await unit.commit()
            assert await next_values(lane) == [b"b"]
            await lane.rewind()
            assert await next_values(lane) == [b"b"]


@_check
async def seek_goes_anywhere(make: Make) -> None:
    """A sink that keeps its own offsets starts where it says."""
    async with opened(make) as broker:
        name = await topic(broker)
        await append(broker, name, 0, rows([b"%d" % number for number in range(10)]))
        async with lane_of(broker, fresh("group"), name) as lane:
            first = await lane.poll(timeout=PATIENCE)
            lane.seek(name, 0, first[0].offsets[7])
            assert await next_values(lane) == [b"7", b"8", b"9"]


@_check
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


@_check
async def leave_and_join_again(make: Make) -> None:
    """A group can be left and joined again in one process; it goes on where it was."""
    async with opened(make) as broker:
        name, group = await topic(broker), fresh("group")
        for number in range(3):
            await append(broker, name, 0, rows([b"%d" % number]))
            found = await consume(broker, group, [name], 1)
            assert [value for _, value, _, _ in found[name, 0]] == [b"%d" % number]


@_check
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


@_check
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
        await asyncio.wait_for(second, PATIENCE)


async def _join_single(broker: Broker, group: str, name: str) -> None:
    async with lane_of(broker, group, name, single=True) as lane:
        assert len(lane.partitions) == 3


# -- producers and state --------------------------------------------------------------------------


@_check
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


@_check
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


@_check
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


# -- waiting --------------------------------------------------------------------------------------


@_check
async def a_waiting_poll_wakes_up(make: Make) -> None:
    """A poll that waits returns soon after rows were committed."""
    async with opened(make) as broker:
        name = await topic(broker)
        async with lane_of(broker, fresh("group"), name) as lane:
            for number in range(3):
                waiting = asyncio.create_task(lane.poll(timeout=PATIENCE))
                done, _ = await asyncio.wait([waiting], timeout=0.05)
                assert not done
                await append(broker, name, 0, rows([b"%d" % number]))
                (fetched,) = await asyncio.wait_for(waiting, PATIENCE / 2)
                assert fetched.values == [b"%d" % number]


@_check
async def a_poll_gives_up_after_its_timeout(make: Make) -> None:
    """An empty list comes after the timeout, not before; with a timeout of 0 at once."""
    async with opened(make) as broker:
        name = await topic(broker)
        async with lane_of(broker, fresh("group"), name) as lane:
            loop = asyncio.get_running_loop()
            started = loop.time()
            assert await lane.poll(timeout=0.3) == []
            assert 0.29 <= loop.time() - started < PATIENCE
            assert await asyncio.wait_for(lane.poll(timeout=0), PATIENCE) == []


@_check
async def a_cancelled_poll_loses_nothing(make: Make) -> None:
    """Records that come after a poll was cancelled are handed out by the next one."""
    async with opened(make) as broker:
        name = await topic(broker)
        async with lane_of(broker, fresh("group"), name) as lane:
            waiting = asyncio.create_task(lane.poll())
            await asyncio.wait([waiting], timeout=0.1)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            await append(broker, name, 0, rows([b"a"]))
            assert await next_values(lane) == [b"a"]


# -- readers --------------------------------------------------------------------------------------


@_check
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


@_check
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


@_check
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


@_check
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
