"""The marks of dead letters that have been dealt with."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamweaver import Broker, BrokerContext, ConflictError, Rows, TopicSpec
from streamweaver.runtime.letter_marks import Marks, Settled
from streamweaver_brokers.embedded import Embedded

TOPIC = "shop.settled_letters"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker with the topic of marks."""
    opened = Embedded()
    await opened.open(BrokerContext(pipeline="shop", data_dir=tmp_path))
    await opened.create([TopicSpec(name=TOPIC)])
    yield opened
    await opened.close()


async def mark(broker: Broker, marks: Marks, letter_id: str) -> None:
    unit = broker.begin()
    marks.put(unit, [letter_id], "replayed", 5)
    await unit.commit()


async def test_marks_are_read_on(broker: Broker) -> None:
    """Each refresh takes in what others have marked since the one before."""
    ours, theirs = Marks(broker, TOPIC), Marks(broker, TOPIC)
    await mark(broker, theirs, "0:1")
    assert ours.get("0:1") is None
    await ours.refresh()
    await mark(broker, ours, "0:2")
    await ours.refresh()
    assert (ours.get("0:1"), ours.get("0:2"), ours.get("0:3")) == (Settled("replayed", 5), Settled("replayed", 5), None)


async def test_marks_put_without_a_refresh_are_void(broker: Broker) -> None:
    """Whoever has not seen the newest mark cannot add one."""
    ours, theirs = Marks(broker, TOPIC), Marks(broker, TOPIC)
    await mark(broker, theirs, "0:1")
    with pytest.raises(ConflictError, match="ends at 1, expected 0"):
        await mark(broker, ours, "0:1")


async def test_the_first_mark_counts_and_what_is_none_is_passed_over(broker: Broker) -> None:
    """Records that somebody else put into the topic change nothing."""
    unit = broker.begin()
    unit.append(TOPIC, 0, Rows([b"0:1", b"0:1", None, b"0:2"], [b"discarded", b"replayed", b"replayed", None], [1] * 4))
    await unit.commit()
    marks = Marks(broker, TOPIC)
    await marks.refresh()
    assert (marks.get("0:1"), marks.get("0:2")) == (Settled("discarded", 1), None)


async def test_marks_that_have_expired_are_no_conflict(broker: Broker) -> None:
    """Where all marks have gone of age, the topic still ends where it ended, and the next mark goes there."""
    await broker.create([TopicSpec(name="old.letters", retention_ms=1)])
    unit = broker.begin()
    unit.append("old.letters", 0, Rows([b"0:1"] * 3, [b"replayed"] * 3, [1] * 3))
    await unit.commit()
    while (await broker.ranges("old.letters"))[0].begin < 3:
        await asyncio.sleep(0.01)  # age is counted by the broker's own clock
        await broker.maintain()
    marks = Marks(broker, "old.letters")
    await marks.refresh()
    unit = broker.begin()
    marks.put(unit, ["0:7"], "replayed", 5)
    await unit.commit()
