"""Handing a batch to a sink: retries, time-outs, and finding the records that the sink refuses."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs

from streamweaver.contracts import RecordSink, Sink
from streamweaver.errors import BadRecord, Fatal, Retriable
from streamweaver.record import Batch, Record
from streamweaver.runtime.lane_work import Done
from streamweaver.runtime.plugin_life import call
from streamweaver.runtime.scope import Scope

WRITE = "write"
"""Stands for the step in a failure of the sink itself."""

Refused: TypeAlias = Callable[[Record, Exception, int, Done[list[Record]]], Awaitable[None]]
"""Told of each record that the sink refuses, in order, before later records are written."""


def writer(scope: Scope, sink: Any, refused: Refused) -> Callable[[Batch, Done[list[Record]]], Awaitable[None]]:
    """Return a function that writes a batch whole, whichever form the sink has.

    It raises Fatal, or Retriable when the sink stays unavailable: an outage must not turn records into dead letters.
    """
    blocking = scope.stage.use is not None and scope.stage.use.plugin.blocking

    def verb(function: Callable[[Any], Any]) -> Callable[[Any], Awaitable[None]]:
        if blocking:
            return lambda item: scope.threads.run(function, item)
        return lambda item: call(function, item)

    if isinstance(sink, RecordSink):
        return _RecordWriter(scope, verb(sink.write_record), refused)
    if isinstance(sink, Sink):
        return _BatchWriter(scope, verb(sink.write), refused)
    raise Fatal(f"{type(sink).__name__} has neither write nor write_record")


@attrs.define
class _RecordWriter:
    """For sinks that take one record at a time."""

    scope: Scope
    write: Callable[[Any], Awaitable[None]]
    refused: Refused

    async def __call__(self, batch: Batch, done: Done[list[Record]]) -> None:
        for record in batch.records:
            try:
                await insist(self.scope, self.write, record)
            except (Fatal, Retriable):
                raise
            except Exception as error:
                await self.refused(record, error, 1, done)


@attrs.define
class _BatchWriter:
    """For sinks that take batches: a batch that fails is split until the bad record stands alone."""

    scope: Scope
    write: Callable[[Any], Awaitable[None]]
    refused: Refused

    async def __call__(self, batch: Batch, done: Done[list[Record]]) -> None:
        try:
            await insist(self.scope, self.write, batch)
        except (Fatal, Retriable):
            raise
        except BadRecord as error:
            why = error.why if isinstance(error.why, Exception) else error
            await self._around(batch, error.index, why, done)
        except Exception as error:
            if len(batch) == 1:
                await self.refused(batch.records[0], error, 1, done)
            else:
                middle = len(batch) // 2
                await self(_part(batch, 0, middle, done), done)
                await self(_part(batch, middle, len(batch), done), done)

    async def _around(self, batch: Batch, bad: int, why: Exception, done: Done[list[Record]]) -> None:
        if bad:
            await self(_part(batch, 0, bad, done), done)
        await self.refused(batch.records[bad], why, 1, done)
        if bad + 1 < len(batch):
            await self(_part(batch, bad + 1, len(batch), done), done)


def _part(batch: Batch, start: int, end: int, done: Done[list[Record]]) -> Batch:
    """Return some of a batch's records with the offsets that they cover, filtered neighbours included."""

    def offset(index: int) -> int:
        return done.rows.offsets[batch.records[index].origin]

    first = batch.first_offset if start == 0 else offset(start)
    last = batch.last_offset if end == len(batch) else offset(end) - 1
    return attrs.evolve(batch, records=batch.records[start:end], first_offset=first, last_offset=last)


async def insist(scope: Scope, write: Callable[[Any], Awaitable[None]], item: Any) -> None:
    """Write, again after `Retriable` and time-outs, as often as the stage's `retry` says; then raise Retriable."""
    # A thread cannot be interrupted: a time-out would write the same batch beside itself.
    blocking = scope.stage.use is not None and scope.stage.use.plugin.blocking
    longest = None if blocking else scope.stage.timeout_seconds
    tries = 0
    while True:
        tries += 1
        try:
            async with asyncio.timeout(longest):
                await write(item)
            return
        except (Retriable, TimeoutError) as error:
            why = scope.redact(str(error)) or "timed out"
            if tries >= scope.stage.retry.attempts:
                raise Retriable(f"{why} (after {tries} tries)") from error
            scope.metrics.retries += 1
            after = error.after if isinstance(error, Retriable) else None
            wait = scope.stage.retry.backoff.wait(tries) if after is None else after
            scope.activity.now(f"waiting to write again: {why}")
            await scope.clock.sleep(wait)
        except SystemExit as error:
            raise Fatal(f"the sink called sys.exit({error.code})") from error
