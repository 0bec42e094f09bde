"""Taking lanes over: they are claimed, then offsets and state are read as they are committed."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from streamweaver import BrokerError
from streamweaver_brokers.kafka.claim import Claims
from streamweaver_brokers.kafka.failure import named, persevering, text
from streamweaver_brokers.kafka.lane import Lane
from streamweaver_brokers.kafka.table import Table, restore

if TYPE_CHECKING:
    from streamweaver_brokers.kafka.group import Membership


class Acquisition:
    """The lanes that a membership is about to take over, and the tables of those that it has had."""

    def __init__(self, member: "Membership", *, single: bool) -> None:
        self._member = member
        self._single = single
        self._claims = Claims(member)
        self._tasks: defaultdict[int, set[asyncio.Task[None]]] = defaultdict(set)
        """Attempts that have not ended, by lane: the last one, and those that it replaces."""
        self._tables: dict[int, Table] = {}

    def begin(self, number: int, wait: float, *, renews: bool = False) -> None:
        """Take a lane over in some seconds, as often as it needs; an attempt under way is given up.

        `renews` says that it was ours, and may be somebody else's by now.
        """
        before = set(self._tasks[number])
        for task in before:
            task.cancel()
        task = asyncio.create_task(self._acquire(number, wait, before, renews=renews))
        self._tasks[number].add(task)
        task.add_done_callback(lambda done: self._acquired(number, done))

    def _acquired(self, number: int, task: "asyncio.Task[None]") -> None:
        self._tasks[number].discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect; nobody else would hear of it.
            self._member.offer(BrokerError(f"group {self._member.group}, lane {number}: {error!r}"))

    def cancel(self) -> None:
        """Give up all attempts, without waiting for their ends."""
        for task in self.unfinished():
            task.cancel()

    async def stop(self) -> None:
        """Give up all attempts."""
        self.cancel()
        if tasks := self.unfinished():
            await asyncio.wait(tasks)

    def unfinished(self) -> set["asyncio.Task[None]"]:
        """Return the attempts that have not ended."""
        return {task for tasks in self._tasks.values() for task in tasks}

    async def close(self) -> None:
        """Let what the lanes commit come to its end."""
        await self._claims.close()

    async def _acquire(self, number: int, wait: float, before: set["asyncio.Task[None]"], *, renews: bool) -> None:
        """Try until it is done; a failure that lasts is told to the engine."""
        member = self._member
        if before:
            # One that is given up may have a claim to release, which must not come behind ours.
            await asyncio.wait(before)
        await asyncio.sleep(wait)
        try:
            await persevering(
                lambda: self._take_over(number, renews=renews),
                lambda error: member.trouble("kafka lane cannot be taken over yet", error, lane=number),
            )
        except BrokerError as error:
            member.offer(error)

    async def _take_over(self, number: int, *, renews: bool) -> None:
        """Fence the predecessor, then read what it has committed; in this order nothing of it can be missed."""
        member, session = self._member, self._member.session
        previous = member.lane(number)
        if previous is not None:
            await previous.released.wait()
        parts = member.share(number)
        if parts is None:
            return
        begins = await session.cluster.begins(parts)
        claim = None
        if session.transactional:
            # Who reads nothing, as a producer, has a claim on the state topic, which is what its group is about.
            places = begins or {TopicPartition(member.state_topic, 0): 0}
            alone = not renews and (self._single or member.shares >= await member.width())
            claim, held = await self._claims.claim("single" if self._single else str(number), places, at_once=alone)
        else:
            held = await self._claims.held(parts)
        committed = {part: offset for part in parts if part in held and (offset := held[part].offset) is not None}
        try:
            ends = await session.cluster.ends(parts)
            tables = await self._restored(number, parts)
            # From here on nothing is awaited: a rebalance comes before or after.
            if claim is not None and claim.transactions.failure is not None:
                raise RuntimeError(f"its transactions have ended: {text(claim.transactions.failure.error)}")
            starts = {part: max(begins[part], committed.get(part, begins[part])) for part in parts}
            lane = Lane(member, number, starts=starts, committed=committed, tables=tables, claim=claim)
            for part, offset in committed.items():
                if offset < begins[part]:
                    lane.inbox.lose(part, begins[part] - offset, begins[part])
                elif offset > ends[part]:
                    member.log("error", "partition begins anew: it ends before the committed offset", part=named(part))
                    lane.inbox.move(part, begins[part])
            member.adopt(lane)
        except BaseException:
            if claim is not None:
                claim.release()
            raise

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
