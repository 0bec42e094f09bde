"""The transactions of a membership: what its lanes commit at about the same time goes into one."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

import attrs
from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from streamweaver import BrokerError
from streamweaver_brokers.kafka.failure import FAILURES, described
from streamweaver_brokers.kafka.offsets import Held
from streamweaver_brokers.kafka.sender import Batches, Ends, Marks, Sender

if TYPE_CHECKING:
    from streamweaver_brokers.kafka.group import Membership
    from streamweaver_brokers.kafka.lane import Lane

GATHER = 0.2
"""How long a transaction waits for more lanes, as a part of the pause that each of them makes between two.

A transaction costs the same for one lane and for all.
"""


@attrs.frozen(eq=False)
class _Share:
    """What one lane wants in a transaction."""

    lane: "Lane | None"
    batches: Batches
    marks: Marks
    done: "asyncio.Future[Ends | BaseException]"


class Transactions:
    """One transactional producer, from its start to its first failure; its name is never used again.

    A lane is held by the producer whose name stands beside the lane's offsets. So whoever takes a lane over knows whom
    to fence, and a name that is fenced once is so for ever. After a failure all lanes that were held by this name are
    lost: what they have committed is known only to who reads it anew.
    """

    def __init__(self, member: "Membership") -> None:
        session = member.session
        self.name = f"{own_names(member.group, session.worker)}{uuid4().hex}"
        self.sender = Sender(session.clients, self.name, session.transaction_seconds)
        self.failure: BaseException | None = None
        """Why it has ended."""
        self.seconds = 0.0
        """How long the transaction took that failed."""
        self._member = member
        self._pause_seconds = session.pause_seconds
        self._ended_at = -math.inf
        """When the last transaction ended, by the event loop's clock."""
        self._waiting: list[_Share] = []
        self._running: asyncio.Task[None] | None = None
        self._complete = asyncio.Event()
        """Set when nobody is left to wait for with the next transaction."""

    async def start(self) -> None:
        """Connect."""
        async with described(f"starting a producer of group {self._member.group}", self._member.session.step):
            await self.sender.start()

    # -- for lanes --------------------------------------------------------------------------------

    async def commit(self, lane: "Lane", batches: Batches, offsets: Mapping[TopicPartition, int]) -> Ends:
        """Store it with what others commit now, all or nothing; raises what made the transaction fail.

        A caller that is cancelled does not take it back.
        """
        marks = {part: Held(offset, self.name).written(offset) for part, offset in offsets.items()}
        found = await asyncio.shield(self._add(_Share(lane, batches, marks, _future())))
        if isinstance(found, BaseException):
            raise found
        return found

    def release(self, marks: Marks) -> None:
        """Have marks stored that say that partitions are nobody's, behind all that is being committed."""
        self._add(_Share(None, {}, marks, _future()))

    async def drained(self) -> None:
        """Return when all that waits or is under way now has come to its end."""
        await asyncio.shield(self._add(_Share(None, {}, {}, _future())))

    async def cut(self) -> None:
        """Break off a transaction that hangs."""
        await self.sender.cut()

    async def close(self) -> None:
        """Let what waits come to its end, then stop."""
        await self.drained()
        await self.sender.close()

    # -- the loop ---------------------------------------------------------------------------------

    def _add(self, share: _Share) -> "asyncio.Future[Ends | BaseException]":
        if self.failure is not None:
            share.done.set_result(self.failure)
            return share.done
        self._waiting.append(share)
        if share.lane is None or len(self._waiting) >= self._member.shares:
            self._complete.set()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return share.done

    async def _run(self) -> None:
        while self._waiting:
            await self._gather()
            shares, self._waiting = self._waiting, []
            # Of a lane that was lost while it waited nothing may be stored: it may be somebody else's by now.
            lost = [share for share in shares if share.lane is not None and not share.lane.is_alive]
            for share in lost:
                share.done.set_result(RuntimeError("the lane was lost before its transaction began"))
            shares = [share for share in shares if share not in lost]
            if shares and not await self._store(shares):
                return

    async def _gather(self) -> None:
        """Where records come one after the other give the other lanes a moment: they have mostly got some, too."""
        now = asyncio.get_running_loop().time()
        if now < self._ended_at + 2 * self._pause_seconds:
            try:
                async with asyncio.timeout_at(now + GATHER * self._pause_seconds):
                    await self._complete.wait()
            except TimeoutError:
                pass
        self._complete.clear()

    async def _store(self, shares: list[_Share]) -> bool:
        """Commit one transaction; False when that was the last one."""
        batches: defaultdict[TopicPartition, list[BatchBuilder]] = defaultdict(list)
        marks: dict[TopicPartition, tuple[int, str]] = {}
        for share in shares:
            for part, built in share.batches.items():
                batches[part] += built
            marks.update(share.marks)
        began = time.monotonic()
        try:
            ends = await self.sender.commit(batches, marks, self._member.group) if batches or marks else {}
        except (*FAILURES, BrokerError) as error:
            self._end(error, time.monotonic() - began, shares)
            return False
        self._ended_at = asyncio.get_running_loop().time()
        for share in shares:
            share.done.set_result(ends)
        if self.sender.is_worn:
            self._end(RuntimeError("its producer has sent as many records as one can"), 0.0, [])
            return False
        return True

    def _end(self, error: BaseException, seconds: float, shares: list[_Share]) -> None:
        self.failure, self.seconds = error, seconds
        waiting, self._waiting = self._waiting, []
        # First the lanes end, so that those which wait here find that they have when they go on.
        self._member.ended(self)
        for share in (*shares, *waiting):
            share.done.set_result(error)


def own_names(group: str, worker: str) -> str:
    """Return how the names of all transactions of a worker begin."""
    return f"{group}.{worker}."


def _future() -> "asyncio.Future[Ends | BaseException]":
    return asyncio.get_running_loop().create_future()
