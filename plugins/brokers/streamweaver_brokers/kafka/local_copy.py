"""Tables on disk, so that a new process reads only what is new of its state topic.

A copy is never trusted by itself: it names the last record that it holds, and whoever takes it up looks whether that
record is still in its place (`table.restore`). So copies may be old, torn, of another cluster, or missing.
"""

import asyncio
import contextlib
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from streamweaver_brokers.kafka.table import Last, Table

_VERSION = 1


def _path(folder: Path, group: str, number: int) -> Path:
    return folder / "state" / group / f"{number}.copy"


async def take_up(folder: Path, group: str, number: int) -> Table:
    """Return the table of a copy that is whole, still to be verified; an empty one otherwise."""
    found = await asyncio.to_thread(_read, _path(folder, group, number))
    if found is None:
        return Table()
    age, table = found
    table.fresh_at = asyncio.get_running_loop().time() - age
    return table


def _read(path: Path) -> tuple[float, Table] | None:
    try:
        data = path.read_bytes()
        body = memoryview(data)[4:]
        if zlib.crc32(body) != int.from_bytes(data[:4], "big"):
            return None
        version, taken_at, next_offset, last, stores = msgspec.msgpack.decode(body)
    except (OSError, ValueError, msgspec.DecodeError):
        return None
    age = time.time() - taken_at
    if version != _VERSION or age < 0:
        return None
    found = Last(*last)
    return age, Table(next_offset=next_offset, stores=stores, last=found, copied=found, is_verified=False)


async def put_down(folder: Path, group: str, tables: Mapping[int, Table]) -> None:
    """Write tables as they are now, if they have changed; what cannot be written is only read anew later."""
    for number, table in tables.items():
        if table.last is None or table.last == table.copied or not table.is_verified:
            continue
        table.copied = table.last
        # Copied now, written in a thread: the table goes on changing meanwhile.
        stores = {name: dict(values) for name, values in table.stores.items()}
        body = (_VERSION, time.time(), table.next_offset, table.last, stores)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(_write, _path(folder, group, number), body)


def _write(path: Path, body: tuple[Any, ...]) -> None:
    data = msgspec.msgpack.encode(body)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Another worker of this machine may write the same one.
    new = path.with_suffix(f".{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(zlib.crc32(data).to_bytes(4, "big"))
        file.write(data)
    new.replace(path)
