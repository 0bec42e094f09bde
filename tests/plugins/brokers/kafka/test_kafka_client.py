"""Clients of the library are started and ended for certain."""

import asyncio
from typing import Any

import pytest
from aiokafka import client as library
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

from streamweaver.testing.broker import PATIENCE
from streamweaver_brokers.kafka import client as module


async def test_a_cancelled_start_leaves_no_connection_open(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection by which a client asks for the brokers is its own secret until they have answered."""
    broker = await launch()
    made: list[AIOKafkaConnection] = []
    inner, there = library.create_conn, asyncio.Event()

    async def noticed(*arguments: Any, **more: Any) -> AIOKafkaConnection:
        made.append(await inner(*arguments, **more))
        there.set()
        return made[-1]

    monkeypatch.setattr(library, "create_conn", noticed)
    monkeypatch.setattr(module, "START_SECONDS", PATIENCE)
    clients = broker._session.clients
    for client in (clients.producer(), clients.consumer(), clients.admin()):
        there.clear()
        starting = asyncio.create_task(clients.start(client))
        async with asyncio.timeout(PATIENCE):
            await there.wait()
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
    assert len(made) >= 3
    assert not any(connection.connected() for connection in made)


async def test_a_cancellation_is_never_lost(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is cancelled while a start fails, at whatever moment, ends cancelled, and does not try again."""
    broker = await launch()
    clients = broker._session.clients

    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError("refused")

    monkeypatch.setattr(library, "create_conn", refuse)
    outcomes = set()
    for turns in range(30):
        starting = asyncio.create_task(clients.start(clients.producer()))
        for _ in range(turns):
            await asyncio.sleep(0)
        is_under_way = starting.cancel()
        with pytest.raises((asyncio.CancelledError, KafkaConnectionError)) as ended:
            await starting
        outcomes.add((is_under_way, ended.type))
    assert outcomes == {(True, asyncio.CancelledError), (False, KafkaConnectionError)}
