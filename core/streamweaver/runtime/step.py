"""Running one transform over a batch, whichever form its author chose."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import attrs

from streamweaver.contracts import Made, RecordTransform, Transform
from streamweaver.errors import Fatal, Retriable
from streamweaver.record import Batch, Record
from streamweaver.retry import Backoff
from streamweaver.runtime.context import StepContext
from streamweaver.runtime.keep import restorer
from streamweaver.runtime.plugin_life import stray


@attrs.define
class Result:
    """What a step made of a batch; `failed` are the input records that it could not process, each with its error."""

    records: list[Record]
    filtered: int = 0
    added: int = 0
    failed: list[tuple[Record, Exception, int]] = attrs.field(factory=list)
    """(record, error, tries)"""


class Step(Protocol):
    """A transform, ready to run."""

    name: str
    isolates: bool
    """Whether a failing record is reported in the result, its neighbours unharmed, instead of raised."""

    async def run(self, batch: Batch, context: StepContext) -> Result:
        """Run it over a batch; raises what the plugin raises for the batch as a whole."""


@attrs.frozen
class Limits:
    """How a step's calls are bounded and repeated."""

    timeout_seconds: float | None = None
    concurrency: int = 1
    attempts: int = 1
    backoff: Backoff = attrs.field(default=Backoff(0.2, 10.0))

    def wait(self, error: Exception, tries: int) -> float:
        """Return the seconds to wait after a failed try: those that the plugin asks for, else the back-off's."""
        asked = error.after if isinstance(error, Retriable) else None
        return self.backoff.wait(tries) if asked is None else asked


def step_for(name: str, transform: Any, limits: Limits, blocking: bool) -> Step:
    """Return the runner that fits a built transform."""
    if isinstance(transform, RecordTransform):
        call = transform.process_record
        if inspect.isasyncgenfunction(call):
            raise Fatal(f"step {name}: process_record is an async generator, expected a function that returns a list")
        if inspect.iscoroutinefunction(call):
            return AsyncRecordStep(name, call, limits)
        return RecordStep(name, call, blocking)
    if isinstance(transform, Transform):
        return BatchStep(name, transform.process, limits, blocking)
    raise Fatal(f"step {name}: {type(transform).__name__} has neither process nor process_record")


Tick: TypeAlias = Callable[[StepContext], Awaitable[list[Record]]]
"""Tells a transform that time has passed, and returns what it makes of that."""


def tick_for(transform: Any, limits: Limits, blocking: bool) -> Tick | None:
    """Return what calls a transform's `tick`, where and in what time its `process` is; None when it has none."""
    call = getattr(transform, "tick", None)
    if call is None:
        return None

    async def tick(context: StepContext) -> list[Record]:
        try:
            return await _collected(lambda: call(context), context, limits, blocking) or []
        except asyncio.CancelledError as error:
            raise stray(error) from error

    return tick


def adopt(made: Made, source: Record, result: Result) -> None:
    """Add what a record function returned to the result, new records inheriting what they leave out."""
    if made is source:
        result.records.append(source)
    elif made is None:
        result.filtered += 1
    else:
        several = [made] if isinstance(made, Record) else _listed(made)
        for record in several:
            if not isinstance(record, Record):
                raise TypeError(f"got {type(record).__name__}, expected a Record, a list of them, or None")
            if record is not source:
                record.origin = source.origin
                if record.timestamp is None:
                    record.timestamp = source.timestamp
                if record.key is None:
                    record.key = source.key
        result.records += several
        if several:
            result.added += len(several) - 1
        else:
            result.filtered += 1


def _listed(made: Any) -> list[Any]:
    # What can be gone through without being a list of records would be blamed for its parts.
    if isinstance(made, Mapping | str | bytes) or not isinstance(made, Iterable):
        raise TypeError(f"got {type(made).__name__}, expected a Record, a list of them, or None")
    return list(made)


def named(error: Exception, timeout_seconds: float | None) -> Exception:
    """Return the error; for a time-out, which has no text, one that says so."""
    if isinstance(error, TimeoutError) and not str(error) and timeout_seconds is not None:
        return TimeoutError(f"no answer within {timeout_seconds:g} s")
    return error


async def _collected(
    call: Callable[[], Any], context: StepContext, limits: Limits, blocking: bool
) -> list[Record] | None:
    """Return the records that a call makes, whichever form its author chose; None when it returns that.

    A plain one runs, to the end of a generator, in the stage's thread if it blocks; an `async` one within its time.
    """
    made = await context.run_blocking(lambda: _run_through(call())) if blocking else _run_through(call())
    try:
        if inspect.isawaitable(made):
            async with asyncio.timeout(limits.timeout_seconds):
                made = _run_through(await made)
        elif inspect.isasyncgen(made):
            async with asyncio.timeout(limits.timeout_seconds):
                made = [record async for record in made]
    except TimeoutError as error:
        raise named(error, limits.timeout_seconds) from error
    if wrong := [kind for kind in set(map(type, made or ())) if not issubclass(kind, Record)]:
        raise TypeError(f"got {wrong[0].__name__} among the results, expected records")
    records: list[Record] | None = made
    return records


def _run_through(made: Any) -> Any:
    if made is None or type(made) is list or inspect.isawaitable(made) or inspect.isasyncgen(made):
        return made
    return list(made)


@attrs.define
class RecordStep:
    """A plain function, called once a record. The hot path of most pipelines: no `await` inside the loop."""

    name: str
    call: Callable[[Record, Any], Any]
    blocking: bool
    isolates: bool = attrs.field(default=True, init=False)

    async def run(self, batch: Batch, context: StepContext) -> Result:
        """Call the function for each record."""
        if self.blocking:
            return await context.run_blocking(self._loop, batch, context)
        return self._loop(batch, context)

    def _loop(self, batch: Batch, context: StepContext) -> Result:
        result = Result([])
        append = result.records.append
        call = self.call
        for record in batch.records:
            try:
                made = call(record, context)
                if made is record:
                    append(record)
                else:
                    adopt(made, record, result)
            except (Retriable, Fatal):
                # Plain code cannot wait between tries: the whole batch is tried again.
                raise
            except Exception as error:
                result.failed.append((record, error, 1))
        return result


@attrs.define
class AsyncRecordStep:
    """An `async` function, called once a record, several at a time if the step's `concurrency` says so."""

    name: str
    call: Callable[[Record, Any], Awaitable[Made]]
    limits: Limits
    isolates: bool = attrs.field(default=True, init=False)

    async def run(self, batch: Batch, context: StepContext) -> Result:
        """Call the function for each record; the results keep the order of the records."""
        if self.limits.concurrency == 1:
            outcomes = [await self._try(record, context) for record in batch.records]
        else:
            outcomes = await self._overlapping(batch.records, context)
        result = Result([])
        for record, (made, error, tries) in zip(batch.records, outcomes, strict=True):
            if error is not None:
                result.failed.append((record, error, tries))
                continue
            try:
                adopt(made, record, result)
            except Exception as wrong:  # what is no record, or a generator that fails
                result.failed.append((record, wrong, tries))
        return result

    async def _overlapping(
        self, records: list[Record], context: StepContext
    ) -> list[tuple[Made, Exception | None, int]]:
        outcomes: list[tuple[Made, Exception | None, int]] = [(None, None, 0)] * len(records)
        # Records of one key form a chain that runs in order; chains run beside each other.
        chains: dict[Any, list[int]] = {}
        for index, record in enumerate(records):
            chains.setdefault(index if record.key is None else (record.key,), []).append(index)
        slots = asyncio.Semaphore(self.limits.concurrency)

        async def run(chain: list[int]) -> None:
            for index in chain:
                async with slots:
                    outcomes[index] = await self._try(records[index], context)

        try:
            async with asyncio.TaskGroup() as group:
                for chain in chains.values():
                    group.create_task(run(chain))
        except BaseExceptionGroup as errors:
            # Only what ends the whole batch gets here; the group would hide it.
            raise errors.exceptions[0] from None
        return outcomes

    async def _try(self, record: Record, context: StepContext) -> tuple[Made, Exception | None, int]:
        """Call the function; after `Retriable` and time-outs again, with the record as it was, up to the limit."""
        tries = 0
        restore = restorer(record) if self.limits.attempts > 1 else None
        while True:
            tries += 1
            try:
                async with asyncio.timeout(self.limits.timeout_seconds):
                    return await self.call(record, context), None, tries
            except Fatal:
                raise
            except SystemExit as error:
                # Out of a task it would end the whole event loop.
                raise Fatal(f"step {self.name} called sys.exit({error.code})") from error
            except asyncio.CancelledError as error:
                # In a task of its own it would pass for a record that was dropped on purpose.
                return None, stray(error), tries
            except (Retriable, TimeoutError) as error:
                if context.state.touched:
                    # This try may have changed it, and only the chain can undo that: the whole batch is tried again.
                    raise named(error, self.limits.timeout_seconds) from error
                if tries >= self.limits.attempts:
                    return None, named(error, self.limits.timeout_seconds), tries
                context.metrics.retries += 1
                await context.sleep(self.limits.wait(error, tries))
                if restore is not None:
                    restore()
            except Exception as error:
                return None, error, tries


@attrs.define
class BatchStep:
    """A transform that takes whole batches. What it makes is counted by difference, since it says no more."""

    name: str
    call: Callable[[Batch, Any], Any]
    limits: Limits
    blocking: bool
    isolates: bool = attrs.field(default=False, init=False)

    async def run(self, batch: Batch, context: StepContext) -> Result:
        """Call the transform once."""
        records = await _collected(lambda: self.call(batch, context), context, self.limits, self.blocking)
        if records is None:
            raise TypeError("got None, expected records")
        more = len(records) - len(batch.records)
        if records:
            self._complete(records, batch)
        return Result(records, filtered=max(0, -more), added=max(0, more))

    @staticmethod
    def _complete(records: list[Record], batch: Batch) -> None:
        """Give new records a time and an origin: those of the batch's last record."""
        last = batch.records[-1]
        for record in records:
            if record.timestamp is None:
                record.timestamp = last.timestamp
            if record.origin < 0:
                record.origin = last.origin
