"""Committed offsets are the coordinator's word; a broker that does not know them is asked again, or another one is."""

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import CoordinatorLoadInProgressError, NotCoordinatorError
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.testing.broker import append, fresh, lane_of, rows, topic
from streamweaver_brokers.kafka.offsets import Held

REFUSALS = [NotCoordinatorError.errno, CoordinatorLoadInProgressError.errno]


def refuse_first(monkeypatch: pytest.MonkeyPatch, owner: type, send: str) -> list[int]:
    """Have the first questions for offsets answered as by brokers that do not know; return what is left of these."""
    left, original = list(REFUSALS), getattr(owner, send)

    async def answer(client: Any, request: Any, *more: Any, **named: Any) -> Any:
        if isinstance(request, OffsetFetchRequest) and left:
            return OffsetFetchResponse_v3(0, [], left.pop(0))
        return await original(client, request, *more, **named)

    monkeypatch.setattr(owner, send, answer)
    return left


async def test_a_broker_that_does_not_know_is_no_new_group(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the coordinator moves, a lane waits for what is committed; nothing is read a second time."""
    broker = await launch()
    name, group = await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1", b"2"]))
    async with lane_of(broker, group, name) as lane:
        (fetched,) = await lane.poll(max_records=1)
        unit = lane.begin()
        unit.mark(name, 0, fetched.next_offset)
        await unit.commit()
    left = refuse_first(monkeypatch, GroupCoordinator, "_send_req")
    async with lane_of(await launch(), group, name) as lane:
        assert lane.committed(name, 0) == 1
        (fetched,) = await lane.poll()
        assert fetched.values == [b"2"]
    assert left == []


async def test_a_tool_that_is_refused_asks_again(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at a group from outside sees its offsets, too, not that it has none."""
    broker = await launch()
    name, group = await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    async with lane_of(broker, group, name) as lane:
        unit = lane.begin()
        unit.mark(name, 0, 1)
        await unit.commit()
    left = refuse_first(monkeypatch, AIOKafkaAdminClient, "_send_request")
    assert await (await launch()).offsets(group) == {(name, 0): 1}
    assert left == []


@given(offset=st.none() | st.integers(0, 2**62), owner=st.text(max_size=20), begin=st.integers(0, 2**62))
def test_what_a_group_holds_is_read_as_it_was_written(offset: int | None, owner: str, begin: int) -> None:
    """An offset and an owner come back; where nothing was consumed the offset is where reading begins."""
    written, metadata = Held(offset, owner).written(begin)
    assert written == (begin if offset is None else offset)
    assert Held.of(written, metadata) == Held(offset, owner)


@given(metadata=st.none() | st.text(max_size=20).filter(lambda text: not text.startswith(("read:", "unread:"))))
def test_an_offset_that_another_program_set_is_nobodys(metadata: str | None) -> None:
    """Whoever moves a group's offsets while nobody runs need not know of claims."""
    assert Held.of(5, metadata) == Held(5, "")
