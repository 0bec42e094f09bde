"""Reading without a group, from given offsets on."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from streamweaver import BrokerError, Fetched
from streamweaver_brokers.kafka.failure import FAILURES, mapped
from streamweaver_brokers.kafka.fetcher import fetched

if TYPE_CHECKING:
    from streamweaver_brokers.kafka.session import Session

TICK_SECONDS = 0.5
"""How often positions are looked at that moved on without a record."""

FETCH_BYTES = 4 << 20


class Reader:
    """One consumer without a group; only what is committed is seen."""

    def __init__(self, session: "Session", starts: Mapping[TopicPartition, int]) -> None:
        self._session = session
        self._told = dict(starts)
        """How far the caller has been told of, by partition."""
        self._lost: dict[TopicPartition, int] = {}
        self._consumer = session.clients.consumer(fetch_max_bytes=FETCH_BYTES)
        self._closed = False

    async def begin(self) -> None:
        """Connect."""
        self._consumer.assign(list(self._told))
        try:
            await self._session.clients.start(self._consumer)
        except FAILURES as error:
            raise await self._session.clients.unreachable() from error
        for part, offset in self._told.items():
            self._consumer.seek(part, offset)

    async def poll(self, *, max_records: int = 5_000, timeout: float | None = None) -> list[Fetched]:
        """Return what waits, or wait for it."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            if self._closed:
                raise BrokerError("the reader is closed")
            left = TICK_SECONDS if deadline is None else min(TICK_SECONDS, max(0.0, deadline - loop.time()))
            if found := await self._take(max_records, left):
                return found
            if deadline is not None and loop.time() >= deadline:
                return []

    async def _take(self, max_records: int, seconds: float) -> list[Fetched]:
        try:
            found = await self._consumer.getmany(timeout_ms=round(seconds * 1000), max_records=max_records)
        except OffsetOutOfRangeError as error:
            await self._out_of_range(error.args[0])
            found = {}
        except FAILURES as error:
            raise mapped(error, "reading") from error
        items = []
        for part in self._told:
            records = found.get(part, ())
            position = await self._consumer.position(part)
            lost = self._lost.pop(part, 0)
            if records or position > self._told[part] or lost:
                items.append(fetched(part, records, position, lost))
                self._told[part] = position
        return items

    async def _out_of_range(self, places: Mapping[TopicPartition, int]) -> None:
        """Go on with what is there; what retention has removed since is counted."""
        begins = await self._session.cluster.begins(list(places))
        ends = await self._session.cluster.ends(list(places))
        for part, offset in places.items():
            if offset < begins[part]:
                self._lost[part] = begins[part] - offset
                self._consumer.seek(part, begins[part])
            else:
                # Beyond the end: what was there is gone (the topic was made anew), or is not there yet.
                self._consumer.seek(part, ends[part])
                self._told[part] = ends[part]

    async def close(self) -> None:
        """Disconnect."""
        if not self._closed:
            self._closed = True
            self._session.readers.discard(self)
            await self._session.clients.end(self._consumer)
