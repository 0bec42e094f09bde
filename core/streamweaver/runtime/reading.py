"""Reading a topic up to what is its end now, for those who look at all of it: dead letters, their marks, moving."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from streamweaver.contracts import Broker, Fetched, PartitionRange
from streamweaver.errors import BrokerError, UnknownTopicError

ASK_SECONDS = 5.0
"""Silence after which the broker is asked whether the end is still where it was."""

MOST_SILENCES = 6
"""So many of them in a row, although there is more, and reading fails."""


async def through(broker: Broker, topic: str, starts: Mapping[int, int] | None = None) -> AsyncGenerator[Fetched]:
    """Read a topic up to what is its end now: all of it, or some partitions from an offset. Nothing if it is none.

    Partition after partition. Silence is no end: a broker may take its time. BrokerError when nothing comes although
    the broker says that there is more. Whoever leaves before the end closes it (`aclosing`), and with it the reader,
    which on Kafka is a consumer with its connections.
    """
    try:
        ranges = await broker.ranges(topic)
    except UnknownTopicError:
        return
    for partition, held in enumerate(ranges):
        start = held.begin if starts is None else max(held.begin, starts.get(partition, held.end))
        if start < held.end:
            async with aclosing(_partition(broker, topic, partition, PartitionRange(start, held.end))) as found:
                async for rows in found:
                    yield rows


async def _partition(broker: Broker, topic: str, partition: int, held: PartitionRange) -> AsyncGenerator[Fetched]:
    at, end, silences = held.begin, held.end, 0
    reader = await broker.reader({(topic, partition): at})
    try:
        while at < end:
            fetched = await reader.poll(max_records=5_000, timeout=ASK_SECONDS)
            # Brokers may answer without ever waiting; others, a membership say, need their turns.
            await asyncio.sleep(0)
            for rows in fetched:
                at, silences = rows.next_offset, 0
                yield rows
            if not fetched:
                silences += 1
                # It ends earlier now if the topic has been made anew meanwhile.
                end = min(end, (await broker.ranges(topic))[partition].end)
                if at < end and silences >= MOST_SILENCES:
                    raise BrokerError(
                        f"topic {topic}, partition {partition}: nothing came at offset {at} for "
                        f"{silences * ASK_SECONDS:.0f} s, although it holds records up to {end}; is the broker well?"
                    )
    finally:
        await reader.close()
