"""Read by the type checker only: what fits a contract, and what does not."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import attrs

from streamweaver import (
    Batch,
    Codec,
    Context,
    Producer,
    ProducerContext,
    Record,
    RecordSink,
    RecordTransform,
    Rejected,
    Sink,
    State,
    Transform,
    TransformContext,
)
from streamweaver.codecs import Bytes, Json, Msgpack, Text
from streamweaver.testing import FakeContext, FakeState


@attrs.define
class AsyncProducer:
    """An async generator method."""

    async def produce(self, context: ProducerContext) -> AsyncIterator[Record]:
        """Yield one record."""
        yield Record(context.position)


@attrs.define
class PlainProducer:
    """A plain generator method that also rejects, and yields lists."""

    def produce(self, context: ProducerContext) -> Iterator[Record | Rejected | list[Record]]:
        """Yield each form."""
        yield Record(context.emitted)
        yield Rejected(b"", "empty")
        yield [Record(1), Record(2)]


@attrs.define
class Generated:
    """A transform that yields."""

    def process(self, batch: Batch, context: TransformContext) -> Iterator[Record]:
        """Hand all on."""
        yield from batch


@attrs.define
class Awaited:
    """A transform that awaits."""

    async def process(self, batch: Batch, context: TransformContext) -> list[Record]:
        """Hand all on."""
        return batch.records


@attrs.define
class Each:
    """A transform and a sink, a record at a time."""

    def process_record(self, record: Record, context: TransformContext) -> Record | None:
        """Hand it on."""
        return record

    async def write_record(self, record: Record) -> None:
        """Take it."""


@attrs.define
class PlainSink:
    """A sink that does not await."""

    def write(self, batch: Batch) -> None:
        """Take a batch."""


@attrs.define
class AsyncSink:
    """A sink that awaits."""

    async def write(self, batch: Batch) -> None:
        """Take a batch."""


producers: list[Producer] = [AsyncProducer(), PlainProducer()]
transforms: list[Transform] = [Generated(), Awaited()]
record_transform: RecordTransform = Each()
sinks: list[Sink] = [PlainSink(), AsyncSink()]
record_sink: RecordSink = Each()
codecs: list[Codec] = [Json(), Msgpack(), Text(), Bytes()]

context: Context = FakeContext()
producer_context: ProducerContext = FakeContext()
state: State = FakeState()


@attrs.define
class WritesText:
    """Takes what no engine hands out."""

    def write(self, batch: str) -> None:
        """Take a text."""


@attrs.define
class ReturnsText:
    """Returns what no engine can hand on."""

    def process(self, batch: Batch, context: TransformContext) -> Iterable[str]:
        """Return texts."""
        return []


@attrs.define
class ForgetsContext:
    """Has the verb, but not its parameters."""

    def produce(self) -> Iterator[Record]:
        """Yield nothing."""
        yield from ()


@attrs.define
class OneWay:
    """Encodes only."""

    def encode(self, value: Any) -> bytes:
        """Encode."""
        return bytes(value)


wrong_sink: Sink = WritesText()  # type: ignore[assignment]
wrong_transform: Transform = ReturnsText()  # type: ignore[assignment]
wrong_producer: Producer = ForgetsContext()  # type: ignore[assignment]
wrong_codec: Codec = OneWay()  # type: ignore[assignment]
wrong_kind: Producer = PlainSink()  # type: ignore[assignment]
