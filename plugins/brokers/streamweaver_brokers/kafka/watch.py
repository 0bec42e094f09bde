"""Noticing what nobody says: a consumer that gets nothing although there is something, and a transaction left open."""

import asyncio
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from streamweaver import StorageError
from streamweaver_brokers.kafka.failure import named

if TYPE_CHECKING:
    from streamweaver_brokers.kafka.group import Membership

WATCH_SECONDS = 10.0
"""How often it is looked; what is the same twice in a row counts."""


class Watch:
    """Looks after one consumer of a membership."""

    def __init__(self, member: "Membership") -> None:
        self._member = member
        self._behind: dict[TopicPartition, int] = {}
        self._held: dict[TopicPartition, int] = {}
        self._told: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Look again and again; raises when the consumer is stuck, so that it is replaced."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                # A topic that is deleted only leaves us without partitions.
                await self._member.check_topics()
                await self._look()
            except StorageError:
                continue

    async def _look(self) -> None:
        waiting = self._member.waiting()
        ends = await self._member.session.cluster.ends(list(waiting))
        behind = {part: at for part, at in waiting.items() if ends[part] > at}
        now = self._member.waiting()
        for part, at in behind.items():
            if self._behind.get(part) == at == now.get(part):
                raise TimeoutError(f"nothing came of {named(part)} in {WATCH_SECONDS} s, although there is more")
        self._behind = behind
        self._look_for_transactions({part: at for part, at in waiting.items() if part not in behind})

    def _look_for_transactions(self, at_end: dict[TopicPartition, int]) -> None:
        """Say that records are there which an open transaction holds up: lag does not show it."""
        held = {part: at for part, at in at_end.items() if self._member.consumer_holds_back(part, at)}
        for part, at in held.items():
            if self._held.get(part) == at != self._told.get(part):
                self._told[part] = at
                self._member.log(
                    "warning",
                    "an open transaction holds up what comes after it",
                    part=named(part),
                    at=at,
                    hint="its producer commits, or the broker ends it after the producer's transaction timeout",
                )
        self._held = held
