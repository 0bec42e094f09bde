"""Reading a topic to its end, which only the broker knows."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from core.runtime.runtime_kit import Slow, open_readers
from streamweaver import Broker, BrokerContext, BrokerError, Rows, TopicSpec
from streamweaver.runtime import reading
from streamweaver.runtime.reading import through
from streamweaver_brokers.embedded import Embedded


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker with a topic of two partitions that hold 3 and 2 records."""
    opened = Embedded()
    await opened.open(BrokerContext(pipeline="shop", data_dir=tmp_path))
    await opened.create([TopicSpec(name="topic", partitions=2)])
    unit = opened.begin()
    unit.append("topic", 0, Rows([None] * 3, [b"1", b"2", b"3"], [1] * 3))
    unit.append("topic", 1, Rows([None] * 2, [b"4", b"5"], [1] * 2))
    await unit.commit()
    yield opened
    await opened.close()


async def values(broker: Any, starts: Mapping[int, int] | None = None) -> list[bytes | None]:
    return [value async for rows in through(broker, "topic", starts) for value in rows.values]


async def test_all_of_it_is_read(broker: Broker) -> None:
    """From the beginning, or from an offset of some partitions; nothing of a topic that there is not."""
    assert await values(broker) == [b"1", b"2", b"3", b"4", b"5"]
    assert await values(broker, {0: 2}) == [b"3"]
    assert await values(broker, {0: 3, 1: 9}) == []
    assert [rows async for rows in through(broker, "nowhere")] == []


async def test_silence_is_no_end(broker: Broker) -> None:
    """A broker that takes its time is asked for the end again, and read on; nothing is left out."""
    slow = Slow(broker, reading.MOST_SILENCES - 1)
    assert await values(slow) == [b"1", b"2", b"3", b"4", b"5"]
    assert slow.asked > 1


async def test_silence_that_does_not_end_is_told(broker: Broker) -> None:
    """What cannot be read is not passed over: partition, offset and end are named."""
    with pytest.raises(BrokerError, match=r"topic topic, partition 0: nothing came at offset 0 .* up to 3"):
        await values(Slow(broker, 1_000))


async def test_a_topic_that_was_made_anew_meanwhile_ends_there(broker: Broker) -> None:
    """The broker's word counts, not what it said before."""
    assert await values(Slow(broker, 1_000, shrinks=True)) == []


async def test_who_leaves_early_leaves_no_reader_open(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing it closes the reader, at once and not when somebody collects garbage."""
    readers = open_readers(monkeypatch)
    async with aclosing(through(broker, "topic")) as found:
        async for _ in found:
            assert len(readers) == 1
            break
    assert readers == []
