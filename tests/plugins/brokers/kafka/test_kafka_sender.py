"""Producers end for certain, and what they leave behind nobody is told of."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import TopicPartition

from streamweaver.testing.broker import PATIENCE, fresh, topic
from streamweaver_brokers.kafka.sender import Sender


async def test_a_cancelled_close_leaves_nothing_open(launch: Any) -> None:
    """Who is cancelled while it undoes a transaction disconnects all the same."""
    broker = await launch()
    sender = Sender(broker._session.clients, fresh("sender"), 10.0)
    await sender.start()
    producer, undoing = sender._producer, asyncio.Event()

    async def abort() -> None:
        undoing.set()
        await asyncio.Event().wait()

    producer.abort_transaction = abort
    await producer.begin_transaction()
    sender._in_transaction = True
    closing = asyncio.create_task(sender.close())
    async with asyncio.timeout(PATIENCE):
        await undoing.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert producer._closed
    assert not any(connection.connected() for connection in producer.client._conns.values())


async def fail_to_commit(broker: Any) -> None:
    """Have a transaction fail at its first step, and forget its producer."""
    part, group = TopicPartition(await topic(broker), 0), fresh("group")
    sender = Sender(broker._session.clients, fresh("sender"), 10.0)
    await sender.start()
    manager = sender._producer._txn_manager
    inner = manager.add_offsets_to_txn

    def failing(*arguments: Any) -> Any:
        future = inner(*arguments)
        manager.fatal_error(OSError("the network is cut"))
        return future

    manager.add_offsets_to_txn = failing
    with pytest.raises(OSError, match="the network is cut"):
        await sender.commit({}, {part: (0, "")}, group)
    await sender.close()


async def test_a_failed_step_leaves_no_error_that_nobody_asked_for(launch: Any) -> None:
    """The library keeps the failure of a transaction for who waits for its end; where nobody does nothing is logged."""
    broker = await launch()
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    await fail_to_commit(broker)
    gc.collect()
    assert told == []
