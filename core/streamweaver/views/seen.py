"""Records as views see them: decoded once, in columns, shared by everything that shows them."""

from collections.abc import Callable, Sequence
from operator import lt
from typing import Any

import attrs

from streamweaver.contracts import Codec, Fetched
from streamweaver.record import Batch, Headers


class Undecodable:
    """Stands in a value's place."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


@attrs.define(slots=True, eq=False)
class Seen:
    """Records of one partition, in order."""

    topic: str
    partition: int
    offsets: Sequence[int]
    """-1 where it is not known."""
    times: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[Any]
    raws: Sequence[bytes | None]
    headers: Sequence[Headers] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def part(self, indexes: Sequence[int]) -> "Seen":
        """Return some of the records."""
        return Seen(
            self.topic,
            self.partition,
            [self.offsets[i] for i in indexes],
            [self.times[i] for i in indexes],
            [self.keys[i] for i in indexes],
            [self.values[i] for i in indexes],
            [self.raws[i] for i in indexes],
            None if self.headers is None else [self.headers[i] for i in indexes],
        )


def decode(rows: Fetched, codec: Codec) -> Seen:
    """Decode fetched rows; what cannot be decoded stays, marked."""
    decode_one = codec.decode
    try:
        values = [None if raw is None else decode_one(raw) for raw in rows.values]
    except Exception:
        values = [_decode_somehow(raw, decode_one) for raw in rows.values]
    return Seen(rows.topic, rows.partition, rows.offsets, rows.timestamps, rows.keys, values, rows.values, rows.headers)


def _decode_somehow(raw: bytes | None, decode_one: Callable[[bytes], Any]) -> Any:
    try:
        return None if raw is None else decode_one(raw)
    except Exception as error:  # a codec may raise anything; the record is shown as it is
        return Undecodable(f"{type(error).__name__}: {error}")


def seen_of(batch: Batch, now: int) -> Seen:
    """Return a stage's batch as views see it; a record without a time is of `now`.

    Where steps have added or moved records, none of the offsets is told.
    """
    records = batch.records
    return Seen(
        batch.topic,
        batch.partition,
        _offsets(batch),
        [now if record.timestamp is None else record.timestamp for record in records],
        [_key(record.key) for record in records],
        [record.value for record in records],
        [None] * len(records),
        [record.headers for record in records],
    )


def _offsets(batch: Batch) -> list[int]:
    """Return the offset of each record, if each came from a row of its own, in their order; else -1 for all."""
    origins = [record.origin for record in batch.records]
    if origins[0] >= 0 and all(map(lt, origins, origins[1:])):
        found = [batch.offset(index) for index in range(len(origins))]
        known = [offset for offset in found if offset is not None]
        if len(known) == len(found):
            return known
    return [-1] * len(origins)


def _key(key: bytes | str | None) -> bytes | None:
    # A step may have made a key that UTF-8 has no bytes for; it is shown all the same.
    return key.encode(errors="backslashreplace") if isinstance(key, str) else key


def in_order(batches: list[Seen]) -> list[Seen]:
    """Merge batches of several partitions into the order of time, cut where another partition comes in between."""
    batches = [batch for batch in batches if len(batch)]
    if len({batch.partition for batch in batches}) < 2:
        return batches
    order = sorted(
        ((time, number, index) for number, batch in enumerate(batches) for index, time in enumerate(batch.times)),
        key=lambda item: item[0],
    )
    merged: list[Seen] = []
    run: list[int] = []
    current = -1
    for _, number, index in order:
        if number != current and run:
            merged.append(batches[current].part(run))
            run = []
        current = number
        run.append(index)
    if run:
        merged.append(batches[current].part(run))
    return merged
