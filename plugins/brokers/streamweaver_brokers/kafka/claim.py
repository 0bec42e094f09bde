"""Claiming a lane: whoever held it is fenced, and its group's offsets name us as the one who may commit it."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from streamweaver_brokers.kafka.failure import described, retrying
from streamweaver_brokers.kafka.offsets import Held, of_member
from streamweaver_brokers.kafka.sender import Batches, Ends, Sender
from streamweaver_brokers.kafka.transactions import Transactions, own_names

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
        self._may_be_released = True

    async def commit(self, lane: "Lane", batches: Batches, offsets: Mapping[TopicPartition, int]) -> Ends:
        """Store what the lane has made, and how far it has read."""
        try:
            ends = await self.transactions.commit(lane, batches, offsets)
        except BaseException:
            # It may be stored, or not yet: how far the lane has come is not known.
            self._may_be_released = False
            raise
        self._held.update((part, Held(offset, self.transactions.name)) for part, offset in offsets.items())
        return ends

    def release(self) -> None:
        """Give the lane up, behind all that is being committed: who takes it over then need not fence us.

        It is asked for at once and done only once: at any later time the lane may be somebody else's.
        """
        if self._may_be_released:
            self._may_be_released = False
            marks = {part: held._replace(owner="").written(self._places[part]) for part, held in self._held.items()}
            self.transactions.release(marks)


class Claims:
    """Makes claims for one membership.

    A claim is made by a producer of the lane's own, its lock: to start it fences everybody else who is about to claim
    the lane. What the group's offsets name then is fenced too, unless it has given the lane up. After that nobody can
    commit anything of the lane, and offsets and state are what they will be when we begin. So at each moment all claims
    but the last one are void, whatever processes that were frozen meanwhile believe.
    """

    def __init__(self, member: "Membership") -> None:
        self._member = member
        self._fenced: set[str] = set()
        """Names are never used twice, so those that are fenced remain so."""

    async def claim(
        self, lane: str, places: Mapping[TopicPartition, int], transactions: Transactions, *, at_once: bool
    ) -> tuple[Claim, dict[TopicPartition, Held]]:
        """Claim a lane's partitions, given where each begins; returns the claim, and how the group held them.

        `at_once` says that nobody else can be about to give the lane up.
        """
        member, session = self._member, self._member.session
        lock = Sender(session.clients, f"{member.group}.{lane}", session.transaction_seconds)
        try:
            async with described(f"starting the producer of group {member.group}, lane {lane}", session.step):
                await lock.start()
            held = await self.held(places)
            while strangers := self._strangers(held, transactions):
                if not at_once:
                    at_once = True
                    held = await self._handed_over(places, transactions)
                    continue
                for name in strangers:
                    await self._fence(name)
                # What it was committing has come to its end by now, one way or the other.
                held = await self.held(places)
            ours = {part: Held(held[part].offset if part in held else None, transactions.name) for part in places}
            await lock.commit({}, {part: each.written(places[part]) for part, each in ours.items()}, member.group)
            return Claim(transactions, places, ours), held
        finally:
            await lock.close()

    async def held(self, parts: Iterable[TopicPartition]) -> dict[TopicPartition, Held]:
        """Return how the group holds partitions, as far as it does."""
        member = self._member
        return await retrying(
            lambda: of_member(member.consumer, parts),
            f"asking for the offsets of group {member.group}",
            member.session.step,
        )

    def _strangers(self, held: Mapping[TopicPartition, Held], transactions: Transactions) -> set[str]:
        """Return who may commit, apart from us."""
        return {each.owner for each in held.values()} - {"", transactions.name} - self._fenced

    async def _handed_over(
        self, places: Mapping[TopicPartition, int], transactions: Transactions
    ) -> dict[TopicPartition, Held]:
        """Wait for a holder to give the lane up, in bounds; not for one that was ourselves."""
        own = own_names(self._member.group, self._member.session.worker)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HAND_OVER_SECONDS
        while True:
            held = await self.held(places)
            strangers = self._strangers(held, transactions)
            if all(name.startswith(own) for name in strangers) or loop.time() > deadline:
                return held
            await asyncio.sleep(LOOK_SECONDS)

    async def _fence(self, name: str) -> None:
        session = self._member.session
        sender = Sender(session.clients, name, session.transaction_seconds)
        try:
            async with described(f"fencing the producer {name}", session.step):
                await sender.start()
        finally:
            await sender.close()
        self._fenced.add(name)
