"""Which topics there are, and what becomes of a mistake about them."""

from streamweaver import PartitionRange, TopicMismatchError, TopicSpec, UnknownTopicError
from streamweaver.testing.broker.writing import Check, Make, all_of, append, fresh, lane_of, opened, raises, rows, topic


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


async def fewer_partitions_are_a_mismatch(make: Make) -> None:
    """A topic cannot lose partitions; the error names it."""
    async with opened(make) as broker:
        name = await topic(broker, 3)
        with raises(TopicMismatchError, name, "3"):
            await broker.create([TopicSpec(name=name, partitions=2)])
        assert (await broker.topics())[name].partitions == 3


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


TOPIC: list[Check] = [
    topics_exist_as_declared,
    fewer_partitions_are_a_mismatch,
    unknown_topics_are_named,
]
