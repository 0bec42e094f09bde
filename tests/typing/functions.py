"""Read by the type checker only: what decorators do to the types of functions and classes (nothing)."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, assert_type

import attrs

from streamweaver import (
    Batch,
    ProducerContext,
    Record,
    Rejected,
    TransformContext,
    broker,
    codec,
    option,
    producer,
    sink,
    transform,
)


@transform
def bare(record: Record, *, field: str = "content") -> Record | None:
    """A decorator without parentheses."""
    return record if field in record.value else None


@transform("named", groups_by="field")
async def named(record: Record, context: TransformContext, *, field: Annotated[str, "help"]) -> list[Record]:
    """A decorator with a name and declarations."""
    return [record] if field in context.state else []


@transform(blocking=True)
def batched(batch: Batch) -> list[Record]:
    """A decorator with declarations only."""
    return batch.records


@producer
async def ticks(context: ProducerContext, *, every_seconds: float = 1.0) -> AsyncIterator[Record]:
    """An async generator that takes the context."""
    yield Record(context.now())


@producer("lines", blocking=True, resumes=True)
def lines(*, path: str) -> Iterator[Record | Rejected]:
    """A plain generator."""
    yield Record(path)
    yield Rejected(b"", "empty")


@sink(delivery="best_effort", single=True)
def show(record: Record, *, prefix: str = "") -> None:
    """A function as a sink."""


@sink("kept")
@attrs.define
class Kept:
    """A class stays the class that it was."""

    size: int = option(help="how many", default=3)

    def write(self, batch: Batch) -> None:
        """Take a batch."""


@codec
@attrs.define
class Plain:
    """A codec."""


@broker
@attrs.define
class Log:
    """A broker."""


async def uses() -> None:
    """Every call below has the type that the undecorated function would have."""
    record = Record({"content": "hi"})
    assert_type(bare(record, field="content"), Record | None)
    assert_type(batched(Batch([record])), list[Record])
    assert_type(lines(path="x"), Iterator[Record | Rejected])
    assert_type(Kept(size=1), Kept)
    assert_type(Kept(size=1).size, int)
    assert_type(Plain(), Plain)
    assert_type(Log(), Log)
    show(record, prefix="> ")

    bare("text")  # type: ignore[arg-type]
    bare(record, "content")  # type: ignore[call-arg]
    bare(record, feild="content")  # type: ignore[call-arg]
    lines()  # type: ignore[call-arg]
    Kept(size="1")  # type: ignore[arg-type]


async def uses_coroutines(context: TransformContext, produced: ProducerContext) -> None:
    """Coroutine functions and async generators stay what they were."""
    assert_type(await named(Record(1), context, field="a"), list[Record])
    assert_type(ticks(produced, every_seconds=2.0), AsyncIterator[Record])
    async for tick in ticks(produced):
        assert_type(tick, Record)


sink("x", delivery="twice")  # type: ignore[call-overload]
transform("x", groupsby="field")  # type: ignore[call-overload]
producer(resumes="yes")  # type: ignore[call-overload]
producer(7)  # type: ignore[call-overload]
