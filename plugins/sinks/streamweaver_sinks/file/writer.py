"""The file that the file sink writes, and its state: append, recover, rotate."""

import contextlib
import errno
import fcntl
import os
import stat
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from streamweaver import Fatal, Retriable
from streamweaver_sinks.file.parts import Names
from streamweaver_sinks.file.state import State, StateFile, sync_data, sync_folder, write_all

TAIL_BYTES = 4096
"""How much of the file's end is compared with what was written."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@attrs.frozen
class Piece:
    """A batch as it stands in a file."""

    rows: bytes
    topic: str
    partition: int
    end: int
    """The offset after it."""


@attrs.define(eq=False, kw_only=True)
class Writer:
    """Appends rows and remembers offsets, as one step.

    Rows are written and synced first, then the state says that they count. What lies beyond the state's size after a
    crash was never acknowledged: it is cut off when the file is opened again (and kept in `cut_file`, in case that it
    was somebody else's).
    """

    names: Names
    layout: str
    sync: bool
    rotate_bytes: int | None
    rotate_seconds: float | None
    keep: int | None
    state_file: StateFile
    cut_file: Path
    now: Callable[[], int]
    log: Callable[..., None]
    state: State = attrs.field(factory=State, init=False)
    _file: int = attrs.field(default=-1, init=False)
    _last: bytes = attrs.field(default=b"", init=False)

    # -- opening ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Recover what an earlier run left, or start; Fatal or Retriable when the file cannot be had."""
        try:
            saved = self.state_file.open()
            target = str(self.names.path.absolute())
            if saved is not None and saved.target == target:
                self.state = saved
                self._recover()
            else:
                self.state = State(target=target, layout=self.layout)
                if saved is not None:
                    self.state.sequence, self.state.offsets = saved.sequence, saved.offsets
                    self.log("file: writes to another path from now on", path=target, before=saved.target)
                self._start_part()
            self.state_file.save(self.state)
        except OSError as error:
            self._refuse(error, "open")

    def first_line(self) -> bytes:
        """Return the first line of the file, without its end; empty when there is none."""
        with self._path.open("rb") as part:
            return part.readline().rstrip(b"\n") if self.state.size else b""

    def close(self) -> None:
        """Close the file; may be called again."""
        self._close_part()
        self.state_file.close()

    def _recover(self) -> None:
        """Bring the file back to the last durable batch."""
        state, path = self.state, self._path
        size = path.stat().st_size if path.exists() else -1
        final = self.names.final(state.part, state.date)
        if size <= 0 < state.size and self._may_rotate and self._is_ours(final):
            # The process ended after the part had got its final name and before the state said so.
            self._next_part(final)
            return
        if size <= 0 < state.size:
            self._warn_gone(path)
            state.size = state.opened = 0
        if state.layout != self.layout and state.size:
            raise Fatal(f"file: {path} holds {state.layout}, now {self.layout} is asked for: choose another path")
        state.layout = self.layout
        self._open_part()
        size = os.fstat(self._file).st_size
        if size < state.size:
            raise Fatal(
                f"file: {path} has {size} bytes, expected {state.size}: it was cut by another program; "
                "restore it, or move it away to start a new one"
            )
        self._last = os.pread(self._file, TAIL_BYTES, max(0, state.size - TAIL_BYTES))[: min(state.size, TAIL_BYTES)]
        if zlib.crc32(self._last) != state.tail and state.size:
            raise Fatal(f"file: {path} was changed by another program: restore it, or move it away to start a new one")
        if size > state.size:
            self._cut(size)

    def _cut(self, size: int) -> None:
        """Remove what was written after the last durable batch."""
        excess = os.pread(self._file, size - self.state.size, self.state.size)
        self.cut_file.write_bytes(excess)
        os.ftruncate(self._file, self.state.size)
        if self.sync:
            os.fsync(self._file)
        self.log(
            "file: cut what was written after the last durable batch",
            level="warning",
            path=str(self._path),
            bytes=len(excess),
            kept_in=str(self.cut_file),
        )

    def _is_ours(self, final: Path) -> bool:
        """Say whether a finished part is the one that the state describes."""
        if not final.exists() or final.stat().st_size != self.state.size:
            return False
        with final.open("rb") as part:
            part.seek(max(0, self.state.size - TAIL_BYTES))
            return zlib.crc32(part.read()) == self.state.tail

    # -- writing ----------------------------------------------------------------------------------

    def append(self, pieces: Sequence[Piece], header: bytes, columns: list[str]) -> int:
        """Add the first pieces, as many as belong into one part, durably and as one; return how many these are.

        Retriable when the disk is full: nothing of the rows is left. Fatal when the file is no longer what it was; it
        must be opened again then.
        """
        if self._file < 0:
            raise Fatal("file: it is not open")
        try:
            self._check_unchanged()
            if self._is_due(len(pieces[0].rows)):
                self._rotate()
            elif not self.state.size and self.names.date(self.now()) != self.state.date:
                self._rename_empty()
        except OSError as error:
            self._refuse(error, "rotate")
        state = self.state
        head = b"" if state.size else header
        added = self._fitting(pieces, state.size + len(head))
        data = head + b"".join(piece.rows for piece in added)
        self._write(data)
        self._last = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self._last + data)[-TAIL_BYTES:]
        state.size += len(data)
        state.tail = zlib.crc32(self._last)
        state.opened = state.opened or self.now()
        state.columns = columns
        for piece in added:
            partitions = state.offsets.setdefault(piece.topic, {})
            partitions[piece.partition] = max(piece.end, partitions.get(piece.partition, 0))
        try:
            self.state_file.save(state)
        except OSError as error:
            # Whether it counts is known only after the state is read again.
            self._close_part()
            raise Fatal(f"file: cannot save {self.state_file.path}: {error.strerror or error}") from error
        return len(added)

    def _fitting(self, pieces: Sequence[Piece], size: int) -> Sequence[Piece]:
        """Return the first piece, which goes into this part however large it is, and those that fit behind it."""
        if self.rotate_bytes is None:
            return pieces
        for index, piece in enumerate(pieces):
            size += len(piece.rows)
            if index and size > self.rotate_bytes:
                return pieces[:index]
        return pieces

    def _write(self, data: bytes) -> None:
        try:
            write_all(self._file, data, self.state.size)
            if self.sync:
                sync_data(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # what remains lies beyond the state's size, so it does not count
                os.ftruncate(self._file, self.state.size)
            self._refuse(error, "write")

    def _check_unchanged(self) -> None:
        """Notice when somebody else removed, emptied, replaced or wrote the file."""
        path, mine = self._path, os.fstat(self._file)
        try:
            named = path.stat()
        except FileNotFoundError:
            named = None
        if named is not None and (named.st_ino, named.st_dev) == (mine.st_ino, mine.st_dev):
            if mine.st_size == self.state.size:
                return
            if mine.st_size:
                self._close_part()
                raise Fatal(
                    f"file: {path} has {mine.st_size} bytes, expected {self.state.size}: another program writes to it"
                )
        elif named is not None and named.st_size:
            self._close_part()
            raise Fatal(f"file: {path} was replaced by another program: move it away, or choose another path")
        if self.state.size:
            self._warn_gone(path)
        self._close_part()
        self.state.size = self.state.opened = 0
        self._open_part()
        self._last = b""
        self.state_file.save(self.state)

    def _warn_gone(self, path: Path) -> None:
        self.log("file: removed or emptied by another program; goes on in a new one", level="warning", path=str(path))

    # -- parts ------------------------------------------------------------------------------------

    @property
    def _path(self) -> Path:
        return self.names.active(self.state.part, self.state.date)

    @property
    def _may_rotate(self) -> bool:
        return self.names.pattern or self.rotate_bytes is not None or self.rotate_seconds is not None

    def _is_due(self, more: int) -> bool:
        state = self.state
        if not state.opened:
            return False
        return (
            (self.rotate_bytes is not None and state.size + more > self.rotate_bytes)
            or (self.rotate_seconds is not None and self.now() - state.opened >= self.rotate_seconds * 1000)
            or self.names.date(self.now()) != state.date
        )

    def _rotate(self) -> None:
        """Give the part its final name, in one step, and start the next one."""
        final = self.names.final(self.state.part, self.state.date)
        if final.exists():
            self._close_part()
            raise Fatal(f"file: {final} exists already: move it away")
        self._path.rename(final)
        if self.sync:
            sync_folder(final.parent)
        self._next_part(final)

    def _rename_empty(self) -> None:
        """Give a part that has waited for its first row over midnight the name of the new day."""
        self._path.unlink()
        self._close_part()
        self._start_part()
        self.state_file.save(self.state)

    def _next_part(self, finished: Path) -> None:
        self._close_part()
        state = self.state
        if self.keep is not None:
            state.finished.append(str(finished))
            while len(state.finished) > self.keep:
                Path(state.finished.pop(0)).unlink(missing_ok=True)
        state.part += 1
        self._start_part()
        self.state_file.save(state)

    def _start_part(self) -> None:
        """Begin the next free part; go on in a file that is there already."""
        state = self.state
        state.date = self.names.date(self.now())
        state.layout = self.layout
        if self.names.numbered or (self._may_rotate and not self.names.pattern):
            while self.names.final(state.part, state.date).exists():
                state.part += 1
        elif self.names.pattern and self.names.final(state.part, state.date).exists():
            raise Fatal(f"file: {self.names.final(state.part, state.date)} exists already: move it away")
        self._open_part()
        state.size = os.fstat(self._file).st_size
        self._last = os.pread(self._file, TAIL_BYTES, max(0, state.size - TAIL_BYTES))
        state.tail = zlib.crc32(self._last)
        state.opened = self.now() if state.size else 0
        if state.size and not self._last.endswith(b"\n"):
            path = self._path
            self._close_part()
            raise Fatal(f"file: {path} exists and its last line is not whole: mend it, or choose another path")

    def _open_part(self) -> None:
        path = self._path
        folder = path.parent
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            self._close_part()
            raise Fatal(f"file: {path} is no regular file; the console sink writes to standard output")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close_part()
            raise Fatal(f"file: {path} is being written by another stage or pipeline: choose another path") from None
        if self.sync:
            for made in (path, *missing):
                sync_folder(made.parent)

    def _close_part(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _refuse(self, error: OSError, what: str) -> NoReturn:
        """Turn an OSError into what the engine acts on."""
        path: Any = error.filename or self._path
        if error.errno in FULL:
            raise Retriable(f"file: cannot {what} {path}: {error.strerror}; make room") from error
        self._close_part()
        raise Fatal(f"file: cannot {what} {path}: {error.strerror or error}; check `path`") from error
