"""One worker that commits one unit of work, and kills itself (SIGKILL) when it comes to a named point of the commit.

    python kafka_one_unit.py ADDRESS DELIVERY GROUP SOURCE TARGET POINT

The points are put around functions from outside, so what ships holds no hooks.
"""

import asyncio
import functools
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import attrs
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.producer.sender import EndTxnHandler

from streamweaver import BrokerContext
from streamweaver.testing.broker import rows
from streamweaver_brokers.kafka import Kafka
from streamweaver_brokers.kafka.session import Session

INSTANCE = "the-worker"
"""Its name as a static member: whoever has it next takes over at once."""


@attrs.frozen
class Point:
    """A place in the commit, and the documented side on which it lies."""

    owner: type
    function: str
    when: Literal["before", "after"]
    stored: bool
    """Whether the rows come out for a unit that is killed there."""
    marked: bool
    """Whether its offset is committed."""


EXACTLY_ONCE = {
    "unit made, nothing sent": Point(AIOKafkaProducer, "begin_transaction", "after", stored=False, marked=False),
    "offsets sent, rows not": Point(
        AIOKafkaProducer, "send_offsets_to_transaction", "after", stored=False, marked=False
    ),
    "rows handed over": Point(AIOKafkaProducer, "send_batch", "after", stored=False, marked=False),
    "rows delivered, before EndTxn": Point(
        AIOKafkaProducer, "commit_transaction", "before", stored=False, marked=False
    ),
    "EndTxn answered, not looked at": Point(EndTxnHandler, "handle_response", "before", stored=True, marked=True),
    "after EndTxn": Point(AIOKafkaProducer, "commit_transaction", "after", stored=True, marked=True),
}
AT_LEAST_ONCE = {
    "nothing sent": Point(Session, "send", "before", stored=False, marked=False),
    "rows delivered, offsets not": Point(Session, "send", "after", stored=True, marked=False),
    "offsets committed": Point(AIOKafkaConsumer, "commit", "after", stored=True, marked=True),
}
POINTS = {"exactly_once": EXACTLY_ONCE, "at_least_once": AT_LEAST_ONCE}


def arm(point: Point) -> None:
    """Put the kill around the point's function."""
    original = getattr(point.owner, point.function)

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if asyncio.iscoroutinefunction(original):

        @functools.wraps(original)
        async def wrapped(*arguments: Any, **named: Any) -> Any:
            if point.when == "before":
                kill()
            await original(*arguments, **named)
            kill()

        setattr(point.owner, point.function, wrapped)
    else:
        setattr(point.owner, point.function, lambda *_: kill())


async def run(address: str, delivery: Any, group: str, source: str, target: str, point: str) -> None:
    """Copy what there is, and a state beside it, as one unit."""
    broker = Kafka(servers=[address], instance=INSTANCE)
    await broker.open(BrokerContext(pipeline="test", data_dir=Path(tempfile.gettempdir()), delivery=delivery))
    member = await broker.join(group, [source])
    lane = await anext(member.lanes())
    (fetched,) = await lane.poll()
    unit = lane.begin()
    unit.append(target, 0, rows(fetched.values))
    unit.put_state("store", 0, {b"key": fetched.values[-1]})
    unit.mark(source, 0, fetched.next_offset)
    arm(POINTS[delivery][point])
    await unit.commit()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
