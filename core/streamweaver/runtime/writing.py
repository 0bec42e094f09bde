"""Handing batches to a sink: retries, time-outs, and finding the records that the sink refuses."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import attrs

from streamweaver.contracts import RecordSink, Sink
from streamweaver.errors import BadRecord, Fatal, Retriable
from streamweaver.record import Batch, Record
from streamweaver.runtime.lane_work import Part
from streamweaver.runtime.plugin_life import call
from streamweaver.runtime.scope import Scope
from streamweaver.runtime.step import named
from streamweaver.text import said

WRITE = "write"
"""Stands for the step in a failure of the sink itself."""

Refused: TypeAlias = Callable[[Record, Exception, Part], Awaitable[None]]
"""Told of each record that the sink refuses, in order, before later records are written."""


Handed: TypeAlias = tuple[Batch, Part]
"""A batch, and the rows that it was made of."""


class Write(Protocol):
    """Writes batches whole, whichever form the sink has."""

    @property
    def together(self) -> bool:
        """Whether the sink gains by being given several batches at once; if not, none is to wait for another."""

    async def __call__(self, handed: Sequence[Handed], /) -> None:
        """Return when all of it is durable, but for the records that were refused.

        Raises Fatal, or Retriable when the sink stays unavailable: an outage must not turn records into dead letters.
        """


def writer(scope: Scope, sink: Any, refused: Refused) -> Write:
    """Return what writes to a sink; Fatal when the sink has no form that can be written to."""
    threads = scope.sink_threads
    # A call in a thread cannot be ended, and a second one beside it would write twice.
    seconds = None if threads is not None else scope.stage.timeout_seconds

    def verb(function: Callable[[Any], Any]) -> Callable[[Any], Awaitable[None]]:
        return lambda item: call(function, item, threads=threads)

    if isinstance(sink, RecordSink):
        return _RecordWriter(scope, verb(sink.write_record), seconds, refused)
    if isinstance(sink, Sink):
        several = verb(sink.write_all) if hasattr(sink, "write_all") else None
        return _BatchWriter(scope, verb(sink.write), several, seconds, refused)
    raise Fatal(f"{type(sink).__name__} has neither write nor write_record")


@attrs.define
class _RecordWriter:
    """For sinks that take one record at a time."""

    scope: Scope
    write: Callable[[Any], Awaitable[None]]
    seconds: float | None
    refused: Refused
    together: bool = attrs.field(default=False, init=False)

    async def __call__(self, handed: Sequence[Handed], /) -> None:
        for record, part in ((record, part) for batch, part in handed for record in batch.records):
            try:
                await insist(self.scope, self.write, record, self.seconds)
            except (Fatal, Retriable):
                raise
            except Exception as error:
                await self.refused(record, error, part)


@attrs.define
class _BatchWriter:
    """For sinks that take batches: a batch that fails is split until the bad record stands alone.

    Several batches go to `write_all`, if the sink has it. When that fails for what is in them they are written one
    after the other, so that only `write` has to find a bad record.
    """

    scope: Scope
    write: Callable[[Any], Awaitable[None]]
    write_all: Callable[[Any], Awaitable[None]] | None
    seconds: float | None
    refused: Refused

    @property
    def together(self) -> bool:
        return self.write_all is not None

    async def __call__(self, handed: Sequence[Handed], /) -> None:
        if self.write_all is not None and len(handed) > 1:
            try:
                await insist(self.scope, self.write_all, [batch for batch, _ in handed], self.seconds)
                return
            except (Fatal, Retriable):
                raise
            except Exception as error:
                # Not a warning: whatever is wrong is told by the dead letters that follow, if it is a record.
                self.scope.log(
                    "debug", "batches are written one by one", stage=self.scope.stage.name, error=said(error)
                )
        for batch, part in handed:
            await self._whole(batch, part)

    async def _whole(self, batch: Batch, part: Part) -> None:
        # Spans of records that are still to be written, or (with an error) refused, the next one last. No recursion:
        # every record of a batch may be bad.
        waiting: list[tuple[int, int, Exception | None]] = [(0, len(batch), None)]
        while waiting:
            start, end, refusal = waiting.pop()
            if refusal is not None:
                await self.refused(batch.records[start], refusal, part)
                continue
            try:
                await insist(self.scope, self.write, _span(batch, start, end, part), self.seconds)
            except (Fatal, Retriable):
                raise
            except BadRecord as error:
                bad = start + _index(error, end - start)
                spans = [(bad + 1, end, None), (bad, bad + 1, error), (start, bad, None)]
                waiting += [span for span in spans if span[0] < span[1]]
            except Exception as error:
                middle = start + (end - start) // 2
                if middle == start:
                    waiting.append((start, end, error))
                else:
                    waiting += [(middle, end, None), (start, middle, None)]


def _index(error: BadRecord, count: int) -> int:
    if not 0 <= error.index < count:
        raise Fatal(f"the sink blamed record {error.index} of a batch of {count}: {error.why}") from error
    return error.index


def _span(batch: Batch, start: int, end: int, part: Part) -> Batch:
    """Return some of a batch's records with the offsets that they cover, filtered neighbours included."""
    if end - start == len(batch):
        return batch

    def offset(index: int) -> int:
        return part.rows.offsets[batch.records[index].origin]

    first = batch.first_offset if start == 0 else offset(start)
    last = batch.last_offset if end == len(batch) else offset(end) - 1
    return attrs.evolve(batch, records=batch.records[start:end], first_offset=first, last_offset=last)


async def insist(scope: Scope, write: Callable[[Any], Awaitable[None]], item: Any, seconds: float | None) -> None:
    """Write, again after `Retriable` and time-outs, as often as the stage's `retry` says; then raise Retriable."""
    tries = 0
    while True:
        tries += 1
        try:
            async with asyncio.timeout(seconds):
                await write(item)
            return
        except (Retriable, TimeoutError) as error:
            why = scope.redact(said(named(error, seconds)))
            if tries >= scope.stage.retry.attempts:
                raise Retriable(f"{why} (after {tries} tries)") from error
            scope.metrics.retries += 1
            scope.activity.now(f"waiting to write again: {why}")
            await scope.clock.sleep(scope.limits.wait(error, tries))
            scope.activity.now("writing")
        except SystemExit as error:
            raise Fatal(f"the sink called sys.exit({error.code})") from error
