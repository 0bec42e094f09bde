"""Taking lanes over: the predecessor is fenced, then offsets and state are read as they are committed."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from streamweaver import BrokerError
from streamweaver_brokers.kafka.failure import described, persevering, retrying
from streamweaver_brokers.kafka.lane import Lane
from streamweaver_brokers.kafka.offsets import of_member
from streamweaver_brokers.kafka.sender import Sender
from streamweaver_brokers.kafka.table import Table, restore

if TYPE_CHECKING:
    from streamweaver_brokers.kafka.group import Membership


class Acquisition:
    """The lanes that a membership is about to take over, and the tables of those that it has had."""

    def __init__(self, member: "Membership", *, single: bool) -> None:
        self._member = member
        self._single = single
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._tables: dict[int, Table] = {}

    def begin(self, number: int, wait: float) -> None:
        """Take a lane over in some seconds, as often as it needs; an attempt under way is given up."""
        old = self._tasks.get(number)
        if old is not None:
            old.cancel()
        task = self._tasks[number] = asyncio.create_task(self._acquire(number, wait))
        task.add_done_callback(lambda done: self._acquired(number, done))

    def _acquired(self, number: int, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(number) is task:
            del self._tasks[number]
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect; nobody else would hear of it.
            self._member.offer(BrokerError(f"group {self._member.group}, lane {number}: {error!r}"))

    def cancel(self) -> None:
        """Give up all attempts, without waiting for their ends."""
        for task in self._tasks.values():
            task.cancel()

    async def stop(self) -> None:
        """Give up all attempts."""
        tasks = list(self._tasks.values())
        self.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _acquire(self, number: int, wait: float) -> None:
        """Try until it is done; a failure that lasts is told to the engine."""
        member = self._member
        await asyncio.sleep(wait)
        try:
            await persevering(
                lambda: self._take_over(number),
                lambda why: member.log("warning", "kafka lane cannot be taken over yet", lane=number, reason=why),
            )
        except BrokerError as error:
            member.offer(error)

    async def _take_over(self, number: int) -> None:
        """Fence the predecessor, then read what it has committed; in this order nothing of it can be missed."""
        member, session = self._member, self._member.session
        previous = member.lane(number)
        if previous is not None:
            await previous.released.wait()
        parts = member.share(number)
        if parts is None:
            return
        sender = None
        if session.transactional:
            name = "single" if self._single else str(number)
            sender = Sender(session.clients, f"{member.group}.{name}", session.transaction_seconds)
        try:
            if sender is not None:
                async with described(f"starting the producer of group {member.group}, lane {number}", session.step):
                    await sender.start()
            committed = await self._committed(parts)
            begins = await session.cluster.begins(parts)
            ends = await session.cluster.ends(parts)
            tables = await self._restored(number, parts)
            # From here on nothing is awaited: a rebalance comes before or after.
            starts = {part: max(begins[part], committed.get(part, begins[part])) for part in parts}
            lane = Lane(member, number, starts=starts, committed=committed, tables=tables, sender=sender)
            for part, offset in committed.items():
                if offset < begins[part]:
                    lane.inbox.lose(part, begins[part] - offset, begins[part])
                elif offset > ends[part]:
                    member.log("error", "partition begins anew: it ends before the committed offset", part=str(part))
                    lane.inbox.move(part, begins[part])
            member.adopt(lane)
        except BaseException:
            if sender is not None:
                await sender.close()
            raise

    async def _committed(self, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return await retrying(
            lambda: of_member(self._member.consumer, parts),
            f"asking for the offsets of group {self._member.group}",
            self._member.session.step,
        )

    async def _restored(self, number: int, parts: Sequence[TopicPartition]) -> dict[int, Table]:
        """Return the lane's tables as they are committed now; what is left of an earlier tenure is read on."""
        member, session = self._member, self._member.session
        width = max((part.partition for part in parts), default=0) + 1
        await session.widen_state(member.state_topic, width)
        numbers = range(width) if self._single else [number]
        for each in numbers:
            if each not in self._tables:
                self._tables[each] = await member.copies.take_up(each)
        tables = {each: self._tables[each] for each in numbers}
        places = {TopicPartition(member.state_topic, each): table for each, table in tables.items()}
        async with session.restoring:
            await restore(session.clients, session.cluster, places, member.log)
        return tables
