"""Which dead letters have been dealt with: a topic of marks that several who deal with them share.

A mark is a record: the letter's id as its key, the deed as its value, the moment as its timestamp. A unit of work that
adds marks expects the topic to end where it was read to, so of two that deal with one letter only the first succeeds.
"""

import contextlib
from collections.abc import Iterable
from typing import Literal, cast, get_args

import attrs

from streamweaver.contracts import Broker, Rows, UnitOfWork
from streamweaver.errors import UnknownTopicError
from streamweaver.runtime.reading import through

Deed = Literal["replayed", "discarded"]


@attrs.frozen
class Settled:
    """That a letter has been dealt with, how, and when (ms)."""

    deed: Deed
    at: int


class Marks:
    """The marks as far as they have been read; `refresh` reads on from there."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._end = 0
        self._settled: dict[str, Settled] = {}

    async def refresh(self) -> None:
        """Take in what has been marked meanwhile."""
        with contextlib.suppress(UnknownTopicError):
            # Marks that have expired are read by nobody; the topic may hold nothing and yet end somewhere.
            self._end = max(self._end, (await self._broker.ranges(self._topic))[0].begin)
        async for rows in through(self._broker, self._topic, {0: self._end}):
            for key, value, at in zip(rows.keys, rows.values, rows.timestamps, strict=True):
                deed = (value or b"").decode(errors="replace")
                if key is not None and deed in get_args(Deed):
                    # The first one is what was done; there is a second only if somebody else writes here.
                    self._settled.setdefault(key.decode(errors="replace"), Settled(cast("Deed", deed), at))
            self._end = rows.next_offset

    def get(self, letter_id: str) -> Settled | None:
        """Return what is known to have been done with a letter."""
        return self._settled.get(letter_id)

    def put(self, unit: UnitOfWork, letter_ids: Iterable[str], deed: Deed, now: int) -> None:
        """Mark letters in a unit, whose commit raises ConflictError if anybody has marked any since `refresh`."""
        keys: list[bytes | None] = [letter_id.encode() for letter_id in letter_ids]
        unit.append(self._topic, 0, Rows(keys, [deed.encode()] * len(keys), [now] * len(keys)))
        unit.expect_end(self._topic, 0, self._end)
