"""Changes of state as rows of the table `change`: what they look like, writing and reading them.

A row holds what one transaction has changed, or a part of it. The ids rise by one; rows go from the oldest on, when
what they hold has been folded into the table `state`, and the newest always stays, so that no id is used twice.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import msgspec

from streamweaver import CorruptLogError

Place: TypeAlias = tuple[str, int]
"""A store and a partition."""

Changes: TypeAlias = dict[Place, dict[bytes, bytes | None]]
"""New values by place and key; None stands for a value that is deleted."""

Row: TypeAlias = tuple[int, int, bytes]
"""A row of the table: id, crc, payload."""

PAYLOAD_BYTES = 1 << 20
"""A bigger payload is split, unless it is one value's."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, int, dict[bytes, bytes | None]]]).decode


def merged(parts: Iterable[Mapping[Place, Mapping[bytes, bytes | None]]]) -> Changes:
    """Return all changes as one: of several values for one key only the last counts."""
    found: Changes = {}
    for part in parts:
        for place, values in part.items():
            if place in found:
                found[place].update(values)
            else:
                found[place] = dict(values)
    return found


def rows_of(changes: Changes, first: int) -> list[Row]:
    """Return the rows that hold these changes, with ids from `first` on."""
    return [(number, _crc(number, payload), payload) for number, payload in enumerate(_payloads(changes), first)]


def _payloads(changes: Changes) -> Iterator[bytes]:
    payload = _encode([(store, partition, values) for (store, partition), values in changes.items()])
    count = sum(map(len, changes.values()))
    if len(payload) <= PAYLOAD_BYTES or count <= 1:
        yield payload
        return
    share = -(-count // max(2, -(-len(payload) // PAYLOAD_BYTES)))
    for place, values in changes.items():
        items = iter(values.items())
        while part := dict(islice(items, share)):
            yield from _payloads({place: part})


def decoded(row: Row) -> Changes | str:
    """Return the changes that a row holds, or what is wrong with it."""
    number, crc, payload = row
    if _crc(number, payload) != crc:
        return "checksum does not match"
    try:
        return {(store, partition): values for store, partition, values in _decode(payload)}
    except msgspec.DecodeError as error:
        return f"cannot be decoded ({error})"


def newest(connection: sqlite3.Connection) -> int:
    """Return the greatest id, 0 when there is none."""
    return int(connection.execute("SELECT ifnull(max(id), 0) FROM change").fetchone()[0])


def read(connection: sqlite3.Connection, path: Path, after: int) -> Iterator[tuple[int, int, Changes]]:
    """Go through the rows behind an id: the id, the size of the payload and the changes.

    Raises CorruptLogError where one is damaged or missing: state without it would be wrong.
    """
    expected = after + 1 if after else None
    for row in connection.execute("SELECT id, crc, payload FROM change WHERE id > ? ORDER BY id", (after,)):
        number = row[0]
        found = decoded(row) if expected in (None, number) else f"change {expected} is missing"
        if isinstance(found, str):
            raise CorruptLogError(
                f"{path}: state, change {number}: {found}; restore the file, or start with a new data folder"
            )
        expected = number + 1
        yield number, len(row[2]), found


def _crc(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(number.to_bytes(8, "big")))
