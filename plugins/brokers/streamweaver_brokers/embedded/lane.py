"""Units of work, and the one lane that a group has here: all partitions of all its topics."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from streamweaver import BrokerError, Fetched, LaneLostError, Rows
from streamweaver_brokers.embedded.follow import Tap
from streamweaver_brokers.embedded.rows import validate
from streamweaver_brokers.embedded.writer import Work

if TYPE_CHECKING:
    from streamweaver_brokers.embedded.broker import Session


class Unit:
    """Collects what one step forward changes; the writer stores it."""

    __slots__ = ("_lane", "_session", "_work")

    def __init__(self, session: "Session", lane: "GroupLane | None") -> None:
        self._session = session
        self._lane = lane
        self._work: Work | None = Work(None if lane is None else lane.group)

    def append(self, topic: str, partition: int, rows: Rows, /) -> None:
        """Add rows to a partition."""
        found = self._session.log.partition(topic, partition)
        validate(topic, rows)
        if rows.values:
            self._open().appends.append((found.id, rows))

    def put_state(self, store: str, partition: int, changes: Mapping[bytes, bytes | None], /) -> None:
        """Set or delete values of a state store."""
        # What could be written but not read again would keep the log from being opened.
        if wrong := ({*map(type, changes)} - {bytes}) | ({*map(type, changes.values())} - {bytes, type(None)}):
            raise BrokerError(f"store {store}: got a key or value of type {wrong.pop().__name__}, expected bytes")
        self._open().state.setdefault((store, partition), {}).update(changes)

    def mark(self, topic: str, partition: int, offset: int, /) -> None:
        """Say that the group has consumed everything before `offset`."""
        if self._lane is None:
            raise BrokerError(f"topic {topic}: an offset can be marked only by a unit of a group's lane")
        self._open().marks[self._session.log.partition(topic, partition).id] = offset

    def mark_position(self, position: bytes, /) -> None:
        """Set the position of the lane's producer."""
        if self._lane is None:
            raise BrokerError("a position can be marked only by a unit of a group's lane")
        self._open().position = position

    def expect_end(self, topic: str, partition: int, offset: int, /) -> None:
        """Have `commit` store nothing unless the partition still ends at `offset`."""
        if self._lane is not None:
            raise BrokerError(f"topic {topic}: an end can be expected only by a unit outside any group")
        self._open().expected[self._session.log.partition(topic, partition).id] = offset

    async def commit(self) -> None:
        """Store it all as a whole."""
        work, self._work = self._open(), None
        if self._lane is not None:
            self._lane.check()
        if work.appends or work.marks or work.state or work.expected or work.position is not None:
            await self._session.submit(work)

    async def abort(self) -> None:
        """Forget it."""
        self._work = None

    def _open(self) -> Work:
        if self._work is None:
            raise BrokerError("the unit of work is used up; begin another one")
        return self._work


class GroupLane:
    """Everything that a group reads, in one lane."""

    def __init__(self, session: "Session", group: str, topics: Sequence[str]) -> None:
        self.group = group
        self._session = session
        found = [partition for topic in topics for partition in session.log.partitions(topic)]
        self.partitions: Sequence[tuple[str, int]] = [partition.place for partition in found]
        committed = session.offsets(group)
        self._tap = Tap(session.log, {partition: committed.get(partition.place) for partition in found})
        self._found = found
        self._released = False

    async def poll(self, *, max_records: int = 5_000, timeout: float | None = None) -> list[Fetched]:
        """Return what waits, or wait for it."""
        self.check()
        return await self._tap.poll(max_records=max_records, timeout=timeout)

    def seek(self, topic: str, partition: int, offset: int, /) -> None:
        """Go on reading a partition at `offset`."""
        self._tap.seek(self._session.log.partition(topic, partition), offset)

    async def rewind(self) -> None:
        """Go back to what is committed."""
        self.check()
        committed = self._session.offsets(self.group)
        for partition in self._found:
            self._tap.restart(partition, committed.get(partition.place))

    def begin(self) -> Unit:
        """Start the next unit of work."""
        self.check()
        return Unit(self._session, self)

    def position(self) -> bytes | None:
        """Return the committed position of the group's producer."""
        return self._session.position(self.group)

    def committed(self, topic: str, partition: int, /) -> int | None:
        """Return the group's committed offset."""
        self._session.log.partition(topic, partition)  # raises for one that there is not
        return self._session.offsets(self.group).get((topic, partition))

    def get_state(self, store: str, partition: int, key: bytes, /) -> bytes | None:
        """Return a committed value of a state store."""
        return self._session.state.get(store, partition, key)

    def state_items(self, store: str, partition: int, /) -> Iterator[tuple[bytes, bytes]]:
        """Go through the committed values of a state store."""
        return self._session.state.items(store, partition)

    async def release(self) -> None:
        """Give the lane back."""
        self._released = True
        await self._tap.close()

    def check(self) -> None:
        """Raise LaneLostError once the lane has been given back."""
        if self._released:
            raise LaneLostError(f"group {self.group}: the lane has been released")


class GroupMembership:
    """A member of a group. The first in line has the lane; others of this process stand by until it leaves."""

    def __init__(self, session: "Session", group: str, topics: Sequence[str]) -> None:
        self._session = session
        self._group = group
        self._topics = topics
        self._line = session.lines.setdefault(group, [])
        self._left = False
        self._changed = asyncio.Event()

    async def lanes(self) -> AsyncIterator[GroupLane]:
        """Yield the lane when it is this member's turn; end with `leave`."""
        self._line.append(self)
        while not self._left and self._line[0] is not self:
            await self._wait()
        if not self._left:
            yield GroupLane(self._session, self._group, self._topics)
        while not self._left:
            await self._wait()

    async def leave(self) -> None:
        """Leave the group."""
        self._left = True
        if self in self._line:
            self._line.remove(self)
        for member in (self, *self._line[:1]):
            member.wake()

    def wake(self) -> None:
        """Have the member look again whether it is its turn."""
        self._changed.set()

    async def _wait(self) -> None:
        await self._changed.wait()
        self._changed.clear()
