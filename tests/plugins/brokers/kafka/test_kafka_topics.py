"""Topics are created as declared; what exists and differs is named, and changed only when asked."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from streamweaver import BrokerError, TopicMismatchError, TopicSpec, UnknownTopicError
from streamweaver.testing.broker import PATIENCE, append, fresh, read, rows

DECLARED = {"partitions": 2, "retention_ms": 3_600_000, "retention_bytes": 1 << 20, "settings": {"segment.ms": "60000"}}


async def test_everything_declared_is_set(launch) -> None:
    """Partitions, retention, cleanup, replication and further settings are what `topics` gives back."""
    broker = await launch()
    one, two = fresh("one"), fresh("two")
    await broker.create([TopicSpec(name=one, **DECLARED), TopicSpec(name=two, cleanup="compact+delete", replication=1)])
    found = await broker.topics()
    assert found[one] == TopicSpec(name=one, **DECLARED, replication=1)
    assert (found[two].cleanup, found[two].replication, found[two].retention_ms) == ("compact+delete", 1, None)
    assert not [name for name in found if name.startswith("__")]


async def test_every_difference_is_named(launch) -> None:
    """One error tells of each topic and setting that is not as declared; nothing is changed."""
    broker = await launch()
    one, two = fresh("one"), fresh("two")
    await broker.create([TopicSpec(name=one, **DECLARED), TopicSpec(name=two)])
    other = TopicSpec(
        name=one, partitions=3, retention_ms=1_000, cleanup="compact", replication=2, settings={"segment.ms": "70000"}
    )
    with pytest.raises(TopicMismatchError) as caught:
        await broker.create([other, TopicSpec(name=two, retention_bytes=5)])
    lines = str(caught.value).split("\n")
    assert [line.split(": ")[0] for line in lines] == [f"topic {one}"] * 5 + [f"topic {two}"]
    for line, words in zip(
        lines, ["2 partitions", "1 replicas", "cleanup.policy", "retention.ms", "segment.ms"], strict=False
    ):
        assert words in line
    assert "alter_topics" in lines[-1]
    assert (await broker.topics())[one] == TopicSpec(name=one, **DECLARED, replication=1)


async def test_a_bound_that_is_not_declared_may_be_anything(launch) -> None:
    """A topic of somebody else's may keep its retention."""
    broker = await launch()
    name = fresh("topic")
    await broker.create([TopicSpec(name=name, **DECLARED)])
    await broker.create([TopicSpec(name=name, partitions=2)])


async def test_topics_are_altered_when_asked(launch) -> None:
    """With `alter_topics` settings change and partitions are added; others stay; fewer partitions do not."""
    broker = await launch()
    name = fresh("topic")
    await broker.create([TopicSpec(name=name, **DECLARED)])
    await broker.close()
    broker = await launch(alter_topics=True)
    await broker.create([TopicSpec(name=name, partitions=4, retention_ms=7_200_000)])
    # A broker tells of a change once it has it from the controller, a little after the controller has agreed.
    async with asyncio.timeout(PATIENCE):
        while (found := (await broker.topics())[name]).retention_ms != 7_200_000:
            await asyncio.sleep(0.05)
    assert (found.partitions, found.settings) == (4, DECLARED["settings"])
    with pytest.raises(TopicMismatchError, match="4 partitions"):
        await broker.create([TopicSpec(name=name, partitions=3)])


async def test_a_tool_creates_nothing(launch) -> None:
    """A command beside the pipeline is told which topics are missing."""
    broker = await launch({"role": "tool"})
    name = fresh("topic")
    with pytest.raises(BrokerError, match=name):
        await broker.create([TopicSpec(name=name)])
    assert name not in await broker.topics()
    with pytest.raises(BrokerError, match="only a running pipeline"):
        await broker.join("group", [])


async def test_the_cluster_says_what_is_wrong_with_a_topic(launch) -> None:
    """A setting that Kafka does not know, and more replicas than brokers, are errors in its own words."""
    broker = await launch()
    with pytest.raises(BrokerError, match=r"no\.such\.setting"):
        await broker.create([TopicSpec(name=fresh("topic"), settings={"no.such.setting": "1"})])
    with pytest.raises(BrokerError, match="replica"):
        await broker.create([TopicSpec(name=fresh("topic"), replication=3)])


async def test_the_record_limit_follows_the_topics(launch) -> None:
    """A topic that takes less than the option says lowers the limit, and a record of that size passes."""
    broker = await launch()
    assert broker.max_record_bytes == 1_000_000
    name = fresh("topic")
    await broker.create([TopicSpec(name=name, settings={"max.message.bytes": "10000"})])
    assert 9_000 < broker.max_record_bytes < 10_000
    await append(broker, name, 0, rows([b"x" * broker.max_record_bytes]))
    with pytest.raises(BrokerError, match=r"max\.message\.bytes"):
        await append(broker, name, 0, rows([b"x" * 10_001]))
    # An idempotent producer is stuck after a refusal; it was replaced.
    await append(broker, name, 0, rows([b"after"]))


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_batches_fit_the_topics(launch, delivery: str) -> None:
    """A topic takes many records of one unit whose sum is far above what it takes at once."""
    broker = await launch({"delivery": delivery})
    name = fresh("topic")
    await broker.create([TopicSpec(name=name, settings={"max.message.bytes": "10000"})])
    values = [b"%0900d" % number for number in range(50)]
    await append(broker, name, 0, rows(values))
    reader = await broker.reader({(name, 0): 0})
    assert [value for part in await read(reader, 50) for value in part.values] == values
    await reader.close()


async def test_a_deleted_topic_is_unknown(launch) -> None:
    """A topic that was deleted while its number of partitions was remembered is named, and soon."""
    broker = await launch(request_seconds=1.0)
    name = fresh("topic")
    await broker.create([TopicSpec(name=name)])
    await broker.ranges(name)
    await broker._session.cluster._admin.delete_topics([name])
    with pytest.raises(UnknownTopicError, match=name):
        await broker.ranges(name)


async def test_a_topic_that_others_remove_meanwhile_is_passed_over(launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed, and gone before its settings are read: `topics` leaves it out, and `create` makes it anew."""
    broker = await launch()
    cluster = broker._session.cluster
    admin, describe = cluster._admin, cluster._admin.describe_configs
    stays, goes = fresh("stays"), fresh("goes")
    declared = [TopicSpec(name=stays), TopicSpec(name=goes)]

    async def removed_first(resources: Any) -> Any:
        monkeypatch.undo()
        await cluster.remove([goes])
        async with asyncio.timeout(PATIENCE):
            while goes in {topic["topic"] for topic in await cluster.look()}:
                await asyncio.sleep(0.05)
        return await describe(resources)

    await broker.create(declared)
    monkeypatch.setattr(admin, "describe_configs", removed_first)
    found = await broker.topics()
    assert stays in found
    assert goes not in found
    await broker.create(declared)
    monkeypatch.setattr(admin, "describe_configs", removed_first)
    await broker.create(declared)
    assert {stays, goes} <= (await broker.topics()).keys()


async def test_time_lookup_goes_to_the_end(launch) -> None:
    """Before any record of that time there is the end; `ranges` of an empty topic are empty."""
    broker = await launch()
    name = fresh("topic")
    await broker.create([TopicSpec(name=name)])
    assert await broker.offset_at(name, 0, 0) == 0
    assert (await broker._session.cluster.ends([TopicPartition(name, 0)])) == {TopicPartition(name, 0): 0}
