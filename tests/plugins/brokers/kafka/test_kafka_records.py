"""Records of odd shapes pass, or are refused before the client chokes on them; what comes behind them goes on."""

from typing import Any

import pytest

from streamweaver import BrokerError, Headers, Rows, TopicSpec
from streamweaver.testing.broker import TIME, all_of, append, fresh, lane_of, rows, topic

MANY: Headers = tuple((f"h{number}", b"v") for number in range(10_000))

SHAPES: dict[str, tuple[bytes | None, bytes | None, Headers]] = {
    "a tombstone": (b"key", None, ()),
    "nothing at all": (None, None, ()),
    "empty": (b"", b"", (("", b""),)),
    "10,000 headers": (b"key", b"value", MANY),
    "a long key": (b"k" * 100_000, b"value", ()),
    "a long header": (None, b"value", (("h" * 10_000, b"v" * 100_000),)),
    "no text": (b"\xff\x00", b"\x00" * 10, (("h", b"\xff"),)),
}


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_odd_records_pass(launch: Any, shape: str, delivery: str) -> None:
    """Key, value and headers come back as they were, through a lane's commit, beside plain records."""
    broker = await launch({"delivery": delivery})
    name, target, group = await topic(broker), await topic(broker), fresh("group")
    key, value, headers = SHAPES[shape]
    odd = Rows([None, key, None], [b"before", value, b"behind"], [TIME] * 3, [(), headers, ()])
    await append(broker, name, 0, odd)
    async with lane_of(broker, group, name) as lane:
        seen = 0
        while seen < 3:
            for item in await lane.poll(timeout=20):
                unit = lane.begin()
                unit.append(target, 0, Rows(item.keys, item.values, item.timestamps, item.headers))
                unit.mark(name, 0, item.next_offset)
                await unit.commit()
                seen += len(item)
    expected = [(None, b"before", ()), (key, value, headers), (None, b"behind", ())]
    assert [(k, v, h) for k, v, _, h in await all_of(broker, target, 0, 3)] == expected


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_ten_megabytes_pass_where_they_may_and_are_refused_elsewhere(launch: Any, delivery: str) -> None:
    """A record of 10 MB passes where topic and option allow it; elsewhere the error says so, and others still pass."""
    large = b"x" * 10_000_000
    broker = await launch({"delivery": delivery}, max_record_bytes=12_000_000)
    wide, narrow = fresh("wide"), await topic(broker)
    await broker.create([TopicSpec(name=wide, settings={"max.message.bytes": "12000000"})])
    await append(broker, wide, 0, rows([b"before", large, b"behind"]))
    assert [value for _, value, _, _ in await all_of(broker, wide, 0, 3)] == [b"before", large, b"behind"]
    with pytest.raises(BrokerError, match=r"max\.message\.bytes"):
        await append(broker, narrow, 0, rows([large]))
    await append(broker, narrow, 0, rows([b"behind"]))
    assert [value for _, value, _, _ in await all_of(broker, narrow, 0, 1)] == [b"behind"]
