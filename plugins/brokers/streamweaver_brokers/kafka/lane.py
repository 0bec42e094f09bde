"""One lane: the partitions of one number and their state; and its units of work."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from aiokafka import TopicPartition

from streamweaver import BrokerError, Fetched, LaneLostError, Rows
from streamweaver_brokers._columns import check_columns
from streamweaver_brokers.kafka.claim import Claim
from streamweaver_brokers.kafka.failure import FAILURES, FENCED, described, lasting, named, text
from streamweaver_brokers.kafka.inbox import Inbox
from streamweaver_brokers.kafka.packer import Packer, pack
from streamweaver_brokers.kafka.sender import Batches
from streamweaver_brokers.kafka.table import POSITION, Table, state_rows, stored_key
from streamweaver_brokers.kafka.transactions import Failure

if TYPE_CHECKING:
    from streamweaver_brokers.kafka.group import Membership
    from streamweaver_brokers.kafka.session import Session


class Unit:
    """Collects what one step forward changes."""

    __slots__ = ("_lane", "_packers", "_rows", "_session", "_used", "expected", "marks", "position", "state")

    def __init__(self, session: "Session", lane: "Lane | None") -> None:
        self._session = session
        self._lane = lane
        self._used = False
        self._packers: dict[TopicPartition, Packer] = {}
        self._rows: dict[TopicPartition, list[Rows]] = {}
        self.state: dict[int, dict[bytes, bytes | None]] = {}
        self.marks: dict[TopicPartition, int] = {}
        self.position: bytes | None = None
        self.expected: dict[TopicPartition, int] = {}

    def append(self, topic: str, partition: int, rows: Rows, /) -> None:
        """Add rows to a partition."""
        self._check()
        check_columns(topic, rows)
        if not rows.values:
            return
        part = TopicPartition(topic, partition)
        if self._lane is None:
            # Kept as they are: how they are packed depends on how many there will be.
            self._rows.setdefault(part, []).append(rows)
            return
        packer = self._packers.get(part)
        if packer is None:
            packer = self._packers[part] = Packer(self._lane.batch)
        packer.add(rows)

    def put_state(self, store: str, partition: int, changes: Mapping[bytes, bytes | None], /) -> None:
        """Set or delete values of a state store."""
        if self._lane is None:
            raise BrokerError(f"store {store}: on kafka, state can be put only by a unit of a group's lane")
        self._check()
        if partition not in self._lane.tables:
            raise BrokerError(f"store {store}: partition {partition} is not one of this lane's")
        changed = self.state.setdefault(partition, {})
        for key, value in changes.items():
            changed[stored_key(store, key)] = value

    def mark(self, topic: str, partition: int, offset: int, /) -> None:
        """Say that the group has consumed everything before `offset`."""
        if self._lane is None:
            raise BrokerError(f"topic {topic}: an offset can be marked only by a unit of a group's lane")
        self._check()
        self.marks[TopicPartition(topic, partition)] = offset

    def mark_position(self, position: bytes, /) -> None:
        """Set the position of the lane's producer."""
        if self._lane is None:
            raise BrokerError("a position can be marked only by a unit of a group's lane")
        self._check()
        self.position = position

    def expect_end(self, topic: str, partition: int, offset: int, /) -> None:
        """Have `commit` store nothing unless the partition still ends at `offset`."""
        self._check()
        if self._lane is not None or self.expected:
            raise BrokerError(f"topic {topic}: an end can be expected of one partition, by a unit outside any group")
        self.expected[TopicPartition(topic, partition)] = offset

    async def commit(self) -> None:
        """Store it all as a whole."""
        self._check()
        self._used = True
        await self._session.check_parts([*self._packers, *self._rows])
        if self._lane is not None:
            await self._lane.commit(self, {part: packer.finish() for part, packer in self._packers.items()})
        elif self.expected:
            ((part, offset),) = self.expected.items()
            await self._session.append_behind(part, offset, self._rows)
        elif self._rows:
            await self._session.append(self._rows)

    async def abort(self) -> None:
        """Forget it: nothing is sent before the commit."""
        self._used = True

    def _check(self) -> None:
        if self._used:
            raise BrokerError("the unit of work is used up; begin another one")


class Lane:
    """A tenure of some partitions. Any failure ends it; the membership then begins a new one, if they are still ours.

    So an error never leaves a lane in doubt: whoever goes on has a claim of its own (which has fenced the old one), the
    offsets and the state as they are committed, and has forgotten everything else.
    """

    def __init__(
        self,
        member: "Membership",
        number: int,
        *,
        starts: dict[TopicPartition, int],
        committed: dict[TopicPartition, int],
        tables: dict[int, Table],
        claim: Claim | None,
    ) -> None:
        self.number = number
        self.tables = tables
        self.inbox = Inbox(starts, member.space)
        self.claim = claim
        """By what it commits; None where rows and offsets are stored one after the other."""
        self.released = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while no commit is under way."""
        self.idle.set()
        self._member = member
        self._committed = committed
        self._rested_at = 0.0
        self._lost: str | None = None

    @property
    def partitions(self) -> Sequence[tuple[str, int]]:
        """Return what the lane reads."""
        return sorted((part.topic, part.partition) for part in self.inbox.positions())

    @property
    def is_alive(self) -> bool:
        """Whether it may still be worked with."""
        return self._lost is None

    def lose(self, why: str) -> None:
        """End the tenure: every further call on the lane raises LaneLostError."""
        if self._lost is None:
            self._lost = why
            self.inbox.wake()

    def check(self) -> None:
        """Raise LaneLostError when the tenure has ended."""
        if self._lost is not None:
            raise LaneLostError(f"group {self._member.group}, lane {self.number}: {self._lost}")

    # -- reading ----------------------------------------------------------------------------------

    async def poll(self, *, max_records: int = 5_000, timeout: float | None = None) -> list[Fetched]:
        """Return what waits, or wait for it."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        # A lane that is never out of work must let others have a turn; and a transaction costs the same for one record
        # and for thousands, so that a few more may come in first.
        rest = self._rested_at - loop.time()
        await asyncio.sleep(max(0.0, rest if timeout is None else min(rest, timeout)))
        while True:
            self.check()
            if found := self.inbox.take(max_records):
                return found
            if not await self.inbox.wait(deadline):
                return []

    def seek(self, topic: str, partition: int, offset: int, /) -> None:
        """Go on reading a partition at `offset`."""
        self.check()
        self._member.seek(self, TopicPartition(topic, partition), offset)

    async def rewind(self) -> None:
        """Go back to what is committed."""
        self.check()
        parts = list(self.inbox.positions())
        begins = await self._member.session.cluster.begins(parts)
        self.check()
        for part in parts:
            self._member.seek(self, part, self._committed.get(part, begins[part]))

    def committed(self, topic: str, partition: int, /) -> int | None:
        """Return the group's committed offset."""
        return self._committed.get(TopicPartition(topic, partition))

    # -- state ------------------------------------------------------------------------------------

    def position(self) -> bytes | None:
        """Return the committed position of the group's producer."""
        return self.tables[0].get("", POSITION[1:]) if 0 in self.tables else None

    def get_state(self, store: str, partition: int, key: bytes, /) -> bytes | None:
        """Return a committed value of a state store."""
        return self.tables[partition].get(store, key)

    def state_items(self, store: str, partition: int, /) -> Iterator[tuple[bytes, bytes]]:
        """Go through the committed values of a state store."""
        return self.tables[partition].items(store)

    # -- committing -------------------------------------------------------------------------------

    def begin(self) -> Unit:
        """Start the next unit of work."""
        self.check()
        return Unit(self._member.session, self)

    def batch(self) -> Any:
        """Begin a batch of what a unit of this lane sends."""
        return self._member.session.clients.batch(transactional=self._member.session.transactional)

    async def commit(self, unit: Unit, batches: Batches) -> None:
        """Store a unit; a failure ends the tenure, since the outcome is known only to who begins anew."""
        self.check()
        state = {number: changes for number, changes in unit.state.items() if changes}
        if unit.position is not None:
            state.setdefault(0, {})[POSITION] = unit.position
        if not (batches or state or unit.marks):
            return
        now = time.time_ns() // 1_000_000
        topic = self._member.state_topic
        changes = {TopicPartition(topic, number): found for number, found in state.items()}
        self._check_sizes(changes)
        every = {
            **batches,
            **{part: pack(self.batch, [state_rows(found, now)]) for part, found in changes.items()},
        }
        await self._member.settled.wait()
        self.check()
        self.idle.clear()
        try:
            ends = await self._store(every, unit.marks)
        except (*FAILURES, BrokerError) as error:
            self._failed(error)
        except asyncio.CancelledError:
            # It may have been committed, or not.
            self.lose("a commit was cancelled")
            raise
        finally:
            self.idle.set()
        self._rested_at = asyncio.get_running_loop().time() + self._member.session.pause_seconds
        self._committed.update(unit.marks)
        self._member.note(unit.marks)
        for part, found in changes.items():
            self.tables[part.partition].wrote(found, now, ends.get(part))

    async def _store(self, batches: Batches, marks: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        if self.claim is not None:
            return await self.claim.commit(self, batches, marks)
        ends = await self._member.session.send(batches) if batches else {}
        # Only when everything is durable; what was sent and is not marked will come again.
        if marks:
            async with described(f"committing offsets of group {self._member.group}", self._member.session.step):
                await self._member.consumer.commit(dict(marks))
        return ends

    def begin_anew(self, failure: Failure) -> None:
        """End the tenure after a commit that failed, and begin a new one if that may help."""
        if self._lost is not None:
            return
        error, seconds = failure.error, failure.seconds
        reason = text(error)
        if self.claim is not None and seconds > self._member.session.transaction_seconds:
            # The broker says the same as of a newer producer.
            reason += f"; it took {seconds:.1f} s, more than transaction_seconds, after which the broker undoes it"
        self.lose(f"a commit failed ({reason})")
        if lasting(error) is not None:
            return
        # A zombie must not fence the new owner: its own membership is renewed, or found lost, before it tries.
        self._member.renew(self, self._member.session.fenced_seconds if isinstance(error, FENCED) else 0.0)
        self._member.trouble("kafka lane begins anew", error, lane=self.number, reason=reason)

    def _failed(self, error: BaseException) -> NoReturn:
        """End the tenure after a failed commit; raises what the engine is to be told."""
        self.begin_anew(Failure(error))
        known = lasting(error)
        if known is not None:
            raise known from error
        raise LaneLostError(f"group {self._member.group}, lane {self.number}: {self._lost}") from error

    def _check_sizes(self, changes: Mapping[TopicPartition, Mapping[bytes, bytes | None]]) -> None:
        most = self._member.session.max_record_bytes
        for part, found in changes.items():
            for key, value in found.items():
                if len(key) + len(value or b"") > most:
                    name = key.partition(b"\0")[0].decode(errors="replace") or "position"
                    raise BrokerError(
                        f"{named(part)}: a value of {name} has {len(value or b'')} bytes, the broker "
                        f"takes {most}; keep less by one key"
                    )

    # -- ending -----------------------------------------------------------------------------------

    async def release(self) -> None:
        """Give the lane back."""
        self.lose("the lane has been released")
        try:
            self.give_up()
            if self.claim is not None:
                await self.claim.transactions.finish()
            await self._member.keep(self.tables)
        finally:
            self.released.set()
            self._member.let_go(self)

    def give_up(self) -> None:
        """Leave the lane to whoever is next, who then need not fence us."""
        if self.claim is not None:
            self.claim.release()

    def cut(self) -> None:
        """Break off a commit that hangs, and with it all that is committed together with it."""
        if self.claim is not None:
            self.claim.transactions.cut("a commit hangs while its lane moves")
