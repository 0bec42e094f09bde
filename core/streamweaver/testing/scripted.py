"""Producers and sinks that do what a test says: end, crash, stall, reject, or change the order, at a given record."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import attrs

from streamweaver.contracts import ProducerContext
from streamweaver.decorators import producer, sink
from streamweaver.errors import BadRecord, Retriable
from streamweaver.record import Batch, Record, Rejected


def scripted_producer(
    values: Sequence[Any],
    *,
    name: str = "scripted",
    order: Sequence[int] | None = None,
    crash_at: Collection[int] = (),
    reject_at: Collection[int] = (),
    stall_at: int | None = None,
    ends: bool = True,
) -> Callable[..., AsyncIterator[Record | Rejected]]:
    """Return a producer, to be used by its name in a pipeline, that brings these values as records and resumes.

    Numbers count from 0 in what it brings, `order` says which value each is. Before a record of `crash_at` it raises,
    once for each; one of `reject_at` is input that cannot be read; before `stall_at` it stops bringing anything.
    Without `ends` it waits for more when all is brought, as a follower of news does.
    """
    chosen = list(values) if order is None else [values[place] for place in order]
    left = set(crash_at)

    @producer(name, resumes=True, example=f"{{use: {name}}}")
    async def scripted(context: ProducerContext) -> AsyncIterator[Record | Rejected]:
        """Bring what a test says."""
        for number in range(context.position or 0, len(chosen)):
            if number in left:
                left.remove(number)
                raise RuntimeError(f"scripted crash before record {number}")
            if number == stall_at:
                await asyncio.Event().wait()
            if number in reject_at:
                yield Rejected(repr(chosen[number]).encode(), "scripted", position=number + 1)
            else:
                yield Record(chosen[number], position=number + 1)
        if not ends:
            await asyncio.Event().wait()

    return scripted


def scripted_sink(
    *,
    name: str = "scripted",
    crash_at: Collection[int] = (),
    retry_at: Collection[int] = (),
    reject: Callable[[Any], bool] = lambda _value: False,
    stall_at: int | None = None,
) -> "tuple[type[Any], list[Any]]":
    """Return a sink, to be used by its name in a pipeline, and the list in which it keeps the values it has taken.

    Numbers count the values that it has taken, from 0. A batch that would reach one of `crash_at` raises, one of
    `retry_at` asks for another try (each once), at `stall_at` it takes no more. `reject` chooses the bad values.
    """
    taken: list[Any] = []
    crashes, retries = set(crash_at), set(retry_at)

    def due(numbers: set[int], batch: Batch) -> bool:
        met = {number for number in numbers if len(taken) <= number < len(taken) + len(batch)}
        numbers -= met
        return bool(met)

    @sink(name, example=f"{{use: {name}}}")
    @attrs.define
    class Scripted:
        """Take what a test says."""

        async def write(self, batch: Batch) -> None:
            """Take a batch."""
            if due(crashes, batch):
                raise RuntimeError(f"scripted crash after {len(taken)} records")
            if due(retries, batch):
                raise Retriable("scripted", after=0.0)
            if stall_at is not None and stall_at < len(taken) + len(batch):
                await asyncio.Event().wait()
            for index, record in enumerate(batch):
                if reject(record.value):
                    raise BadRecord(index, "scripted")
            taken.extend(record.value for record in batch)

    return Scripted, taken
