"""Brokers that are away are tried in measure, and told once."""

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka.client import ConnectionGroup

from streamweaver_brokers.kafka import reach
from streamweaver_brokers.kafka.reach import Reach

CONNECTION = SimpleNamespace(connected=lambda: True)


class Client:
    """What `Reach` uses of the library's client: brokers by number, some of which are there."""

    def __init__(self, *brokers: int, there: set[int]) -> None:
        self.there = there
        self.tries: list[int] = []
        self._conns: dict[Any, Any] = {}
        known = {number: SimpleNamespace(host="kafka", port=number) for number in brokers}
        self.cluster = SimpleNamespace(broker_metadata=known.get, brokers=lambda: list(known.values()))

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
