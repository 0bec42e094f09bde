"""The file sink: records as lines of a file, each exactly once."""

import csv
import os
import stat
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from streamweaver import Batch, Fatal, Seconds, SinkContext, Size, option, sink
from streamweaver_sinks.file.parts import Names, unknown_placeholder
from streamweaver_sinks.file.rows import RECORD_FIELDS, Csv, Ndjson
from streamweaver_sinks.file.state import StateFile
from streamweaver_sinks.file.writer import Piece, Writer

_Mark: TypeAlias = tuple[int, int, int]
"""Tells batches of a partition apart: first and last offset, checksum of the rows."""


def _usable(instance: "File", _attribute: Any, path: Path) -> None:
    if unknown := unknown_placeholder(path):
        raise ValueError(f"unknown placeholder {unknown}: expected {{date}} or {{part}}")
    names = Names(path)
    rotates = instance.rotate_bytes is not None or instance.rotate_seconds is not None
    if rotates and names.dated and not names.numbered:
        raise ValueError("with {date} alone there is one part a day: add {part} to rotate more often")


@sink(
    "file",
    delivery="exactly_once",
    single=True,
    blocking=True,
    example="""\
use: file
from: stock_prices
path: out/stock_prices.ndjson
rotate_bytes: 100MB
keep: 10
""",
)
@attrs.define(eq=False)
class File:
    """Append records to a file, as NDJSON or CSV, each exactly once.

    How long the file is and which offsets are in it are kept together, in the stage's data folder. After a crash the
    file is cut back to its last acknowledged batch and the engine goes on right there.

    A plain `path` is the file being written, so that it can be followed with `tail -F`; with rotation, finished parts
    stand beside it (`orders-000001.ndjson`). With `{part}` or `{date}` (the UTC day, a new file for each) in the path,
    that is the name of the finished part, and the one being written has `.partial` behind it. A finished part appears
    under its name in one step and never changes. A part is finished by the first batch that no longer belongs into it.
    """

    path: Path = option(
        help="file to write; {date} and {part} stand for the UTC day and a number",
        example="out/orders.ndjson",
        validator=_usable,
    )
    format: Literal["ndjson", "csv"] = option(default="ndjson", help="how rows look", example="csv")
    include: Literal["value", "record"] = option(
        default="value",
        help="the value alone, or the record with topic, partition, offset, key, timestamp and headers",
        example="record",
    )
    columns: list[str] = option(
        factory=list,
        help="csv: fields to write, in order; without it those of the first record, and a further field is an error",
        example=["symbol", "price"],
    )
    rotate_bytes: Size | None = option(
        default=None, help="start a new part before this size is exceeded", example="100MB", ge=1
    )
    rotate_seconds: Seconds | None = option(
        default=None, help="start a new part with the first batch after this time", example="1h", gt=0
    )
    keep: int | None = option(
        default=None, help="finished parts to keep; older ones that this sink made are deleted", example=10, ge=1
    )
    durability: Literal["full", "process"] = option(
        default="full",
        help="what acknowledged rows survive: full power loss too, process the end of the process (no sync)",
        example="process",
    )

    _rows: Ndjson | Csv | None = attrs.field(default=None, init=False, repr=False)
    _writer: Writer | None = attrs.field(default=None, init=False, repr=False)
    _written: dict[tuple[str, int], set[_Mark]] = attrs.field(factory=dict, init=False, repr=False)
    """By topic and partition: the batches that came last, to know them if they come again."""
    # A write that was timed out or cancelled goes on in its thread, so others must wait for its end.
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def claims(self) -> list[str]:
        """Nobody else may write the file."""
        return [f"file {os.path.abspath(self.path.expanduser())}"]  # noqa: PTH100 - the other one leaves `..` in

    def warnings(self) -> list[str]:
        """Say that the folder is not there yet: it may be misspelt."""
        # Those of days and parts come and go.
        folder = next((one for one in self.path.expanduser().parents if "{" not in str(one)), None)
        if folder is None:
            return []  # `.` and `/` are in no folder: the probe refuses them
        try:
            return [] if folder.exists() else [f"there is no folder {folder} yet; the first start makes it"]
        except OSError:
            return []  # a folder above may not be looked into, which is the probe's to say

    def probe(self) -> None:
        """Look whether the file can be written, or made; Fatal if not."""
        path = self.path.expanduser().absolute()
        try:
            there = next(one for one in (path, *path.parents) if one.exists())
            kind = there.stat().st_mode
        except OSError as error:
            raise Fatal(f"file: {path} cannot be reached: {error.strerror or error}; check `path`") from error
        if there == path and stat.S_ISDIR(kind):
            raise Fatal(f"file: {path} is a folder; check `path`")
        if there == path and not stat.S_ISREG(kind):
            raise Fatal(f"file: {path} is no regular file; the console sink writes to standard output")
        if there != path and not stat.S_ISDIR(kind):
            raise Fatal(f"file: {path} cannot be made: {there} is no folder; check `path`")
        if not os.access(there, os.R_OK | os.W_OK if there == path else os.W_OK | os.X_OK):
            raise Fatal(f"file: {there} cannot be written by this user; check `path`")

    def open(self, context: SinkContext) -> None:
        """Open the file and bring it back to the last acknowledged batch."""
        rows: Ndjson | Csv = (
            Ndjson(self.include)
            if self.format == "ndjson"
            else Csv(self.include, list(self.columns), chosen=bool(self.columns))
        )
        sync = self.durability == "full"
        self._writer = Writer(
            names=Names(self.path.expanduser()),
            layout=rows.layout,
            sync=sync,
            rotate_bytes=self.rotate_bytes,
            rotate_seconds=self.rotate_seconds,
            keep=self.keep,
            state_file=StateFile(context.data_dir / "file.state", sync),
            cut_file=context.data_dir / "file.cut",
            now=context.now,
            log=context.log,
        )
        self._writer.open()
        if isinstance(rows, Csv):
            self._settle_columns(rows, self._writer)
        self._rows = rows

    def write(self, batch: Batch) -> None:
        """Append a batch; when it returns, its rows and offset are durable.

        What was written last is not written again: it comes twice when a part of it found no room on the disk.
        """
        self.write_all([batch])

    def write_all(self, batches: Sequence[Batch]) -> None:
        """Append batches with one sync for the rows of all and one for their offsets, or two for each part begun."""
        with self._lock:
            rows, writer = self._rows, self._writer
            if rows is None or writer is None:
                raise Fatal("file: written before it was opened")
            # All are encoded before any is stored, since a record that cannot be a row is found here.
            came: dict[tuple[str, int], set[_Mark]] = {}
            fresh: list[tuple[Piece, _Mark]] = []
            for batch in batches:
                encoded, place = rows.encode(batch), (batch.topic, batch.partition)
                mark = (batch.first_offset, batch.last_offset, zlib.crc32(encoded))
                if mark not in self._written.get(place, ()):
                    fresh.append((Piece(encoded, *place, batch.last_offset + 1), mark))
                came.setdefault(place, set()).add(mark)
            while fresh:
                count = writer.append([piece for piece, _ in fresh], rows.header(), rows.columns)
                for piece, mark in fresh[:count]:
                    self._written.setdefault((piece.topic, piece.partition), set()).add(mark)
                del fresh[:count]
            self._written.update(came)

    def committed(self, topic: str, partition: int) -> int | None:
        """Return the offset after the last record in the file."""
        if self._writer is None:
            raise Fatal("file: asked before it was opened")
        return self._writer.state.offsets.get(topic, {}).get(partition)

    def close(self) -> None:
        """Close the file, after a write that is under way; its last part goes on with the next start."""
        with self._lock:
            writer, self._writer, self._rows = self._writer, None, None
            self._written.clear()
            if writer is not None:
                writer.close()

    def _settle_columns(self, rows: Csv, writer: Writer) -> None:
        """Take the columns of the file that is there; Fatal when others are asked for."""
        top = writer.first_line()
        if not top:
            rows.columns = rows.columns or writer.state.columns
            return
        about = len(RECORD_FIELDS) if self.include == "record" else 0
        there = next(csv.reader([top.decode(errors="replace")]))[about:]
        if rows.columns and rows.columns != there:
            raise Fatal(f"file: {self.path} has the columns {', '.join(there)}, not those of `columns`: move it away")
        rows.columns = there
