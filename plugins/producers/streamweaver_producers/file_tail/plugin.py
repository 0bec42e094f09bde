"""The options of `file_tail`, and the loop that polls and makes records."""

import codecs
import glob
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import attrs

from streamweaver import Fatal, ProducerContext, Record, Rejected, option, producer
from streamweaver_producers.file_tail.follower import Follower, Scope, matches
from streamweaver_producers.file_tail.tailed import Line, LineRules, Unfit

_EXAMPLE = """\
use: file_tail
paths: ["/var/log/app/*.log"]
multiline: {pattern: '^\\d{4}-'}
to: app_logs
"""


def _known_encoding(_: Any, __: Any, value: str) -> None:
    try:
        fits = codecs.lookup(value).encode("\n")[0] == b"\n"
    except LookupError:
        raise ValueError(f"got {value!r}, expected an encoding that Python knows, such as utf-8 or latin-1") from None
    if not fits:
        raise ValueError(f"got {value!r}, expected an encoding whose line end is one byte, such as utf-8 or latin-1")


def _is_pattern(_: Any, __: Any, value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"got {value!r}, expected a regular expression: {error}") from error


def _some_paths(_: Any, __: Any, value: list[str]) -> None:
    if not value or not all(value):
        raise ValueError("got no path, expected at least one file or glob")


@attrs.frozen
class Multiline:
    """How several lines make one event, such as a stack trace."""

    pattern: str = option(
        help="regular expression that the first line of an event matches at its beginning; others are joined to it",
        example=r"^\d{4}-\d\d-\d\d",
        validator=_is_pattern,
    )
    timeout_seconds: float = option(
        default=1.0, help="an event is complete when nothing was added to it for so long", example=2.0, gt=0
    )


@producer("file_tail", resumes=True, key="path", example=_EXAMPLE)
@attrs.frozen
class FileTail:
    """Lines of growing files, exactly once, through rotation, truncation and restarts.

    Each line is a record `{"path": ..., "line": ...}`, without its line end; `path` is the name under which the file
    was first seen, so the lines of a log keep one key, and their order, through rotation.

    A file is known by its inode, its first 256 bytes and the 256 bytes before the offset, never by its name.
    Rotation by renaming: the old file is read to its end before the new one is begun, and watched for late writes
    for 10 s. Rotation by copying and truncating: what was not read yet is read from the copy beside the file, if
    there is one. Both also when they happen while the pipeline is down, several times too, as long as the data still
    exists under the old name with a number or date added. A line without an end waits for its end while the file is
    followed; it is taken as it is when its file was rotated away and stood still for 5 s, was truncated, or is not
    followed. Lines come in lists that are stored in one unit of work; the last record of each carries the position.

    Not to be told: a file that was truncated and written anew within one poll, or while the pipeline was down, with
    the same first 256 bytes and the same 256 bytes before the offset; and a file that was deleted and replaced by one
    with the same inode number and such bytes while the pipeline was down. What was written after the last poll and
    truncated without a copy is lost. With `start: end`, a run that brought no line leaves no position behind: the
    next one starts at the end again. Network file systems that change inode numbers are not for this producer.
    """

    paths: list[str] = option(
        help="files and globs (`*`, `?`, `[a-z]`, `**`) to read; files may appear later",
        example=["/var/log/app/*.log"],
        validator=_some_paths,
    )
    start: Literal["beginning", "end"] = option(
        default="beginning",
        help="where to begin with files that are there at the very first start; others are read from their beginning",
        example="end",
    )
    follow: bool = option(
        default=True, help="wait for more; `false` reads to the end of what is there, and ends", example=False
    )
    multiline: Multiline | None = option(
        default=None, help="join several lines to one event", example={"pattern": r"^\d{4}-"}
    )
    encoding: str = option(default="utf-8", help="how text is encoded", example="latin-1", validator=_known_encoding)
    encoding_errors: Literal["replace", "reject", "ignore"] = option(
        default="replace",
        help="what to do with bytes that are no text: put U+FFFD, make the line a dead letter, or leave them out",
        example="reject",
    )
    max_line_bytes: int = option(
        default=1024 * 1024,
        help="a longer line becomes a dead letter that keeps its first 4096 bytes; a longer event is cut",
        example=65536,
        ge=1,
    )
    poll_seconds: float = option(default=0.2, help="how often to look for news", example=1.0, gt=0)
    include_gzip: bool = option(
        default=False,
        help="also read `.gz` files that the globs match, unless they hold a file that was read already",
        example=True,
    )

    async def produce(self, context: ProducerContext) -> AsyncIterator[list[Record | Rejected]]:
        """Follow the files until the stage stops, or, without `follow`, to their ends."""
        self._check_paths()
        follower = Follower(self._scope(context))
        waits = False
        try:
            follower.resume(context.position, context.now())
            while True:
                if follower.scan(context.now()):
                    context.gauge("files", len(follower.files))
                    context.gauge("bytes_behind", follower.bytes_behind())
                    if waits != (not follower.files):
                        waits = not waits
                        self._tell(context, waits=waits)
                busy = False
                for file in list(follower.files):
                    lines, moved = follower.step(file, context.now())
                    busy = busy or moved
                    if lines:
                        records = self._records(file.path, lines, context.now())
                        records[-1].position = follower.position()
                        yield records
                if busy:
                    continue
                if not self.follow:
                    return
                await context.sleep(self.poll_seconds)
        finally:
            follower.close()

    def warnings(self) -> list[str]:
        """Say where no file is yet."""
        return [f"no file at {path} yet" for path in self.paths if not matches(path)]

    def probe(self) -> None:
        """Look whether the files that are there can be read; Fatal or OSError if not."""
        self._check_paths()
        found = (Path(path) for pattern in self.paths for path in matches(pattern))
        for path in filter(Path.is_file, found):
            with path.open("rb") as file:
                file.read(1)

    def _check_paths(self) -> None:
        """Raise Fatal for what can never become a file to read."""
        for path in map(Path, self.paths):
            if path.is_dir():
                raise Fatal(f"file_tail: {path} is a folder; to read the files in it, write {path / '*'}")
            blocker = next((parent for parent in path.parents if parent.exists()), None)
            if blocker is not None and not blocker.is_dir():
                raise Fatal(f"file_tail: nothing can be at {path}: {blocker} is no folder; check `paths`")
            if not self.follow and not path.exists() and glob.escape(str(path)) == str(path):
                raise Fatal(f"file_tail: no file {path}; check `paths`, or set `follow: true` to wait for it")

    def _tell(self, context: ProducerContext, *, waits: bool) -> None:
        """Say what is waited for, since an empty topic says nothing."""
        shown = " or ".join([*self.paths[:3], *(["..."] if len(self.paths) > 3 else [])])
        if not waits:
            context.waits_for(None)
        elif self.follow:
            context.waits_for(f"a file at {shown}")
            context.log("no file to read yet, waiting for one", paths=shown)
        else:
            context.log("no file to read", level="warning", paths=shown)

    def _scope(self, context: ProducerContext) -> Scope:
        starts_event = re.compile(self.multiline.pattern.encode(self.encoding)).match if self.multiline else None
        timeout = self.multiline.timeout_seconds if self.multiline else 0.0
        return Scope(
            paths=self.paths,
            start=self.start,
            follow=self.follow,
            include_gzip=self.include_gzip,
            rules=LineRules(max_line_bytes=self.max_line_bytes, starts_event=starts_event),
            event_timeout_ms=round(timeout * 1000) if self.multiline else 1 << 60,
            log=context.log,
        )

    def _records(self, path: str, lines: list[Line], now: int) -> list[Record | Rejected]:
        errors = "strict" if self.encoding_errors == "reject" else self.encoding_errors
        encoding = self.encoding
        try:
            # One call for all where all are fine, which is nearly always.
            return [Record({"path": path, "line": str(line, encoding, errors)}, None, now) for line in lines]  # type: ignore[arg-type]
        except (UnicodeDecodeError, TypeError):
            return [self._record(path, line, errors, now) for line in lines]

    def _record(self, path: str, line: Line, errors: str, now: int) -> Record | Rejected:
        if isinstance(line, Unfit):
            return Rejected(line.start, f"{path}: {line.why}", key=path, timestamp=now)
        try:
            return Record({"path": path, "line": str(line, self.encoding, errors)}, timestamp=now)
        except UnicodeDecodeError as error:
            why = f"{path}: byte {error.start} of the line is no {self.encoding}; set `encoding`, or `encoding_errors`"
            return Rejected(line, why, key=path, timestamp=now)
