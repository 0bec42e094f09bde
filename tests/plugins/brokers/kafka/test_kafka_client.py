"""Clients of the library are started and ended for certain."""

import asyncio
from typing import Any

import pytest
from aiokafka import client as library
from aiokafka.conn import AIOKafkaConnection

from streamweaver.testing.broker import PATIENCE


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
