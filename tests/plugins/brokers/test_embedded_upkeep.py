"""Retention, compaction and giving space back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamweaver import BrokerContext, Rows, TopicSpec
from streamweaver.testing.broker import TIME, append, lane_of, read, rows
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.embedded.check import check

Launch = Callable[..., Awaitable[Embedded]]


def later(broker: Embedded, seconds: float) -> None:
    """Set the clock that retention looks at to some time from now."""
    assert broker._session is not None
    upkeep = broker._session._writer._upkeep
    assert upkeep is not None
    upkeep._clock = lambda: time.time() + seconds


async def contents(broker: Embedded, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    """Return all of partition 0 as (offset, key, value)."""
    (held,) = await broker.ranges(topic)
    reader = await broker.reader({(topic, 0): held.begin})
    found: list[tuple[int, bytes | None, bytes | None]] = []
    while items := await reader.poll(max_records=7, timeout=0):
        for item in items:
            found += zip(item.offsets, item.keys, item.values, strict=True)
    await reader.close()
    return found


async def test_retention_by_age_counts_from_when_it_was_stored(launch: Launch) -> None:
    """Records go when they have been kept long enough, however old their own timestamps are."""
    broker = await launch()
    await broker.create([TopicSpec(name="t", retention_ms=60_000)])
    await append(broker, "t", 0, rows([b"old times"], time=1))
    await broker.maintain()
    assert (await broker.ranges("t"))[0].begin == 0
    later(broker, 61)
    await broker.maintain()
    held = (await broker.ranges("t"))[0]
    assert (held.begin, held.end) == (1, 1)
    await append(broker, "t", 0, rows([b"new"]))
    assert [offset for offset, _, _ in await contents(broker, "t")] == [1]


async def test_offsets_go_on_after_everything_expired(launch: Launch) -> None:
    """No offset is used twice, also when a restart finds the partition empty."""
    broker = await launch()
    await broker.create([TopicSpec(name="t", retention_ms=1_000)])
    await append(broker, "t", 0, rows([b"x"] * 5))
    later(broker, 10)
    await broker.maintain()
    await broker.close()
    broker = await launch()
    assert [(held.begin, held.end) for held in await broker.ranges("t")] == [(5, 5)]
    await append(broker, "t", 0, rows([b"y"]))
    assert await contents(broker, "t") == [(5, None, b"y")]


async def test_retention_by_size_keeps_the_newest(launch: Launch, folder: Path) -> None:
    """A partition is cut to its bound from the front, each partition for itself."""
    broker = await launch(durability="process")
    await broker.create([TopicSpec(name="t", partitions=2, retention_bytes=50_000)])
    for number in range(100):
        await append(broker, "t", 0, rows([b"%05d" % number * 200]))
    await append(broker, "t", 1, rows([b"small"]))
    await broker.maintain()
    big, small = await broker.ranges("t")
    assert big.end == 100
    assert 48 <= big.end - big.begin <= 50
    assert (small.begin, small.end) == (0, 1)
    await broker.close()
    assert check(folder) == []


async def test_a_slow_reader_is_told_what_it_lost(launch: Launch) -> None:
    """A group that has committed learns how many records retention took from it; one without a commit lost none."""
    broker = await launch()
    await broker.create([TopicSpec(name="t", retention_bytes=1)])
    for number in range(10):
        await append(broker, "t", 0, rows([b"%d" % number]))
    async with lane_of(broker, "slow", "t") as lane:
        (fetched,) = await lane.poll(max_records=3, timeout=5)
        unit = lane.begin()
        unit.mark("t", 0, fetched.next_offset)
        await unit.commit()
    await broker.maintain()
    async with lane_of(broker, "slow", "t") as lane:
        (fetched,) = await lane.poll(timeout=5)
        assert (fetched.lost, list(fetched.offsets)) == (6, [9])
        await lane.rewind()
        (fetched,) = await lane.poll(timeout=5)
        assert fetched.lost == 6
        lane.seek("t", 0, 5)
        (fetched,) = await lane.poll(timeout=5)
        assert fetched.lost == 4
    async with lane_of(broker, "new", "t") as lane:
        (fetched,) = await lane.poll(timeout=5)
        assert (fetched.lost, list(fetched.offsets)) == (0, [9])


async def test_a_loss_of_everything_is_told_at_once(launch: Launch) -> None:
    """When retention took all that was left, who waits learns of it without a record, once, and goes on behind it."""
    broker = await launch()
    await broker.create([TopicSpec(name="t", retention_ms=1_000)])
    await append(broker, "t", 0, rows([b"x"] * 5))
    reader = await broker.reader({("t", 0): 2})
    later(broker, 10)
    await broker.maintain()
    (nothing,) = await reader.poll(timeout=5)
    assert (nothing.lost, len(nothing), nothing.next_offset) == (3, 0, 5)
    await append(broker, "t", 0, rows([b"y"]))
    (fetched,) = await read(reader, 1)
    await reader.close()
    assert (fetched.lost, list(fetched.offsets), fetched.next_offset) == (0, [5], 6)


async def test_compaction_keeps_the_newest_of_each_key(launch: Launch, folder: Path) -> None:
    """Survivors keep their offsets, records without a key stay, and readers pass over the gaps."""
    broker = await launch()
    await broker.create([TopicSpec(name="t", cleanup="compact")])
    for number in range(20):
        keys = [b"a", b"b", None, b"own%d" % number]
        await append(broker, "t", 0, Rows(list(keys), [b"%d" % number] * 4, [TIME + number] * 4))
    await broker.maintain()
    found = await contents(broker, "t")
    assert [(offset, value) for offset, key, value in found if key == b"a"] == [(76, b"19")]
    assert [offset for offset, key, _ in found if key is None] == list(range(2, 80, 4))
    assert len(found) == 2 + 20 + 20
    held = (await broker.ranges("t"))[0]
    assert (held.begin, held.end) == (0, 80)
    async with lane_of(broker, "group", "t") as lane:
        (fetched,) = await lane.poll(max_records=1, timeout=5)
        assert (list(fetched.offsets), fetched.lost) == ([2], 0)
    assert await broker.offset_at("t", 0, TIME + 19) == 76
    await broker.close()
    assert check(folder) == []


async def test_tombstones_stay_for_their_time(launch: Launch) -> None:
    """A tombstone removes its key at once, is itself kept for the grace period, and goes then."""
    broker = await launch(tombstone_retention_seconds=100)
    await broker.create([TopicSpec(name="t", cleanup="compact")])
    await append(broker, "t", 0, rows([b"1"], key=b"a"), rows([b"2"], key=b"b"))
    await append(broker, "t", 0, rows([None], key=b"a"))
    await broker.maintain()
    assert await contents(broker, "t") == [(1, b"b", b"2"), (2, b"a", None)]
    later(broker, 50)
    await broker.maintain()
    assert len(await contents(broker, "t")) == 2
    later(broker, 101)
    await broker.maintain()
    assert await contents(broker, "t") == [(1, b"b", b"2")]
    # Who stands behind the last record comes to the end all the same; it would wait for it for ever.
    async with lane_of(broker, "group", "t") as lane:
        lane.seek("t", 0, 2)
        (nothing,) = await lane.poll(timeout=5)
        assert (len(nothing), nothing.next_offset, nothing.lost) == (0, 3, 0)
        assert await lane.poll(timeout=0) == []
    assert (await broker.ranges("t"))[0].end == 3


async def test_compact_and_delete_does_both(launch: Launch) -> None:
    """Superseded records go by compaction, old ones by retention."""
    broker = await launch()
    await broker.create([TopicSpec(name="t", cleanup="compact+delete", retention_ms=3_600_000)])
    for number in range(5):
        await append(broker, "t", 0, rows([b"%d" % number], key=b"a"))
    await broker.maintain()
    assert await contents(broker, "t") == [(4, b"a", b"4")]
    later(broker, 3_601 + 3_600 / 8)
    await broker.maintain()
    assert await contents(broker, "t") == []
    assert (await broker.ranges("t"))[0].end == 5


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.lists(
                st.tuples(st.sampled_from([None, b"a", b"b", b"c", b"d"]), st.sampled_from([b"1", b"2", None])),
                min_size=1,
                max_size=8,
            ),
            st.just("compact"),
            st.just("reopen"),
        ),
        max_size=12,
    )
)
def test_compaction_never_changes_what_a_key_holds(steps: list[object], tmp_path_factory: object) -> None:
    """However appends, compactions and restarts follow, the newest record of each key is there at its old offset."""

    async def run(folder: Path) -> None:
        async def opened() -> Embedded:
            broker = Embedded(durability="process")
            await broker.open(BrokerContext(pipeline="test", data_dir=folder))
            await broker.create([TopicSpec(name="t", cleanup="compact")])
            return broker

        broker = await opened()
        written: list[tuple[int, bytes | None, bytes | None]] = []
        clean = 0
        for step in steps:
            if step == "compact":
                await broker.maintain()
                clean = len(written)
            elif step == "reopen":
                await broker.close()
                broker = await opened()
            else:
                assert isinstance(step, list)
                await append(
                    broker, "t", 0, Rows([key for key, _ in step], [value for _, value in step], [0] * len(step))
                )
                written += [(len(written) + index, key, value) for index, (key, value) in enumerate(step)]
        newest = {key: offset for offset, key, _ in written[:clean] if key is not None}
        wanted = [row for row in written if row[0] >= clean or row[1] is None or newest[row[1]] == row[0]]
        assert await contents(broker, "t") == wanted
        await broker.close()
        assert check(folder) == []

    asyncio.run(run(tmp_path_factory.mktemp("compact")))  # type: ignore[attr-defined]


async def test_space_is_given_back(launch: Launch, folder: Path) -> None:
    """When retention has removed most of a big log the file shrinks."""
    broker = await launch(durability="process")
    await broker.create([TopicSpec(name="t", retention_bytes=1_000_000)])
    for _ in range(60):
        await append(broker, "t", 0, rows([b"x" * 1_000] * 1_000))
    await broker.maintain()
    await broker.close()
    assert (folder / "log.sqlite").stat().st_size < 30_000_000
    assert check(folder) == []


async def test_upkeep_happens_by_itself_and_commits_go_on(launch: Launch) -> None:
    """Without being asked the writer removes in small pieces what is too much, and commits are answered in between."""
    broker = await launch(durability="process")
    await broker.create([TopicSpec(name="t", retention_bytes=1_000_000)])
    for _ in range(40):
        await append(broker, "t", 0, rows([b"x" * 1_000] * 1_000))
    assert broker._session is not None
    assert broker._session._writer._upkeep is not None
    broker._session._writer._upkeep._due = 0.0
    commits = 0
    async with asyncio.timeout(60):
        while (await broker.ranges("t"))[0].begin < 38_000:
            await append(broker, "t", 0, rows([b"small"]))
            commits += 1
    # Removed in one go, all of it would be gone before the first of them is answered.
    assert commits >= 3
