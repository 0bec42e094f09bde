"""The producer `ndjson_file`: a file of JSON lines, once."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from pathlib import Path

import attrs
import msgspec

from streamweaver import Fatal, ProducerContext, Record, Rejected, option, producer

LIST_BYTES = 256 * 1024
SKIP_BYTES = 1024 * 1024


@producer("ndjson_file", resumes=True, example="{use: ndjson_file, path: orders.ndjson, to: orders}")
@attrs.frozen
class NdjsonFile:
    """Lines of JSON from a file, once, each a record; resumes after the last durable line.

    A `.gz` file is read as what it holds. Empty lines are passed over; a line that is no JSON becomes a dead letter.
    The position is the (uncompressed) byte after the line; in a `.gz` file a restart decompresses up to it again. Lines
    come in lists of about 256 KiB, each stored in one unit of work, or with a `rate` as they fall due. A record's time
    is that at which it leaves. The file must not change while it is read: for files that grow there is `file_tail`.
    """

    path: Path = option(help="file to read, plain or `.gz`", example="orders.ndjson")

    def produce(self, context: ProducerContext) -> Iterator[list[Record | Rejected]]:
        """Read to the end; Fatal if the file cannot be opened, or ends before the position."""
        decode = msgspec.json.Decoder().decode
        with self._opened() as file:
            at = int(context.position or 0)
            for _ in _near(file, at):
                yield []
            if at and not file.read(1):
                raise Fatal(
                    f"ndjson_file: {self.path} is shorter than when it was read up to byte {at}: was it replaced?"
                )
            for lines, damage in _lists(file):
                brought: list[Record | Rejected] = []
                for line in lines:
                    start, at = at, at + len(line)
                    try:
                        brought.append(Record(decode(line), None, None, (), at))
                    # JSON that is nested too deep ends in a RecursionError.
                    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                        if line.strip():
                            why = f"{self.path}: line at byte {start} cannot be decoded: {error}"
                            brought.append(Rejected(line, why, position=at))
                if damage:
                    brought.append(Rejected(b"", f"{self.path}: damaged after byte {at}: {damage}"))
                if brought:
                    brought[-1].position = at
                    yield brought

    def warnings(self) -> list[str]:
        """Say that the file is not there yet."""
        path = self.path.expanduser()
        return [] if path.exists() else [f"there is no file {path} yet"]

    def probe(self) -> None:
        """Look whether the file can be read; Fatal if not."""
        with self._opened() as file:
            file.read(1)

    def _opened(self) -> BufferedIOBase:
        path = self.path.expanduser()
        try:
            return gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
        except OSError as error:
            raise Fatal(f"ndjson_file: cannot read {path}: {error.strerror or error}; check `path`") from error


def _near(file: BufferedIOBase, at: int) -> Iterator[None]:
    """Go to just before byte `at`, by and by: in a `.gz` file everything before it has to be decompressed."""
    step = SKIP_BYTES if isinstance(file, gzip.GzipFile) else max(1, at)
    place = 0
    while place < at - 1:
        wanted = min(place + step, at - 1)
        place = file.seek(wanted)
        if place < wanted:
            break
        yield


def _lists(file: Iterable[bytes]) -> Iterator[tuple[list[bytes], str]]:
    """Return lines in lists of about `LIST_BYTES`, the last one with what keeps the rest from being read, if so."""
    lines: list[bytes] = []
    size = 0
    damage = ""
    try:
        for line in file:
            lines.append(line)
            size += len(line)
            if size >= LIST_BYTES:
                yield lines, ""
                lines, size = [], 0
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        damage = str(error)
    yield lines, damage
