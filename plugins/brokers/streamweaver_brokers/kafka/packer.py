"""Putting rows of one partition into batches, in the encoding that is sent."""

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder

from streamweaver import Rows


class Packer:
    """Takes rows as they come: they are encoded while the processor has them at hand, and need not be kept.

    The hot path of sending: past the client's Python method for one record (0.8 us), to the encoder below it (0.25).
    """

    __slots__ = ("_batch", "_batches", "_count", "_make")

    def __init__(self, make: Callable[[], BatchBuilder]) -> None:
        self._make = make
        self._batch = make()
        self._count = 0
        self._batches: list[BatchBuilder] = []

    def add(self, rows: Rows) -> None:
        """Add rows behind those before, in columns of one length; a batch holds at least one record, however large."""
        append, count = self._batch._builder.append, self._count  # noqa: SLF001
        # The client's encoder wants lists of headers.
        headers: Iterable[Any] = map(list, rows.headers) if rows.headers else repeat([])
        for key, value, time, header in zip(rows.keys, rows.values, rows.timestamps, headers, strict=False):
            if append(count, time, key, value, header) is None:
                self._close(count)
                self._batch = self._make()
                append, count = self._batch._builder.append, 0  # noqa: SLF001
                append(0, time, key, value, header)
            count += 1
        self._count = count

    def finish(self) -> list[BatchBuilder]:
        """Return all batches, in order; nothing is added any more."""
        self._close(self._count)
        return self._batches

    def _close(self, count: int) -> None:
        self._batch._relative_offset = count  # noqa: SLF001
        # Closed, or the client may add what others send by themselves.
        self._batch.close()
        self._batches.append(self._batch)


def pack(make: Callable[[], BatchBuilder], parts: Iterable[Rows]) -> list[BatchBuilder]:
    """Put rows that are all there into batches."""
    packer = Packer(make)
    for rows in parts:
        packer.add(rows)
    return packer.finish()
