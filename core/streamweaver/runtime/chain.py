"""A stage's steps over one batch: all at once when all is well, one record at a time when something is not.

The result always accounts for each input record: it led to outputs, was filtered, or failed.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import attrs

from streamweaver.errors import BadRecord, Fatal, Retriable
from streamweaver.record import Batch, Record
from streamweaver.runtime.context import StepContext
from streamweaver.runtime.step import Limits, Step

T = TypeVar("T")

ENCODE = "encode"
"""Stands for the step in a failure to encode an output record."""

# The slow path lets other tasks run after this many records.
_BREATH = 50


@attrs.frozen
class Failure:
    """An input record that a stage could not process."""

    origin: int
    """Index of the record in the input batch."""
    step: str
    error: Exception
    tries: int


@attrs.define
class Outcome(Generic[T]):
    """What a stage made of one input batch.

    `parts` holds what `finish` made of the outputs: one part on the fast path, one for each good record on the slow
    one. `outputs` counts output records.
    """

    parts: list[T]
    outputs: int = 0
    filtered: int = 0
    added: int = 0
    failures: list[Failure] = attrs.field(factory=list)


class _StepFailedError(Exception):
    """A step failed for the batch as a whole, or for a record that cannot be told apart from its neighbours."""

    def __init__(self, step: str, error: Exception) -> None:
        self.step = step
        self.error = error
        super().__init__(step, error)


@attrs.frozen
class Input:
    """An input batch that can be made again, since steps may change records in place before one fails."""

    batch: Batch
    again: Callable[[], list[Record]]


class Chain(Generic[T]):
    """The steps of a stage, ended by `finish`: what turns output records into what the stage does with them.

    `finish` is plain and quick, and may raise BadRecord to blame one of the records it is given.
    """

    def __init__(self, steps: list[Step], finish: Callable[[list[Record]], T], limits: Limits) -> None:
        self._steps = steps
        self._finish = finish
        self._limits = limits

    async def run(self, given: Input, contexts: list[StepContext]) -> Outcome[T]:
        """Process a batch; `contexts` holds one context a step. Raises Fatal only."""
        tries = 0
        batch = given.batch
        while True:
            tries += 1
            try:
                return await self._through(batch, contexts, 0)
            except _StepFailedError as failed:
                for context in contexts:
                    context.state.rollback()
                if not isinstance(failed.error, Retriable) or tries >= self._limits.attempts:
                    return await self._one_by_one(given, contexts, tries)
                contexts[0].metrics.retries += 1
                after = failed.error.after
                await contexts[0].sleep(self._limits.backoff.wait(tries) if after is None else after)
                batch = attrs.evolve(batch, records=given.again())

    async def tick(
        self, contexts: list[StepContext], ticks: Sequence[Callable[..., Iterable[Record]] | None]
    ) -> Outcome[T]:
        """Call the steps that want to be called as time passes; what they make runs through the steps after them."""
        outcome: Outcome[T] = Outcome([])
        for index, tick in enumerate(ticks):
            if tick is None:
                continue
            made = list(tick(contexts[index]))
            if not made:
                continue
            for record in made:
                if record.timestamp is None:
                    record.timestamp = contexts[index].now()
            rest = await self._through(
                Batch(made, contexts[index].topic, contexts[index].partition), contexts, index + 1
            )
            outcome.parts += rest.parts
            outcome.outputs += rest.outputs
            outcome.added += rest.outputs
        return outcome

    async def _through(self, batch: Batch, contexts: list[StepContext], first: int) -> Outcome[T]:
        """Run the steps from `first` on and finish; raises Fatal, and _StepFailedError for everything else."""
        outcome: Outcome[T] = Outcome([])
        # A failure stands alone as long as every record so far is its input record and nothing but records changed.
        separable = first == 0
        records = batch.records
        for step, context in zip(self._steps[first:], contexts[first:], strict=True):
            if not records:
                return outcome
            part = batch if records is batch.records else attrs.evolve(batch, records=records)
            try:
                result = await step.run(part, context)
            except Fatal:
                raise
            except SystemExit as error:
                raise Fatal(f"step {step.name} called sys.exit({error.code})") from error
            except Exception as error:
                raise _StepFailedError(step.name, error) from error
            if result.failed:
                if not separable or context.state.touched:
                    raise _StepFailedError(step.name, result.failed[0][1])
                outcome.failures += [Failure(r.origin, step.name, error, tries) for r, error, tries in result.failed]
            separable = separable and step.isolates and not result.added and not context.state.touched
            outcome.filtered += result.filtered
            outcome.added += result.added
            records = result.records
        while records:
            try:
                outcome.parts.append(self._finish(records))
                break
            except BadRecord as bad:
                reason = bad.why if isinstance(bad.why, Exception) else bad
                if not separable:
                    raise _StepFailedError(ENCODE, reason) from bad
                outcome.failures.append(Failure(records[bad.index].origin, ENCODE, reason, 1))
                records = records[: bad.index] + records[bad.index + 1 :]
        outcome.outputs = len(records)
        return outcome

    async def _one_by_one(self, given: Input, contexts: list[StepContext], tries: int) -> Outcome[T]:
        """Run each record through all steps alone, keeping the state changes of those that succeed."""
        outcome: Outcome[T] = Outcome([])
        batch = given.batch
        for count, record in enumerate(given.again()):
            if count % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            # A step may put another origin on a record it makes, never on the one it was given.
            origin = record.origin
            try:
                alone = await self._through(attrs.evolve(batch, records=[record]), contexts, 0)
            except _StepFailedError as failed:
                error = failed.error
                if isinstance(error, BadRecord) and isinstance(error.why, Exception):
                    error = error.why
                for context in contexts:
                    context.state.restore()
                outcome.failures.append(Failure(origin, failed.step, error, tries))
                continue
            for context in contexts:
                if alone.failures:
                    context.state.restore()
                else:
                    context.state.save()
            outcome.parts += alone.parts
            outcome.outputs += alone.outputs
            outcome.filtered += alone.filtered
            outcome.added += alone.added
            outcome.failures += alone.failures
        return outcome
