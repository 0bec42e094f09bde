"""The transactions of a stage in one worker: what its lanes commit at about the same time goes into one."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TypeAlias

import attrs
from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from streamweaver_brokers.kafka.sender import Batches, Ends, Marks, Sender

GATHER = 0.2
"""How long a transaction waits for more lanes, as a part of the pause that each of them makes between two.

A transaction costs the same for one lane and for all.
"""

DRAIN_SECONDS = 2.0
"""How long an end waits for what is under way; longer, and it is broken off: the successor undoes it."""

Wanted: TypeAlias = Callable[[], tuple[Batches, Marks] | None]
"""Asked when its transaction begins: what is to be stored, or None when that is no longer wanted."""


@attrs.frozen
class Failure:
    """Why transactions have ended."""

    error: BaseException
    seconds: float = 0.0
    """How long the transaction took that failed."""


@attrs.frozen(eq=False)
class _Share:
    """What somebody wants in a transaction."""

    wanted: Wanted
    stored: Callable[[], None]
    # Errors come as results: of those that nobody waits for any more nobody is to be warned.
    done: "asyncio.Future[Ends | BaseException]"


class Transactions:
    """One transactional producer, from its start to its first failure; its name is never used again.

    A lane is held by the producer whose name stands beside the lane's offsets. So whoever takes a lane over knows whom
    to fence, and a name that is fenced once is so for ever. After a failure all lanes that were held by this name are
    lost: what they have committed is known only to who reads it anew.
    """

    def __init__(
        self,
        sender: Sender,
        name: str,
        group: str,
        *,
        pause_seconds: float,
        lanes: Callable[[], int],
        ended: Callable[["Transactions"], None],
    ) -> None:
        self.sender = sender
        self.name = name
        self.failure: Failure | None = None
        self._group = group
        self._pause_seconds = pause_seconds
        self._lanes = lanes
        self._ended = ended
        self._ended_at = -math.inf
        """When the last transaction ended, by the event loop's clock."""
        self._waiting: list[_Share] = []
        self._under_way: list[_Share] = []
        self._running: asyncio.Task[None] | None = None
        self._complete = asyncio.Event()
        """Set when nobody is left to wait for with the next transaction."""

    # -- for claims -------------------------------------------------------------------------------

    async def put(self, wanted: Wanted, stored: Callable[[], None]) -> Ends:
        """Store it with what others commit now, all or nothing; raises what made that fail.

        `stored` is called when it is, even if the caller was cancelled meanwhile: that takes nothing back.
        """
        return _outcome(await asyncio.shield(self._add(wanted, stored, at_once=False)))

    def put_at_once(self, wanted: Wanted) -> None:
        """Have something stored behind all that waits or is under way now."""
        self._add(wanted, _nothing, at_once=True)

    async def drained(self) -> None:
        """Return when all that waits or is under way now has been stored; raises when it has not."""
        _outcome(await asyncio.shield(self._add(lambda: ({}, {}), _nothing, at_once=True)))

    async def finish(self) -> None:
        """Wait for what waits or is under way now to come to its end, whichever, in bounded time."""
        share = self._add(lambda: ({}, {}), _nothing, at_once=True)
        await asyncio.wait({share}, timeout=DRAIN_SECONDS)
        if not share.done():
            self.cut("it hangs")

    def cut(self, why: str) -> None:
        """Break off what is under way, and end."""
        running = self._running
        self._end(Failure(RuntimeError(why)))
        if running is not None:
            running.cancel()

    async def close(self) -> None:
        """Let what waits come to its end, then stop."""
        await self.finish()
        running = self._running
        # Whoever comes now, or has come behind what we waited for, hears that it is too late.
        self.cut("the transactions are closed")
        if running is not None:
            await asyncio.wait({running})
        await self.sender.close()

    # -- the loop ---------------------------------------------------------------------------------

    def _add(
        self, wanted: Wanted, stored: Callable[[], None], *, at_once: bool
    ) -> "asyncio.Future[Ends | BaseException]":
        done: asyncio.Future[Ends | BaseException] = asyncio.get_running_loop().create_future()
        if self.failure is not None:
            done.set_result(self.failure.error)
            return done
        self._waiting.append(_Share(wanted, stored, done))
        if at_once or len(self._waiting) >= self._lanes():
            self._complete.set()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return done

    async def _run(self) -> None:
        began = time.monotonic()
        try:
            while self._waiting and self.failure is None:
                await self._gather()
                began = time.monotonic()
                self._under_way, self._waiting = self._waiting, []
                await self._store()
                if self.sender.is_worn:
                    raise RuntimeError("its producer has sent as many records as one can")
        except asyncio.CancelledError:
            self._end(Failure(RuntimeError("the transactions were cancelled")))
            raise
        except BaseException as error:  # whatever it is, those who wait must hear of it
            self._end(Failure(error, time.monotonic() - began))

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

    async def _store(self) -> None:
        """Commit one transaction."""
        batches: defaultdict[TopicPartition, list[BatchBuilder]] = defaultdict(list)
        marks: dict[TopicPartition, tuple[int, str]] = {}
        shares = []
        for share in self._under_way:
            wanted = share.wanted()
            if wanted is None:
                share.done.set_result(RuntimeError("the lane was lost before its transaction began"))
                continue
            shares.append(share)
            for part, built in wanted[0].items():
                batches[part] += built
            marks.update(wanted[1])
        self._under_way = shares
        ends: Ends = {}
        if batches or marks:
            ends = await self.sender.commit(batches, marks, self._group)
            self._ended_at = asyncio.get_running_loop().time()
        self._under_way = []
        for share in shares:
            share.stored()
            share.done.set_result(ends)

    def _end(self, failure: Failure) -> None:
        """Take note of the failure and tell everybody, once."""
        if self.failure is not None:
            return
        self.failure = failure
        shares = [*self._under_way, *self._waiting]
        self._under_way, self._waiting = [], []
        try:
            # First the lanes end, so that those which wait here find that they have when they go on.
            self._ended(self)
        finally:
            for share in shares:
                # One may have been told, before another one of the same transaction met a defect.
                if not share.done.done():
                    share.done.set_result(failure.error)


def _outcome(found: Ends | BaseException) -> Ends:
    if isinstance(found, BaseException):
        raise found
    return found


def _nothing() -> None:
    pass
