"""A membership in a consumer group: one consumer, whose partitions become lanes and whose records go to them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from streamweaver import BrokerError, Fetched, StorageError
from streamweaver_brokers.kafka.acquire import Acquisition
from streamweaver_brokers.kafka.assignor import LaneAssignor
from streamweaver_brokers.kafka.failure import FAILURES, lasting, named, pause, persevering, text
from streamweaver_brokers.kafka.fetcher import fetch_in_columns
from streamweaver_brokers.kafka.lane import Lane
from streamweaver_brokers.kafka.local_copy import LocalCopies
from streamweaver_brokers.kafka.namesake import Namesakes
from streamweaver_brokers.kafka.table import Table
from streamweaver_brokers.kafka.transactions import Transactions
from streamweaver_brokers.kafka.watch import Watch

if TYPE_CHECKING:
    from streamweaver_brokers.kafka.session import Session

REVOKE_SECONDS = 2.0
"""How long a rebalance waits for a commit that is under way; longer, and the successor undoes it."""

COPY_SECONDS = 60.0
"""How often the state in memory is copied to disk, if it has changed."""

TICK_MS = 500
"""How often positions are looked at that moved on without a record (over marks of transactions)."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka's way to say what becomes of partitions; it swallows what these raise, so they tell it themselves."""

    def __init__(self, member: "Membership") -> None:
        self._member = member
        self.is_over = False
        """Its consumer is being stopped: what that one still joins meanwhile is not the member's."""

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        if self.is_over:
            return
        try:
            await self._member.revoked()
        except Exception as error:
            self._member.fail(error)
            raise

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        if self.is_over:
            return
        try:
            self._member.assigned(assigned)
        except Exception as error:
            self._member.fail(error)
            raise


class Membership:
    """The part that one process has in a group.

    The client knows eager rebalances only: all partitions are taken and shared out anew. A lane that comes back at
    once, to a member that was never missing, goes on as if nothing had been; only those that really move are closed.
    """

    def __init__(self, session: "Session", group: str, topics: Sequence[str], *, single: bool) -> None:
        self.session = session
        self.group = group
        self.state_topic = f"{group}.state"
        self.settled = asyncio.Event()
        """Cleared while the group shares its partitions out anew: commits wait, and no lane is taken over."""
        self.consumer: AIOKafkaConsumer
        self._listener: _Listener
        self.copies = LocalCopies(session.data_dir, group, self.log)
        self._topics = list(topics)
        self._single = single
        self._assignor = LaneAssignor(single=single)
        self._lanes: dict[int, Lane] = {}
        self._owners: dict[TopicPartition, Lane] = {}
        self._assigned: dict[int, list[TopicPartition]] = {}
        self._acquisition = Acquisition(self, single=single)
        self._ending: set[asyncio.Task[None]] = set()
        self._queue: asyncio.Queue[Lane | BrokerError | None] = asyncio.Queue()
        self._identity: tuple[str, int] | None = None
        self._namesakes = Namesakes(
            session.instance, 10 * session.session_seconds, lambda: session.cluster.members(group)
        )
        self._left = False
        self._broken: asyncio.Future[None] | None = None
        self._running: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Join, however long the brokers are away; lanes follow when the group has shared out its partitions."""
        await persevering(self._join, lambda error: self.trouble("kafka group cannot be joined yet", error))
        self._running = asyncio.create_task(self._run())

    async def _join(self) -> None:
        await self.session.widen_state(self.state_topic, await self.width())
        try:
            await self._connect()
        except FAILURES as error:
            raise await self.session.clients.unreachable() from error

    async def lanes(self) -> AsyncIterator[Lane]:
        """Yield each lane as it is assigned and restored."""
        while (item := await self._queue.get()) is not None:
            if isinstance(item, BrokerError):
                raise item
            yield item

    async def leave(self) -> None:
        """Leave the group."""
        if self._left:
            return
        self._left = True
        # Its consumer may come to share in partitions again while it is stopped.
        self._listener.is_over = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        await self._acquisition.stop()
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if isinstance(item, Lane):
                await item.release()
        self.settled.set()
        coordinator = getattr(self.consumer, "_coordinator", None)
        if coordinator is not None:
            # A static member is not said good-bye for; then its partitions would wait for it to come back.
            coordinator._group_instance_id = None  # noqa: SLF001
        await self.session.clients.end(self.consumer)
        await self._acquisition.close()
        if self._ending:
            await asyncio.wait(self._ending)
        self._queue.put_nowait(None)
        self.session.members.discard(self)

    # -- the consumer -----------------------------------------------------------------------------

    async def _connect(self) -> None:
        session = self.session
        self._assignor = LaneAssignor(single=self._single)
        consumer = session.clients.consumer(
            group_id=self.group,
            group_instance_id=session.instance,
            partition_assignment_strategy=(self._assignor,),
            session_timeout_ms=round(session.session_seconds * 1000),
            rebalance_timeout_ms=round(session.session_seconds * 1000),
            heartbeat_interval_ms=round(session.heartbeat_seconds * 1000),
            # The coordinator answers a join when all others have joined.
            request_timeout_ms=round((session.session_seconds + 2.0) * 1000),
        )
        await session.clients.start(consumer)
        fetch_in_columns(consumer)
        self.consumer = consumer
        self._listener = _Listener(self)
        consumer.subscribe(self._topics or [self.state_topic], listener=self._listener)

    async def _run(self) -> None:
        """Keep a consumer working: one that fails or is stuck is replaced, as often as need be."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            error = await self._work()
            failures = 0 if loop.time() - started > 60 else failures + 1
            while error is not None:
                known = lasting(error)
                if known is not None or not isinstance(error, (*FAILURES, StorageError)):
                    # Not to join again meanwhile.
                    await self.session.clients.end(self.consumer)
                    for lane in self._lanes.values():
                        lane.lose("its group cannot be worked in")
                    self.offer(known or BrokerError(f"group {self.group}: {text(error)}"))
                    return
                self.trouble("kafka consumer is replaced", error)
                self._listener.is_over = True
                self.settled.clear()
                await self._acquisition.stop()
                for lane in self._lanes.values():
                    lane.lose("its consumer is replaced")
                self._owners.clear()
                self._assigned.clear()
                await self.session.clients.end(self.consumer)
                await asyncio.sleep(pause(failures))
                failures += 1
                try:
                    await self._connect()
                    error = None
                except FAILURES as again:
                    error = again

    async def _work(self) -> BaseException | None:
        """Do everything that goes on all the time, until some of it fails; returns why."""
        self._broken = asyncio.get_running_loop().create_future()
        # The last is for what listeners raise.
        work = (self._pump(), Watch(self).run(), self._keep())
        tasks = {*(asyncio.create_task(each) for each in work), self._broken}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(iter([error for task in done if (error := task.exception())]), None)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _pump(self) -> None:
        """Move what is fetched to the lanes."""
        consumer = self.consumer
        while True:
            try:
                found: Mapping[TopicPartition, list[Fetched]] = await consumer.getmany(timeout_ms=TICK_MS)
            except OffsetOutOfRangeError as error:
                await self._out_of_range(error.args[0])
                continue
            except NoOffsetForPartitionError:
                continue  # whoever acquires the partition says where it begins
            for part, pieces in found.items():
                lane = self._owners.get(part)
                if lane is not None and lane.is_alive:
                    for rows in pieces:
                        lane.inbox.put(rows)
                    if lane.inbox.is_full(part):
                        consumer.pause(part)
            for part, lane in list(self._owners.items()):
                if lane.is_alive and self.settled.is_set():
                    lane.inbox.skip(part, await consumer.position(part))

    async def _out_of_range(self, places: Mapping[TopicPartition, int]) -> None:
        """Go on with what is there, and say what is not: retention was faster than we, or the topic is a new one."""
        begins = await self.session.cluster.begins(list(places))
        for part, offset in places.items():
            lane = self._owners.get(part)
            if lane is None or not lane.is_alive or lane.inbox.positions()[part] != offset:
                continue
            if offset < begins[part]:
                lane.inbox.lose(part, begins[part] - offset, begins[part])
            else:
                self.log("error", "partition begins anew: it ends before where we were", part=named(part), at=offset)
                lane.inbox.move(part, begins[part])
            self.consumer.seek(part, begins[part])

    # -- for the watch ----------------------------------------------------------------------------

    async def check_topics(self) -> None:
        """Raise UnknownTopicError for a topic that is no longer there."""
        for topic in self._topics:
            await self.session.cluster.partitions(topic)

    def waiting(self) -> dict[TopicPartition, int]:
        """Return the partitions of which nothing is left to hand out, and where they are read on."""
        return {
            part: position
            for lane in self._lanes.values()
            if lane.is_alive and self.settled.is_set()
            for part, position in lane.inbox.positions().items()
            if lane.inbox.is_empty(part)
        }

    def consumer_holds_back(self, part: TopicPartition, position: int) -> bool:
        """Say whether there are records behind a position that are in a transaction or behind one."""
        if part not in self.consumer.assignment():
            return False
        stable, end = self.consumer.last_stable_offset(part), self.consumer.highwater(part)
        return stable is not None and end is not None and position >= stable and stable < end

    # -- rebalances -------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """Have the consumer replaced for an error of ours in a rebalance; without lanes nobody else would notice."""
        if self._broken is not None and not self._broken.done():
            known = isinstance(error, BrokerError)
            self._broken.set_exception(error if known else RuntimeError(f"a rebalance went wrong: {error!r}"))

    async def revoked(self) -> None:
        """Hold commits back, and let those under way end, in bounds: the group waits for us."""
        self.settled.clear()
        self._identity = self._identity_now()
        self._acquisition.cancel()
        if await self._namesakes.have_ousted(self._identity[0] if self._identity else ""):
            name = self.session.instance
            self.fail(
                BrokerError(f"group {self.group}: another process has the instance name {name}, too; choose others")
            )
            # Now, before the client joins again and ousts the other one.
            await self.session.clients.end(self.consumer, leave=False)
            return
        busy = [asyncio.create_task(lane.idle.wait()) for lane in self._lanes.values() if not lane.idle.is_set()]
        if busy:
            await asyncio.wait(busy, timeout=REVOKE_SECONDS)
            for waiting in busy:
                waiting.cancel()

    def assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Keep the lanes that came back, end those that did not, begin those that are new. Never waits."""
        parts = sorted(assigned)
        for part in parts:
            self.consumer.pause(part)
            # Anywhere, so that the client does not look for a place by itself.
            self.consumer.seek(part, 0)
        before, now = self._identity, self._identity_now()
        if now is not None:
            self._namesakes.joined(now[0])
        stayed = before is not None and now is not None and now == (before[0], before[1] + 1)
        wanted = self._by_lane(parts)
        returned = {
            number
            for number, lane in self._lanes.items()
            if stayed and number in wanted and set(lane.inbox.positions()) == set(wanted[number])
        }
        self._owners.clear()
        self._assigned = wanted
        self._assignor.owned = sorted(wanted)
        gone = sorted(number for number, lane in self._lanes.items() if lane.is_alive and number not in wanted)
        if gone:
            self.log("info", "partitions moved to another worker", lanes=",".join(map(str, gone)))
        for number, lane in self._lanes.items():
            if lane.is_alive and number not in returned:
                lane.lose("its partitions moved to another worker")
                if lane.idle.is_set():
                    # Not only when the engine gives it back: its next owner waits for it.
                    lane.give_up()
                else:
                    lane.cut()
        # Only now: what is cut ends others, too.
        kept = {number for number in returned if self._lanes[number].is_alive}
        for number in kept:
            self._resume(self._lanes[number])
        for number in wanted.keys() - kept:
            self._acquisition.begin(number, 0.0)
        self.settled.set()

    def _by_lane(self, parts: Sequence[TopicPartition]) -> dict[int, list[TopicPartition]]:
        if not parts:
            return {}
        if self._single:
            return {0: list(parts) if self._topics else []}
        return {number: [part for part in parts if part.partition == number] for number in {p.partition for p in parts}}

    def _identity_now(self) -> tuple[str, int] | None:
        coordinator = getattr(self.consumer, "_coordinator", None)
        return None if coordinator is None else (coordinator.member_id, coordinator.generation)

    def _resume(self, lane: Lane) -> None:
        """Fetch a lane's partitions, each from where its inbox stands."""
        for part, position in lane.inbox.positions().items():
            self._owners[part] = lane
            self.consumer.seek(part, position)
            if not lane.inbox.is_full(part):
                self.consumer.resume(part)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    # -- for claims -------------------------------------------------------------------------------

    def ended(self, transactions: Transactions) -> None:
        """Have the lanes begin anew whose transactions have ended, unless we are leaving."""
        if self._left:
            return
        failure = transactions.failure
        assert failure is not None, "they have ended"
        for lane in self._lanes.values():
            if lane.claim is not None and lane.claim.transactions is transactions:
                lane.begin_anew(failure)
        self._soon(transactions.close())
        if not isinstance(failure.error, FAILURES) and not isinstance(failure.error, BrokerError):
            self.offer(BrokerError(f"group {self.group}: {failure.error!r}"))
        elif (known := lasting(failure.error)) is not None:
            # Perhaps no lane was committing, and nobody else would hear of it.
            self.offer(known)

    @property
    def shares(self) -> int:
        """How many lanes are ours."""
        return len(self._assigned)

    async def width(self) -> int:
        """Return how many lanes the group has."""
        return max([await self.session.cluster.partitions(topic) for topic in self._topics], default=1)

    # -- acquiring lanes --------------------------------------------------------------------------

    def renew(self, lane: Lane, wait: float) -> None:
        """Begin anew with the partitions of a lane that has failed, if they are still ours then.

        While they are shared out anew nothing is begun: whose they are is not known, and `assigned` begins ours.
        """
        if self._lanes.get(lane.number) is lane and self.settled.is_set() and not self._left:
            self._pause(lane)
            self._acquisition.begin(lane.number, wait, renews=True)

    def let_go(self, lane: Lane) -> None:
        """Take note that a lane has been given back."""
        self._pause(lane)

    def _pause(self, lane: Lane) -> None:
        mine = [part for part, owner in self._owners.items() if owner is lane]
        for part in mine:
            del self._owners[part]
            if part in self.consumer.assignment():
                self.consumer.pause(part)

    def lane(self, number: int) -> Lane | None:
        """Return the lane of a number that there is, or was."""
        return self._lanes.get(number)

    def share(self, number: int) -> list[TopicPartition] | None:
        """Return the partitions that a lane is to have; None when the lane is not ours (any more)."""
        return self._assigned.get(number)

    def adopt(self, lane: Lane) -> None:
        """Take in a lane that has been taken over, and hand it out; raises when its partitions have gone meanwhile."""
        self._resume(lane)
        self._lanes[lane.number] = lane
        self._queue.put_nowait(lane)

    def offer(self, error: BrokerError) -> None:
        """End the membership with an error that lasts."""
        self._queue.put_nowait(error)

    # -- copies of state --------------------------------------------------------------------------

    async def keep(self, tables: Mapping[int, Table]) -> None:
        """Put local copies of tables down."""
        await self.copies.put_down(tables)

    async def _keep(self) -> None:
        """Put local copies of all tables down now and then, so that one is there after a crash."""
        loop = asyncio.get_running_loop()
        pause = COPY_SECONDS
        while True:
            await asyncio.sleep(pause)
            began = loop.time()
            for lane in list(self._lanes.values()):
                if lane.is_alive:
                    await self.keep(lane.tables)
            pause = max(COPY_SECONDS, 20 * (loop.time() - began))

    # -- for lanes --------------------------------------------------------------------------------

    def space(self, part: TopicPartition) -> None:
        """Fetch a partition again whose inbox was full."""
        if part in self._owners and part in self.consumer.assignment():
            self.consumer.resume(part)

    def seek(self, lane: Lane, part: TopicPartition, offset: int) -> None:
        """Go on reading a lane's partition elsewhere."""
        lane.inbox.move(part, offset)
        if self._owners.get(part) is lane and part in self.consumer.assignment():
            self.consumer.seek(part, offset)
            self.consumer.resume(part)

    def note(self, marks: Mapping[TopicPartition, int]) -> None:
        """Remember what was committed, for whoever asks before the cluster says so."""
        self.session.note(self.group, marks)

    def log(self, level: str, event: str, **fields: Any) -> None:
        """Log something about the group."""
        self.session.log(level, event, group=self.group, **fields)

    def trouble(self, event: str, error: BaseException, **fields: Any) -> None:
        """Log a failure that may pass, and that many have at the same time."""
        self.session.trouble(event, error, group=self.group, **fields)

    def table(self, partition: int, store: str) -> Table | None:
        """Return the table of a partition if a living lane of ours has that store in it."""
        for lane in self._lanes.values():
            if lane.is_alive and partition in lane.tables and store in lane.tables[partition].stores:
                return lane.tables[partition]
        return None
