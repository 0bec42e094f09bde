"""Notices that another process takes part in a group under our instance name.

The group knows a static member by that name: whoever joins with it has the group forget the one before, which learns
that with its next heartbeat, joins again, and has the group forget the other in turn, for ever. Kafka says why only
in an answer that the client (aiokafka 0.14) does not know.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from streamweaver import BrokerError

ASK_SECONDS = 2.0
"""How long an answer is waited for: the group's rebalance waits with us."""

OFTEN = 2
"""How often another one must have been there. Once may be our own ghost: a join whose answer was lost."""

_UNIQUE = 37  # what the group appends to a static member's name: "-" and a UUID


class Namesakes:
    """Those that take our place in a group, as they have our name, too."""

    def __init__(self, instance: str | None, seconds: float, members: Callable[[], Awaitable[Iterable[str]]]) -> None:
        """Ask `members` for the ids of those in the group; only what was seen within the last `seconds` counts."""
        self._instance = instance
        self._seconds = seconds
        self._members = members
        self._has_joined = False
        self._own_id = ""
        self._seen: deque[float] = deque(maxlen=OFTEN)

    def joined(self, member_id: str) -> None:
        """Take note that the group has taken us in."""
        self._has_joined, self._own_id = True, member_id

    async def have_ousted(self, member_id: str) -> bool:
        """Say whether to give up; to be asked before the client joins again, with the id that it still has, if any.

        Of two, each other join makes the one or the other find its namesake: the one that was there first finds it
        first, and so is the first to have found it often enough; as long as it stays away the other one works. (Who is
        frozen meanwhile may miss a turn; then it is the other one that gives up.)
        """
        forgotten, self._has_joined = self._has_joined and not member_id, False
        if self._instance is None or not forgotten or not await self._is_there():
            return False
        now = asyncio.get_running_loop().time()
        self._seen.append(now)
        return len(self._seen) == OFTEN and now - self._seen[0] < self._seconds

    async def _is_there(self) -> bool:
        """Say whether somebody else has our name: a group also forgets a member that was frozen for too long."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                members = await self._members()
        except (BrokerError, TimeoutError):
            return False
        return any(each[:-_UNIQUE] == self._instance and each != self._own_id for each in members)
