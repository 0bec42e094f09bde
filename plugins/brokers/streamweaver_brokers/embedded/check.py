"""Verifying a log: what is damaged, what that costs, and what can be saved."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import attrs
import msgspec

from streamweaver import CorruptLogError
from streamweaver_brokers.embedded import changes, schema
from streamweaver_brokers.embedded.failure import mapped
from streamweaver_brokers.embedded.rows import Stored, decode, is_whole, key_of, offset_of


@attrs.frozen
class Damage:
    """One thing that is wrong. The offsets from `first` to `last` of the partition are concerned, if any are."""

    message: str
    topic: str | None = None
    partition: int | None = None
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        if self.topic is None:
            return self.message
        where = f"topic {self.topic}, partition {self.partition}"
        return (
            f"{where}: {self.message}"
            if self.first is None
            else (f"{where}, offsets {self.first} to {self.last}: {self.message}")
        )


def check(path: Path) -> list[Damage]:
    """Verify the log in a data folder (or the file itself); an empty list means that every record is whole.

    Reads everything, changes nothing, and may run beside the pipeline. Raises BrokerError when there is no log, and
    FormatVersionError when it is of another version.
    """
    folder = path.parent if path.name == schema.NAME else path
    path = folder / schema.NAME
    try:
        connection, _ = schema.open_for_tool(folder, "full")
    except CorruptLogError as error:
        # What SQLite said, without the hint to run this check.
        return [Damage(f"{path}: {error.__cause__ or error}")]
    try:
        # One snapshot, so that what the pipeline does meanwhile does not look like damage.
        with mapped(path):
            connection.execute("BEGIN")
        return [*_file(connection, path), *_partitions(connection, path), *_changes(connection)]
    finally:
        connection.close()


def _file(connection: sqlite3.Connection, path: Path) -> Iterator[Damage]:
    try:
        for (line,) in connection.execute("PRAGMA integrity_check(20)").fetchall():
            if line != "ok":
                yield Damage(f"{path}: {line}")
    except sqlite3.DatabaseError as error:
        yield Damage(f"{path}: {error}")


def _partitions(connection: sqlite3.Connection, path: Path) -> Iterator[Damage]:
    try:
        partitions = connection.execute(
            "SELECT id, topic, number, begin FROM partition ORDER BY topic, number"
        ).fetchall()
        consumed = connection.execute("SELECT consumer, partition, offset FROM consumed").fetchall()
    except sqlite3.DatabaseError as error:
        yield Damage(f"{path}: {error}")
        return
    ends: dict[int, int] = {}
    for partition_id, topic, number, begin in partitions:
        end = begin
        for found in _chunks(connection, partition_id, topic, number, begin):
            if isinstance(found, Damage):
                yield found
            else:
                end = found
        ends[partition_id] = end
    names = {partition_id: (topic, number) for partition_id, topic, number, _ in partitions}
    for group, partition_id, offset in consumed:
        if partition_id not in names:
            yield Damage(f"group {group} has consumed from a partition that does not exist (id {partition_id})")
        elif offset > ends[partition_id]:
            yield Damage(
                f"group {group} has consumed up to {offset}, but the partition ends at {ends[partition_id]}: "
                "newer records are missing",
                *names[partition_id],
            )


def _changes(connection: sqlite3.Connection) -> Iterator[Damage]:
    """Verify the changes of state that are not folded yet."""
    after = expected = 0
    try:
        while row := connection.execute("SELECT * FROM change WHERE id > ? ORDER BY id LIMIT 1", (after,)).fetchone():
            after = row[0]
            if expected and after != expected:
                yield Damage(f"state: changes {expected} to {after - 1} are missing")
            if isinstance(found := changes.decoded(row), str):
                yield Damage(f"state: change {after}: {found}")
            expected = after + 1
    except sqlite3.DatabaseError as error:
        yield Damage(f"state: changes from {after + 1} on: {error}")


def _chunks(
    connection: sqlite3.Connection, partition_id: int, topic: str, number: int, begin: int
) -> Iterator[Damage | int]:
    """Verify a partition's chunks; yields what is wrong, and after each good chunk the offset behind it."""
    expected = begin
    peak = -(1 << 63)
    start, high = key_of(partition_id, 0), key_of(partition_id + 1, 0) - 1
    while True:
        try:
            row: Stored | None = connection.execute(
                "SELECT * FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", (start, high)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            row = _behind_the_hole(connection, start, high)
            last = high if row is None else row[1] - 1
            until = "all that follows is lost" if row is None else "what follows can be read"
            yield Damage(f"pages are damaged ({error}); {until}", topic, number, expected, offset_of(last))
            if row is None:
                return
            expected = row[1]
        if row is None:
            return
        last = offset_of(row[0])
        base = row[1]
        if base != expected:
            what = "missing" if base > expected else "stored twice"
            yield Damage(f"{what}", topic, number, min(base, expected), max(base, expected) - 1)
        if why := _fault(row, peak):
            yield Damage(f"{why}; the other records can be read, with `damaged: skip`", topic, number, base, last)
        else:
            peak = row[3]
        expected = last + 1
        start = row[0] + 1
        yield expected


def _behind_the_hole(connection: sqlite3.Connection, low: int, high: int) -> Stored | None:
    """Return the first chunk behind damaged pages, found from the other end; None when there is none."""
    found: Stored | None = None
    while True:
        try:
            row: Stored | None = connection.execute(
                "SELECT * FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", (low, high)
            ).fetchone()
        except sqlite3.DatabaseError:
            return found
        if row is None:
            return found
        found = row
        high = row[0] - 1


def _fault(row: Stored, peak: int) -> str | None:
    """Return what is wrong with one chunk, or None."""
    if not is_whole(row):
        return "checksum does not match"
    try:
        chunk = decode(row)
    except (msgspec.DecodeError, TypeError) as error:
        return f"cannot be decoded ({error})"
    offsets, rows = chunk.offsets, chunk.rows
    if not len(offsets) == len(rows.keys) == len(rows.values) == len(rows.timestamps):
        return f"holds {len(rows.values)} records for {len(offsets)} offsets"
    if list(offsets) != sorted({offset for offset in offsets if chunk.base <= offset <= chunk.last}):
        return "its offsets do not rise"
    if row[3] < peak:
        return "its times do not fit to the chunk before"
    return None
