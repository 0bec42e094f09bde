"""Reading a topic from its end on, once for all who look at it."""

import asyncio
from typing import Protocol

from streamweaver import Broker, BrokerError, Codec, Reader
from streamweaver.views.seen import Seen, decode

POLL_RECORDS = 5_000
POLLS = 8
"""How often one pull polls at most."""
BEHIND = 200_000
"""A tap that is further behind than this leaves records out, and says so: who looks wants to see what is now."""
KEEP = 5_000
RETRY_MS = 1_000


class Listener(Protocol):
    """Whoever looks at a topic."""

    def heard(self, seen: Seen, now: int) -> None:
        """Take records; never blocks, never fails."""

    def missed(self, start: int, end: int, records: int | None) -> None:
        """Note that records of a time (ms) were not seen."""


class Tap:
    """One topic from its end on. `pull` is called about once a tick, by one task."""

    def __init__(self, broker: Broker, topic: str, codec: Codec) -> None:
        self.topic = topic
        self.codec = codec
        self.listeners: set[Listener] = set()
        self.positions: dict[int, int] = {}
        """Where it stands: partition to the next offset."""
        self.error: str | None = None
        self._broker = broker
        self._reader: Reader | None = None
        self._broken_at = 0
        self._time = 0
        """Of the newest record seen."""
        self._failed_since: int | None = None

    async def open(self, now: int) -> None:
        """Begin at the end; BrokerError when the topic cannot be read."""
        ranges = await self._broker.ranges(self.topic)
        self.positions = {partition: held.end for partition, held in enumerate(ranges)}
        await self._attach()
        self._time = now

    async def _attach(self) -> None:
        starts = {(self.topic, partition): offset for partition, offset in self.positions.items()}
        self._reader = await self._broker.reader(starts)

    async def close(self) -> None:
        """Stop reading."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def pull(self, now: int) -> None:
        """Hand on everything that waits; a broker that cannot be read is tried again later."""
        if self._reader is None and now - self._broken_at < RETRY_MS:
            return
        try:
            if self._reader is None:
                await self._attach()
            await self._read(now)
            self._recovered(now)
        except BrokerError as error:
            self.error = str(error)
            self._broken_at = now
            if self._failed_since is None:
                self._failed_since = now
            await self.close()

    def _recovered(self, now: int) -> None:
        if self._failed_since is not None:
            for listener in list(self.listeners):
                listener.missed(self._failed_since, now, None)
        self._failed_since = self.error = None

    async def _read(self, now: int) -> None:
        assert self._reader is not None
        for _ in range(POLLS):
            fetched = await self._reader.poll(max_records=POLL_RECORDS, timeout=0)
            if not fetched:
                return
            for rows in fetched:
                self.positions[rows.partition] = rows.next_offset
                if rows.lost:
                    first = rows.timestamps[0] if len(rows) else now
                    self._miss(min(self._time, first), first, rows.lost)
                if len(rows):
                    self._time = rows.timestamps[-1]
                    seen = decode(rows, self.codec)
                    for listener in list(self.listeners):
                        listener.heard(seen, now)
            # Others on this loop, the stages among them, come first.
            await asyncio.sleep(0)
        await self._catch_up(now)

    async def _catch_up(self, now: int) -> None:
        """Leave out what is too much."""
        ranges = await self._broker.ranges(self.topic)
        behind = sum(max(0, held.end - self.positions[partition]) for partition, held in enumerate(ranges))
        if behind <= BEHIND:
            return
        left_out = 0
        for partition, held in enumerate(ranges):
            start = max(self.positions[partition], held.begin, held.end - KEEP // len(ranges))
            left_out += start - self.positions[partition]
            self.positions[partition] = start
        await self.close()
        await self._attach()
        self._miss(self._time, now, left_out)

    def _miss(self, start: int, end: int, records: int) -> None:
        for listener in list(self.listeners):
            listener.missed(start, end, records)
