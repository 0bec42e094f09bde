"""Brokers that are away are tried in measure, and told once."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka import client as library
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.protocol.metadata import MetadataResponse_v1

from streamweaver_brokers.kafka import reach
from streamweaver_brokers.kafka.reach import Reach

CONNECTION = SimpleNamespace(connected=lambda: True)


class Client:
    """What `Reach` uses of the library's client: brokers by number, some of which are there."""

    def __init__(self, *brokers: int, there: set[int]) -> None:
        self.there = there
        self.tries: list[int] = []
        self.stale = False
        self._conns: dict[Any, Any] = {}
        known = {number: SimpleNamespace(host="kafka", port=number) for number in brokers}
        self.cluster = SimpleNamespace(broker_metadata=known.get, brokers=lambda: list(known.values()))

    def force_metadata_update(self) -> None:
        self.stale = True

    async def _get_conn(self, node: int, *, group: Any) -> Any:
        self.tries.append(node)
        if node not in self.there:
            return None
        self._conns[node, group] = CONNECTION
        return CONNECTION


class Told:
    """Keeps the lines, without their times."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def __call__(self, level: str, event: str, /, **fields: Any) -> None:
        self.lines.append((level, event, fields["server"]))


async def test_who_is_away_is_tried_less_and_less(monkeypatch: Any) -> None:
    """Clients that ask all the time make a few tries, wait for the next one, and are connected when it succeeds."""
    told = Told()
    together = Reach(told)
    there: set[int] = set()
    clients = [Client(1, there=there) for _ in range(3)]
    monkeypatch.setattr(reach, "MOST_SECONDS", 0.1)

    async def ask(client: Client) -> None:
        while await client._get_conn(1) is None:
            await asyncio.sleep(0)

    for client in clients:
        together.watch(client)  # type: ignore[arg-type]
    asking = asyncio.gather(*map(ask, clients))
    async with asyncio.timeout(10):
        while len(clients[0].tries) < 5:
            await asyncio.sleep(0.01)
        assert together.is_cut_off(clients[0])  # type: ignore[arg-type]
        there.add(1)
        await asking
    assert max(len(client.tries) for client in clients) < 12, "it is asked thousands of times"
    assert not together.is_cut_off(clients[0])  # type: ignore[arg-type]
    assert told.lines == [
        ("warning", "kafka broker cannot be reached", "kafka:1"),
        ("info", "kafka broker is back", "kafka:1"),
    ]


async def test_others_are_turned_to(monkeypatch: Any) -> None:
    """Where another broker is left nobody waits for the one that is away; connections that are there are used."""
    monkeypatch.setattr(reach, "FIRST_SECONDS", 60.0)
    client, together = Client(1, 2, there={2}), Reach(Told())
    together.watch(client)  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        assert await client._get_conn(1) is None
        assert await client._get_conn(1) is None
        assert await client._get_conn(2, group=ConnectionGroup.COORDINATION) is CONNECTION
        assert await client._get_conn(2, group=ConnectionGroup.COORDINATION) is CONNECTION
    assert client.tries == [1, 2]
    assert not together.is_cut_off(client)  # type: ignore[arg-type]
    assert client.stale, "another broker may lead by now what this one led"


async def test_who_is_connected_is_not_cut_off() -> None:
    """What another client could not reach says nothing of a connection that is there."""
    first, second, together = Client(1, there={1}), Client(1, there=set()), Reach(Told())
    for client in (first, second):
        together.watch(client)  # type: ignore[arg-type]
        await client._get_conn(1)
    assert not together.is_cut_off(first)  # type: ignore[arg-type]
    assert together.is_cut_off(second)  # type: ignore[arg-type]


def answered(leader: int) -> MetadataResponse_v1:
    """Return what a broker says of the cluster: two brokers, and one partition of a topic."""
    brokers = [(1, "kafka", 1, None), (2, "kafka", 2, None)]
    return MetadataResponse_v1(brokers, 2, [(0, "topic", False, [(0, 0, leader, [1, 2], [2])])])


async def test_a_new_leader_is_found_as_soon_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of a broker that died do not wait for each other's tries to learn who leads by now."""
    leader = 1

    class Connection:
        def connected(self) -> bool:
            return True

        async def send(self, _: Any) -> MetadataResponse_v1:
            return answered(leader)

        async def close(self, **_: Any) -> None:
            pass

    async def connect(_: str, port: int, **__: Any) -> Connection:
        if port == 1:
            raise OSError("refused")
        return Connection()

    monkeypatch.setattr(library, "create_conn", connect)
    part, together = TopicPartition("topic", 0), Reach(Told())

    async def work(client: AIOKafkaClient) -> None:
        while (node := client.cluster.leader_for_partition(part)) != 2:
            await client.ready(node)
            await asyncio.sleep(0.1)

    clients = [AIOKafkaClient() for _ in range(20)]
    for client in clients:
        together.watch(client)
        client.cluster.update_metadata(answered(leader))
        client._sync_task = asyncio.create_task(client._md_synchronizer())
    working = asyncio.gather(*map(work, clients))
    async with asyncio.timeout(10):
        while together._left("kafka:1") < 0.9:
            await asyncio.sleep(0.01)
        leader = 2
        began = asyncio.get_running_loop().time()
        await working
    assert asyncio.get_running_loop().time() - began < 4.0, "with the tries of all in turn it is ten seconds or more"
    for client in clients:
        await client.close()
