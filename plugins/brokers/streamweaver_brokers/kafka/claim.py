"""Claiming a lane: whoever held it is fenced, and its group's offsets name us as the one who may commit it."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from aiokafka import TopicPartition

from streamweaver_brokers.kafka.failure import described, retrying
from streamweaver_brokers.kafka.offsets import Held, of_member
from streamweaver_brokers.kafka.sender import Batches, Ends, Marks, Sender
from streamweaver_brokers.kafka.transactions import Transactions

if TYPE_CHECKING:
    from streamweaver_brokers.kafka.group import Membership
    from streamweaver_brokers.kafka.lane import Lane

HAND_OVER_SECONDS = 1.0
"""How long a holder that may be alive has to give a lane up by itself: fencing it costs it all of its lanes."""

LOOK_SECONDS = 0.05
"""How often it is looked whether it has."""


class Claim:
    """The right to commit a lane, until it is released or its transactions end."""

    def __init__(
        self, transactions: Transactions, places: Mapping[TopicPartition, int], held: Mapping[TopicPartition, Held]
    ) -> None:
        self.transactions = transactions
        self._places = places
        self._held = dict(held)
        self._is_released = False

    async def commit(self, lane: "Lane", batches: Batches, offsets: Mapping[TopicPartition, int]) -> Ends:
        """Store what the lane has made, and how far it has read; not if it is lost before its turn comes."""
        held = {part: Held(offset, self.transactions.name) for part, offset in offsets.items()}
        marks = {part: each.written(0) for part, each in held.items()}
        return await self.transactions.put(
            lambda: (batches, marks) if lane.is_alive else None, lambda: self._held.update(held)
        )

    def release(self) -> None:
        """Give the lane up, behind all that is being committed: who takes it over then need not fence us.

        Done once: at any later time the lane may be somebody else's.
        """
        if not self._is_released:
            self._is_released = True
            self.transactions.put_at_once(self._nobodys)

    def _nobodys(self) -> tuple[Batches, Marks]:
        return {}, {part: each._replace(owner="").written(self._places[part]) for part, each in self._held.items()}


class Claims:
    """Makes claims for one membership, and the transactions that they are made for.

    A claim is made by a producer of the lane's own, its lock: to start it fences everybody else who is about to claim
    the lane. What the group's offsets name then is fenced too, unless it has given the lane up. After that nobody can
    commit anything of the lane, and offsets and state are what they will be when we begin. So at each moment all claims
    but the last one are void, whatever processes that were frozen meanwhile believe.
    """

    def __init__(self, member: "Membership") -> None:
        self._member = member
        self._own = f"{member.group}.{member.session.worker}"
        """How the names of all our transactions begin, also of those before a restart if the worker has a name."""
        self._transactions: Transactions | None = None
        self._starting = asyncio.Lock()
        self._fenced: set[str] = set()
        """Names are never used twice, so those that are fenced remain so."""
        self._fencing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # -- transactions -----------------------------------------------------------------------------

    async def transactions(self) -> Transactions:
        """Return what the lanes commit by now; new ones after others have ended."""
        member, session = self._member, self._member.session
        async with self._starting:
            found = self._transactions
            if found is None or found.failure is not None:
                name = f"{self._own}.{uuid4().hex}"
                sender = Sender(session.clients, name, session.transaction_seconds)
                async with described(f"starting a producer of group {member.group}", session.step):
                    await sender.start()
                found = self._transactions = Transactions(
                    sender,
                    name,
                    member.group,
                    pause_seconds=session.pause_seconds,
                    lanes=lambda: member.shares,
                    ended=member.ended,
                )
            return found

    async def close(self) -> None:
        """Let what is being committed come to its end."""
        if self._transactions is not None:
            await self._transactions.close()

    # -- claims -----------------------------------------------------------------------------------

    async def claim(
        self, lane: str, places: Mapping[TopicPartition, int], *, at_once: bool
    ) -> tuple[Claim, dict[TopicPartition, Held]]:
        """Claim a lane's partitions, given where each begins; returns the claim, and how the group held them.

        `at_once` says that nobody else can be about to give the lane up.
        """
        member, session = self._member, self._member.session
        transactions = await self.transactions()
        # What an earlier tenure of ours committed last, or gave up, comes first.
        await transactions.drained()
        lock = Sender(session.clients, f"{member.group}.{lane}", session.transaction_seconds)
        claim = None
        try:
            async with described(f"starting the producer of group {member.group}, lane {lane}", session.step):
                await lock.start()
            held, strangers = await self._look(places, transactions)
            if strangers and not at_once:
                held, strangers = await self._handed_over(places, transactions)
            if strangers:
                for name in strangers:
                    await self._fence(name)
                # What it was committing has come to its end by now, one way or the other.
                held = await self.held(places)
            ours = {part: Held(held[part].offset if part in held else None, transactions.name) for part in places}
            await lock.commit({}, {part: each.written(places[part]) for part, each in ours.items()}, member.group)
            claim = Claim(transactions, places, ours)
        finally:
            try:
                await lock.close()
            except BaseException:
                if claim is not None:
                    claim.release()
                raise
        return claim, held

    async def held(self, parts: Iterable[TopicPartition]) -> dict[TopicPartition, Held]:
        """Return how the group holds partitions, as far as it does."""
        member = self._member
        return await retrying(
            lambda: of_member(member.consumer, parts),
            f"asking for the offsets of group {member.group}",
            member.session.step,
        )

    async def _look(
        self, places: Mapping[TopicPartition, int], transactions: Transactions
    ) -> tuple[dict[TopicPartition, Held], set[str]]:
        """Return how the group holds partitions, and who else may have committed them since then."""
        # As it was before: who is fenced meanwhile may have committed after what we read.
        fenced = frozenset(self._fenced)
        held = await self.held(places)
        return held, {each.owner for each in held.values()} - {"", transactions.name} - fenced

    async def _handed_over(
        self, places: Mapping[TopicPartition, int], transactions: Transactions
    ) -> tuple[dict[TopicPartition, Held], set[str]]:
        """Wait for a holder to give the lane up, in bounds; not for one that was ourselves."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HAND_OVER_SECONDS
        while True:
            held, strangers = await self._look(places, transactions)
            if all(name.rpartition(".")[0] == self._own for name in strangers) or loop.time() > deadline:
                return held, strangers
            await asyncio.sleep(LOOK_SECONDS)

    async def _fence(self, name: str) -> None:
        session = self._member.session
        # One at a time: the broker refuses a second one that comes while the first is being served.
        async with self._fencing[name]:
            if name in self._fenced:
                return
            sender = Sender(session.clients, name, session.transaction_seconds)
            try:
                async with described(f"fencing the producer {name}", session.step):
                    await sender.start()
            finally:
                await sender.close()
            self._fenced.add(name)
        self._fencing.pop(name, None)
