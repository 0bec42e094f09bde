"""kcat, a client that nobody here wrote, reads what we write and writes what we read."""

import asyncio
import json
import shutil
from typing import Any

import pytest

from real_parts import missing
from streamweaver import LaneLostError, Rows
from streamweaver.partitioner import partition_of
from streamweaver.testing.broker import PATIENCE, TIME, all_of, append, fresh, lane_of, rows, topic

COMPRESSIONS = ["none", "gzip", "zstd"]


async def kcat(address: str, *arguments: str, stdin: bytes = b"") -> list[bytes]:
    """Run kcat, and return the lines that it printed."""
    program = shutil.which("kcat")
    if program is None:
        missing("no kcat found (Debian: kcat)")
    pipe = asyncio.subprocess.PIPE
    command = [program, "-b", address, "-q", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(stdin), PATIENCE)
    assert process.returncode == 0, err.decode()
    return out.splitlines()


async def read_all(address: str, name: str, count: int) -> list[dict[str, Any]]:
    """Have kcat read so many records of a topic with one partition."""
    lines = await kcat(address, "-C", "-t", name, "-p", "0", "-o", "beginning", "-c", str(count), "-J")
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_kcat_reads_what_we_write(launch: Any, kafka_address: str, compression: str) -> None:
    """Keys, values, headers, times, tombstones and empty values are the same for it, compressed or not."""
    broker = await launch(compression=compression)
    name = await topic(broker)
    values = ["plain", "", None, "ä∑ 🙂", "x" * 5_000]
    keys = ["k1", "k2", "k3", None, ""]
    headers = [(), (("a", b"1"), ("b", b"")), (("a", b"1"), ("a", b"2")), (), ()]
    encoded = [[None if text is None else text.encode() for text in column] for column in (keys, values)]
    await append(broker, name, 0, Rows(*encoded, [TIME + n for n in range(5)], headers))
    found = await read_all(kafka_address, name, 5)
    assert [(one["key"], one["payload"]) for one in found] == list(zip(keys, values, strict=True))
    assert [one["ts"] for one in found] == [TIME + n for n in range(5)]
    assert [one.get("headers", []) for one in found] == [[], ["a", "1", "b", ""], ["a", "1", "a", "2"], [], []]


async def test_kcat_sees_transactions_as_a_whole(launch: Any, kafka_address: str) -> None:
    """What an exactly-once lane commits is there once; what was given up in between is not."""
    broker = await launch()
    name, target, group = await topic(broker), await topic(broker), fresh("group")
    await append(broker, name, 0, rows([b"1"]))
    member = await broker.join(group, [name])
    lanes = member.lanes()
    lane = await asyncio.wait_for(anext(lanes), PATIENCE)

    async def fails() -> None:
        raise TimeoutError

    lane.claim.transactions.sender._producer.commit_transaction = fails
    unit = lane.begin()
    unit.append(target, 0, rows([b"given up"]))
    with pytest.raises(LaneLostError, match="no answer in time"):
        await unit.commit()
    await lane.release()
    lane = await asyncio.wait_for(anext(lanes), PATIENCE)
    unit = lane.begin()
    unit.append(target, 0, rows([b"one", b"two"]))
    await unit.commit()
    await lane.release()
    await member.leave()
    assert [one["payload"] for one in await read_all(kafka_address, target, 2)] == ["one", "two"]


async def test_we_read_what_kcat_writes(launch: Any, kafka_address: str) -> None:
    """Keys, headers, tombstones and compressed batches of another client are the same for us, by group and without."""
    broker = await launch()
    name, group = await topic(broker), fresh("group")
    lines = "k1:one\nk2:zwölf\nk3:\n".encode()
    await kcat(
        kafka_address, "-P", "-t", name, "-p", "0", "-K:", "-Z", "-H", "h=v", "-H", "e=", "-z", "gzip", stdin=lines
    )
    await kcat(kafka_address, "-P", "-t", name, "-p", "0", stdin=b"no key\n")
    headers = (("h", b"v"), ("e", b""))
    expected = [
        (b"k1", b"one", headers),
        (b"k2", "zwölf".encode(), headers),
        (b"k3", None, headers),
        (None, b"no key", ()),
    ]
    assert [(key, value, found) for key, value, _, found in await all_of(broker, name, 0, 4)] == expected
    seen: list[Any] = []
    async with lane_of(broker, group, name) as lane, asyncio.timeout(PATIENCE):
        while len(seen) < 4:
            for item in await lane.poll(timeout=PATIENCE):
                seen += zip(item.keys, item.values, item.headers or [()] * len(item), strict=True)
    assert seen == expected


async def test_keys_go_where_javas_clients_put_them(launch: Any, kafka_address: str) -> None:
    """The partitioner `murmur2` of librdkafka, which is Java's, puts each key into the partition that we would."""
    broker = await launch()
    name = await topic(broker, 8)
    keys = [f"key {number}" for number in range(200)]
    lines = "".join(f"{key}:x\n" for key in keys).encode()
    await kcat(kafka_address, "-P", "-t", name, "-K:", "-X", "topic.partitioner=murmur2", stdin=lines)
    found = await kcat(kafka_address, "-C", "-t", name, "-o", "beginning", "-c", "200", "-f", "%p %k\\n")
    places = {key.decode(): int(part) for part, _, key in (line.partition(b" ") for line in found)}
    assert places == {key: partition_of(key.encode(), 8) for key in keys}
