"""How rows become the payload of a chunk, and back.

A chunk is what one stored row of the table `chunk` holds: rows of one partition that were appended together. It
covers the offsets from `base` to `last`; after a compaction some of these may be missing from it, but the chunks of a
partition always cover its range without a gap, so a hole means loss.
"""

import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from operator import sub
from typing import TypeAlias

import attrs
import msgspec

from streamweaver import BrokerError, Headers, Rows
from streamweaver_brokers._columns import check_columns

CHUNK_BYTES = 1 << 20
"""A bigger payload is split, so that no reader has to decode much more than it may hand out."""

CHUNK_RECORDS = 2_000

OFFSET_BITS = 46
"""A chunk's id is the partition's id above, the last offset below: one seek finds the chunk that covers an offset.

46 bits last 22 years at 100,000 records a second and leave room for 131,071 partitions.
"""

Stored: TypeAlias = tuple[int, int, int, int, int, int, int, bytes]
"""A row of the table: id, base, newest, peak, stored, total, crc, payload."""

_header = struct.Struct(">6q")


class _Payload(msgspec.Struct, array_like=True, gc=False):
    values: list[bytes | None]
    keys: list[bytes | None] | None
    """None when no record has a key."""
    timestamps: int | list[int]
    """One number when all are equal; else the first, then the difference to the one before."""
    headers: list[Headers] | None
    skips: list[int] | None = None
    """After a compaction: the distance of each offset from `base`."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Payload).decode


@attrs.define(slots=True, eq=False)
class Chunk:
    """A decoded chunk; its lists are never changed, since several readers may hold them."""

    base: int
    last: int
    rows: Rows
    offsets: Sequence[int]
    size: int
    """Bytes of its payload."""

    def index(self, offset: int) -> int:
        """Return where the first record at `offset` or later stands."""
        if isinstance(self.offsets, range):
            return max(0, offset - self.base)
        return bisect_left(self.offsets, offset)


def key_of(partition_id: int, offset: int) -> int:
    """Return the id of a chunk of the partition whose last offset is `offset`."""
    return partition_id << OFFSET_BITS | offset


def offset_of(chunk_id: int) -> int:
    """Return the last offset of a chunk, from its id."""
    return chunk_id & (1 << OFFSET_BITS) - 1


def validate(topic: str, rows: Rows) -> None:
    """Raise BrokerError for rows that could be stored but not read again."""
    check_columns(topic, rows)
    for name, column in (("value", rows.values), ("key", rows.keys)):
        if wrong := set(map(type, column)) - {bytes, type(None)}:
            raise BrokerError(f"topic {topic}: got a {name} of type {wrong.pop().__name__}, expected bytes or None")
    if wrong := set(map(type, rows.timestamps)) - {int}:
        raise BrokerError(f"topic {topic}: got a timestamp of type {wrong.pop().__name__}, expected int")
    if rows.timestamps and not -(1 << 62) < min(rows.timestamps) <= max(rows.timestamps) < 1 << 62:
        raise BrokerError(f"topic {topic}: got a timestamp beyond 62 bits, expected milliseconds since 1970")
    if rows.headers:
        try:
            msgspec.convert(rows.headers, list[Headers], builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise BrokerError(f"topic {topic}: headers: {error}; expected pairs of str and bytes") from error


def encode(rows: Rows, skips: list[int] | None = None) -> bytes:
    """Turn columns into a payload."""
    keys = None if rows.keys.count(None) == len(rows.keys) else rows.keys
    times = rows.timestamps
    compact: int | list[int]
    if times and times.count(times[0]) == len(times):
        compact = times[0]
    else:
        compact = [*times[:1], *map(sub, islice(times, 1, None), times)]
    headers = rows.headers if rows.headers and any(rows.headers) else None
    if skips is None:
        return _encode((rows.values, keys, compact, headers))
    return _encode((rows.values, keys, compact, headers, skips))


def checksum(chunk_id: int, base: int, newest: int, peak: int, stored: int, total: int, payload: bytes) -> int:
    """Return the CRC of a stored row, over its numbers and its payload."""
    return zlib.crc32(payload, zlib.crc32(_header.pack(chunk_id, base, newest, peak, stored, total)))


def is_whole(row: Stored) -> bool:
    """Whether the row is what was written."""
    chunk_id, base, newest, peak, stored, total, crc, payload = row
    try:
        return checksum(chunk_id, base, newest, peak, stored, total, payload) == crc
    except (struct.error, TypeError):
        return False


def decode(row: Stored) -> Chunk:
    """Turn a whole row into its chunk."""
    payload = row[7]
    base, last = row[1], offset_of(row[0])
    found = _decode(payload)
    count = len(found.values)
    times = found.timestamps
    rows = Rows(
        found.keys if found.keys is not None else [None] * count,
        found.values,
        [times] * count if isinstance(times, int) else list(accumulate(times)),
        found.headers,
    )
    offsets = range(base, last + 1) if found.skips is None else [base + skip for skip in found.skips]
    return Chunk(base, last, rows, offsets, len(payload))


def joined(parts: Sequence[Rows]) -> Rows:
    """Return all rows of all parts in order, in lists that are shared with nobody."""
    rows = Rows(list(parts[0].keys), list(parts[0].values), list(parts[0].timestamps))
    for part in parts[1:]:
        rows.keys += part.keys
        rows.values += part.values
        rows.timestamps += part.timestamps
    if any(part.headers for part in parts):
        rows.headers = [headers for part in parts for headers in part.headers or [()] * len(part)]
    return rows


def cut(rows: Rows, start: int, stop: int) -> Rows:
    """Return the rows from `start` up to `stop`, in lists of their own."""
    return Rows(
        rows.keys[start:stop],
        rows.values[start:stop],
        rows.timestamps[start:stop],
        rows.headers[start:stop] if rows.headers else None,
    )


def payloads(rows: Rows) -> Iterator[tuple[Rows, bytes]]:
    """Split rows into parts of a moderate size and encode each."""
    count = len(rows)
    if count <= CHUNK_RECORDS:
        payload = encode(rows)
        if len(payload) <= CHUNK_BYTES or count == 1:
            yield rows, payload
            return
    for part in _halves(rows, count):
        yield from payloads(part)


def _halves(rows: Rows, count: int) -> Iterable[Rows]:
    return cut(rows, 0, count // 2), cut(rows, count // 2, count)
