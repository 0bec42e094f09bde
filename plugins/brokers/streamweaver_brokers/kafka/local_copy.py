"""Tables on disk, so that a new process reads only what is new of its state topic.

A copy is never trusted by itself: it names the last record that it holds, and whoever takes it up looks whether that
record is still in its place (`table.restore`). So copies may be old, torn, of another cluster, or missing.

A table goes on changing while it is copied, in pieces, since copying or encoding a large one at once would hold up
everything else in the process. What keys had that change meanwhile is kept (`Table.replaced`) and written last, so that
a copy as a whole is the table at the moment at which it was begun.
"""

import asyncio
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from streamweaver_brokers.kafka.store import Part, Store
from streamweaver_brokers.kafka.table import Last, Table

VERSION = 2

PIECE_VALUES = 4_000
"""About how many values are copied, encoded or decoded at once: some milliseconds."""

BROKEN_OFF_SECONDS = 3600.0
"""A copy that is not whole and was not written to for so long is nobody's: its process was killed."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class LocalCopies:
    """The copies of one group's tables, in the data folder."""

    def __init__(self, folder: Path, group: str, log: Callable[..., None]) -> None:
        self._folder = folder / "state" / group
        self._log = log
        self._turn = asyncio.Lock()
        """Copies are written one after the other: a table that is copied cannot be copied."""
        self._failed: str | None = None

    async def take_up(self, number: int) -> Table:
        """Return the table of a copy that is whole, still to be verified; an empty one otherwise."""
        path = self._path(number)
        await asyncio.to_thread(_clean, path.parent)
        found = await asyncio.to_thread(_read, path)
        if found is None:
            return Table()
        age, table = found
        table.fresh_at = time.monotonic() - age
        return table

    async def put_down(self, tables: Mapping[int, Table]) -> None:
        """Write tables as they are now, if they have changed; what cannot be written is only read anew later."""
        for number, table in tables.items():
            async with self._turn:
                if table.last is None or table.last == table.copied or not table.is_verified:
                    continue
                last = table.last
                try:
                    await _write(self._path(number), table, last)
                except OSError as error:
                    self._cannot(error)
                except _ClearedError:
                    pass  # what it will hold is copied the next time
                else:
                    self._failed = None

    def _cannot(self, error: OSError) -> None:
        reason = error.strerror or repr(error)
        # The next try follows soon, and there are many tables: each reason is told once.
        if reason != self._failed:
            self._failed = reason
            self._log(
                "warning",
                "local copy of the state cannot be written",
                path=error.filename or str(self._folder),
                reason=reason,
                hint="the next start reads all of the state from its topic",
            )

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.copy"


# -- the file: frames, each its length and a MessagePack value; then the checksum of all of them ------------


class _ClearedError(Exception):
    """The table was cleared while it was copied."""


async def _write(path: Path, table: Table, last: Last) -> None:
    age = time.monotonic() - table.fresh_at
    head = (VERSION, time.time() - age, table.next_offset, last)
    new = path.with_suffix(f".{os.getpid()}.new")
    creating = asyncio.create_task(asyncio.to_thread(_created, new))
    table.replaced = {}
    try:
        file = await asyncio.shield(creating)
        check = await asyncio.to_thread(_put, file, head, 0)
        for piece in _pieces(table):
            check = await asyncio.to_thread(_put, file, piece, check)
        if table.replaced is None:
            raise _ClearedError
        await asyncio.to_thread(_finish, file, check, new, path)
        if table.replaced is not None:
            table.copied = last
    except BaseException:
        # A thread is not cancelled along with us: what it creates is waited for, so that nothing of it stays.
        file = await creating
        with suppress(OSError):  # a full disk shows here once more
            file.close()
        new.unlink(missing_ok=True)
        raise
    finally:
        table.replaced = None


def _pieces(table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """Go through copies of a table's parts, then through what was there before it changed meanwhile."""
    piece: list[tuple[Any, ...]] = []
    size = 0
    for name, store in list(table.stores.items()):
        for number, part in enumerate(store.parts):
            if part:
                piece.append((name, number, part.copy()))
                size += len(part)
            if size >= PIECE_VALUES:
                yield piece
                piece, size = [], 0
    yield piece
    replaced = iter(list((table.replaced or {}).items()))
    while before := dict(islice(replaced, PIECE_VALUES)):
        yield [(before,)]


def _created(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Another worker of this machine may write the same one.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _clean(folder: Path) -> None:
    """Remove what processes that were killed have left of copies."""
    for path in folder.glob("*.new"):
        with suppress(OSError):  # another worker may be quicker
            if time.time() - path.stat().st_mtime > BROKEN_OFF_SECONDS:
                path.unlink()


def _put(file: BinaryIO, value: Any, check: int) -> int:
    data = _encode(value)
    frame = len(data).to_bytes(8, "big")
    file.write(frame)
    file.write(data)
    return zlib.crc32(data, zlib.crc32(frame, check))


def _finish(file: BinaryIO, check: int, new: Path, path: Path) -> None:
    with file:
        file.write(check.to_bytes(4, "big"))
    new.replace(path)


def _frames(data: memoryview) -> Iterator[Any]:
    at = 0
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 8], "big")
        yield _decode(data[at + 8 : end])
        at = end


def _read(path: Path) -> tuple[float, Table] | None:
    try:
        data = memoryview(path.read_bytes())
        if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "big"):
            return None
        frames = _frames(data[:-4])
        version, fresh_at, next_offset, last = next(frames)
        age = time.time() - fresh_at
        if version != VERSION or age < 0:
            return None
        found = Last(*last)
        table = Table(next_offset=next_offset, last=found, copied=found, is_verified=False)
        for piece in frames:
            for each in piece:
                _take(table, *each)
    except (OSError, ValueError, TypeError, StopIteration, msgspec.DecodeError):
        return None
    return age, table


def _take(table: Table, first: str | Mapping[bytes, bytes | None], number: int = 0, part: Part | None = None) -> None:
    """Take over a part of a store, or what keys had that changed while others were written."""
    if isinstance(first, str) and part is not None:
        table.stores.setdefault(first, Store()).parts[number] = part
    elif isinstance(first, Mapping):
        for key, value in first.items():
            table.set(key, value)
