"""A stage's steps over one batch: all at once when all is well, one record at a time when something is not.

The result always accounts for each input record: it led to outputs, was filtered, or failed.
"""

import asyncio
from collections.abc import Callable, Container, Sequence
from typing import Generic, TypeVar

import attrs

from streamweaver.errors import BadRecord, Fatal, Retriable
from streamweaver.record import Batch, Record
from streamweaver.runtime.context import StepContext
from streamweaver.runtime.plugin_life import stray
from streamweaver.runtime.step import Limits, Result, Step, Tick
from streamweaver.text import classed

T = TypeVar("T")

ENCODE = "encode"
"""Stands for the step in a failure to encode an output record."""

# The slow path lets other tasks run after this many records.
_BREATH = 50

# Each record that a batch transform blames costs another call with the rest; beyond this, all are tried alone.
_BLAMED = 10


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
    unfinished: list[tuple[Record, Exception]] = attrs.field(factory=list)
    """Records that a tick made and `finish` refused, each with the reason: there is no input record to blame."""


class _StepFailedError(Exception):
    """A step failed for the batch as a whole, or for a record that cannot be told apart from its neighbours."""

    def __init__(self, step: str, error: Exception, *, tries: int = 0, blamed: int | None = None) -> None:
        self.step = step
        self.error = error.why if isinstance(error, BadRecord) and isinstance(error.why, Exception) else error
        self.tries = tries
        """How often the step itself has tried already; 0 when it has left that to the chain."""
        self.blamed = blamed
        """Origin of the record that the step blames, if it has named one."""
        super().__init__(step, error)

    @property
    def temporary(self) -> bool:
        """Whether another try of the whole batch may help."""
        return isinstance(self.error, Retriable | TimeoutError) and not self.tries


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
        blamed: dict[int, Failure] = {}
        while True:
            tries += 1
            try:
                outcome = await self._through(batch, contexts, 0)
                self._save(contexts)
            except _StepFailedError as failed:
                for context in contexts:
                    context.state.restore()
                if failed.blamed is not None and failed.blamed not in blamed and len(blamed) < _BLAMED:
                    blamed[failed.blamed] = Failure(failed.blamed, failed.step, failed.error, 1)
                    tries = 0
                elif failed.temporary and tries < self._limits.attempts:
                    await self._pause(contexts[0], failed.error, tries)
                else:
                    # Where the batch as a whole has used up its tries, each record has one more, alone.
                    most = 1 if failed.temporary else self._limits.attempts
                    outcome = await self._one_by_one(given, contexts, tries, blamed, most)
                    break
                batch = attrs.evolve(batch, records=[r for r in given.again() if r.origin not in blamed])
            else:
                break
        outcome.failures = sorted([*outcome.failures, *blamed.values()], key=lambda failure: failure.origin)
        return outcome

    async def _pause(self, context: StepContext, error: Exception, tries: int) -> None:
        context.metrics.retries += 1
        await context.sleep(self._limits.wait(error, tries))

    def _save(self, contexts: list[StepContext]) -> None:
        """Keep the state as it is now; a value that cannot be stored is a failure of its step."""
        changes = []
        for step, context in zip(self._steps, contexts, strict=True):
            try:
                changes.append(context.state.encoded())
            except Exception as error:
                raise _StepFailedError(step.name, error) from error
        for context, encoded in zip(contexts, changes, strict=True):
            context.state.save(encoded)

    async def tick(self, contexts: list[StepContext], ticks: Sequence[Tick | None]) -> Outcome[T]:
        """Call the steps that want to be called as time passes; what they make runs through the steps after them.

        A record that `finish` refuses is `unfinished`. Raises Fatal for everything else that fails.
        """
        outcome: Outcome[T] = Outcome([])
        for index, tick in enumerate(ticks):
            if tick is None:
                continue
            step, context = self._steps[index], contexts[index]
            try:
                rest = await self._ticked(await tick(context), contexts, index)
                self._save(contexts)
            except Fatal:
                raise
            except _StepFailedError as failed:
                raise Fatal(
                    f"step {failed.step} failed for what the tick of {step.name} made: {failed.error}"
                ) from failed
            except (Exception, SystemExit) as error:
                raise Fatal(f"the tick of step {step.name} failed: {classed(error)}") from error
            outcome.parts += rest.parts
            outcome.outputs += rest.outputs
            outcome.added += rest.outputs
            outcome.unfinished += rest.unfinished
        return outcome

    async def _ticked(self, made: list[Record], contexts: list[StepContext], index: int) -> Outcome[T]:
        if not made:
            return Outcome([])
        context = contexts[index]
        for record in made:
            if record.timestamp is None:
                record.timestamp = context.now()
        return await self._through(Batch(made, context.topic, context.partition, 0, -1), contexts, index + 1)

    async def _through(self, batch: Batch, contexts: list[StepContext], first: int) -> Outcome[T]:
        """Run the steps from `first` on and finish; raises Fatal, and _StepFailedError for everything else."""
        outcome: Outcome[T] = Outcome([])
        # A failure stands alone as long as every record so far is its input record and nothing but records changed.
        separable = first == 0
        # An origin is exact as long as no step has made records of a whole batch.
        exact = first == 0
        records = batch.records
        for step, context in zip(self._steps[first:], contexts[first:], strict=True):
            if not records:
                return outcome
            part = batch if records is batch.records else attrs.evolve(batch, records=records)
            result = await self._run_step(step, part, context, exact=exact)
            if result.failed:
                if not separable or context.state.touched:
                    _, failure, tries = result.failed[0]
                    raise _StepFailedError(step.name, failure, tries=tries)
                outcome.failures += [Failure(r.origin, step.name, error, tries) for r, error, tries in result.failed]
            separable = separable and step.isolates and not result.added and not context.state.touched
            exact = exact and step.isolates
            outcome.filtered += result.filtered
            outcome.added += result.added
            records = result.records
        while records:
            try:
                outcome.parts.append(self._finish(records))
                break
            except BadRecord as bad:
                reason = bad.why if isinstance(bad.why, Exception) else bad
                if first:
                    outcome.unfinished.append((records[bad.index], reason))
                elif not separable:
                    raise _StepFailedError(ENCODE, reason) from bad
                else:
                    outcome.failures.append(Failure(records[bad.index].origin, ENCODE, reason, 1))
                records = records[: bad.index] + records[bad.index + 1 :]
        outcome.outputs = len(records)
        return outcome

    @staticmethod
    async def _run_step(step: Step, batch: Batch, context: StepContext, *, exact: bool) -> Result:
        """Run one step; `exact` says that a record's origin is the input record that the step may blame."""
        try:
            return await step.run(batch, context)
        except Fatal:
            raise
        except SystemExit as error:
            raise Fatal(f"step {step.name} called sys.exit({error.code})") from error
        except asyncio.CancelledError as error:
            raise _StepFailedError(step.name, stray(error)) from error
        except Exception as error:
            blamed = None
            if exact and isinstance(error, BadRecord) and 0 <= error.index < len(batch.records):
                blamed = batch.records[error.index].origin
            raise _StepFailedError(step.name, error, blamed=blamed) from error

    async def _one_by_one(
        self, given: Input, contexts: list[StepContext], tries: int, blamed: Container[int], most: int
    ) -> Outcome[T]:
        """Run each record through all steps alone, keeping the state changes of those that succeed."""
        outcome: Outcome[T] = Outcome([])
        for count, record in enumerate(given.again()):
            # A step may put another origin on a record it makes, never on the one it was given.
            origin = record.origin
            if origin in blamed:
                continue
            if count % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            try:
                alone = await self._alone(given, record, contexts, most)
            except _StepFailedError as failed:
                outcome.failures.append(Failure(origin, failed.step, failed.error, max(tries, failed.tries)))
            else:
                outcome.parts += alone.parts
                outcome.outputs += alone.outputs
                outcome.filtered += alone.filtered
                outcome.added += alone.added
                outcome.failures += alone.failures
        return outcome

    async def _alone(self, given: Input, record: Record, contexts: list[StepContext], most: int) -> Outcome[T]:
        """Run one record through all steps, up to `most` times where another try may help."""
        origin = record.origin
        tries = 0
        while True:
            tries += 1
            try:
                alone = await self._through(attrs.evolve(given.batch, records=[record]), contexts, 0)
                if not alone.failures:
                    self._save(contexts)
                return alone
            except _StepFailedError as failed:
                if not failed.temporary or tries >= most:
                    failed.tries = failed.tries or tries
                    raise
                await self._pause(contexts[0], failed.error, tries)
            finally:
                for context in contexts:
                    context.state.restore()
            record = next(again for again in given.again() if again.origin == origin)
