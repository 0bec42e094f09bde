"""A poll that waits wakes up, gives up in time, and loses nothing when it is cancelled."""

import asyncio

from streamweaver.testing.broker import writing
from streamweaver.testing.broker.writing import Check, Make, append, fresh, lane_of, next_values, opened, rows, topic


async def a_waiting_poll_wakes_up(make: Make) -> None:
    """A poll that waits returns soon after rows were committed."""
    async with opened(make) as broker:
        name = await topic(broker)
        async with lane_of(broker, fresh("group"), name) as lane:
            for number in range(3):
                waiting = asyncio.create_task(lane.poll(timeout=writing.PATIENCE))
                done, _ = await asyncio.wait([waiting], timeout=0.05)
                assert not done
                await append(broker, name, 0, rows([b"%d" % number]))
                (fetched,) = await asyncio.wait_for(waiting, writing.PATIENCE / 2)
                assert fetched.values == [b"%d" % number]


async def a_poll_gives_up_after_its_timeout(make: Make) -> None:
    """An empty list comes after the timeout, not before; with a timeout of 0 at once."""
    async with opened(make) as broker:
        name = await topic(broker)
        async with lane_of(broker, fresh("group"), name) as lane:
            loop = asyncio.get_running_loop()
            started = loop.time()
            assert await lane.poll(timeout=0.3) == []
            assert 0.29 <= loop.time() - started < writing.PATIENCE
            assert await asyncio.wait_for(lane.poll(timeout=0), writing.PATIENCE) == []


async def a_cancelled_poll_loses_nothing(make: Make) -> None:
    """Records that come after a poll was cancelled are handed out by the next one."""
    async with opened(make) as broker:
        name = await topic(broker)
        async with lane_of(broker, fresh("group"), name) as lane:
            waiting = asyncio.create_task(lane.poll())
            await asyncio.wait([waiting], timeout=0.1)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            await append(broker, name, 0, rows([b"a"]))
            assert await next_values(lane) == [b"a"]


WAITING: list[Check] = [
    a_waiting_poll_wakes_up,
    a_poll_gives_up_after_its_timeout,
    a_cancelled_poll_loses_nothing,
]
