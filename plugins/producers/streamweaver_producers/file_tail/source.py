"""The bytes of one open file, plain or gzip, read by position."""

import contextlib
import os
import stat
import zlib
from typing import Protocol, TypeAlias

import attrs

Inode: TypeAlias = tuple[int, int]
"""Device and inode number: what a file keeps when it is renamed."""

_RAW_BYTES = 64 * 1024


class Source(Protocol):
    """An open file."""

    steady: bool
    """The bytes cannot change any more, so there is no need to look whether they did."""

    def read(self, at: int, count: int) -> bytes:
        """Return up to `count` bytes from `at`; fewer, or none, at the end."""

    def end(self) -> int:
        """Return where the bytes end at the moment."""

    def stat(self) -> os.stat_result:
        """Return size, times and links of the open file, wherever it was moved to."""

    def close(self) -> None:
        """Give the handle back."""


@attrs.define(eq=False)
class PlainSource:
    """A file as it is."""

    fd: int
    steady: bool = False

    def read(self, at: int, count: int) -> bytes:
        """Read by position."""
        return os.pread(self.fd, count, at)

    def end(self) -> int:
        """Look at the size."""
        return os.fstat(self.fd).st_size

    def stat(self) -> os.stat_result:
        """Size, times and links of the open file, wherever it was moved to."""
        return os.fstat(self.fd)

    def close(self) -> None:
        """Give the handle back."""
        os.close(self.fd)


@attrs.define(eq=False)
class GzipSource:
    """A gzip file, of one or several members, by uncompressed position.

    Going forward is cheap, going back starts over. A file that ends in the middle, because it is still being
    written, is simply at its end for now; a damaged one raises `zlib.error`.
    """

    fd: int
    steady: bool = True
    _raw_at: int = 0
    _at: int = 0
    _raw: bytes = b""
    _fresh: bool = True
    _member: "zlib._Decompress" = attrs.field(factory=lambda: zlib.decompressobj(wbits=31))

    def read(self, at: int, count: int) -> bytes:
        """Read by uncompressed position."""
        if at < self._at:
            self._raw_at, self._at, self._raw = 0, 0, b""
            self._member = zlib.decompressobj(wbits=31)
        while self._at < at:
            if not self._inflate(min(at - self._at, _RAW_BYTES)):
                return b""
        parts = []
        while count and (part := self._inflate(count)):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _inflate(self, most: int) -> bytes:
        while True:
            if self._member.eof:
                self._raw = self._member.unused_data
                self._member, self._fresh = zlib.decompressobj(wbits=31), True
            if not self._raw:
                self._raw = os.pread(self.fd, _RAW_BYTES, self._raw_at)
                self._raw_at += len(self._raw)
            if self._fresh:
                self._raw = self._raw.lstrip(b"\0")  # padding between members
            fed, self._fresh = self._raw, self._fresh and not self._raw
            out = self._member.decompress(fed, most)
            self._raw = self._member.unconsumed_tail
            self._at += len(out)
            if out or not fed:
                return out

    def end(self) -> int:
        """Decompress all of it: there is no other way to know."""
        with contextlib.suppress(zlib.error):
            while self.read(self._at, _RAW_BYTES):
                pass
        return self._at

    def stat(self) -> os.stat_result:
        """Size (compressed), times and links of the open file."""
        return os.fstat(self.fd)

    def close(self) -> None:
        """Give the handle back."""
        os.close(self.fd)


def open_source(path: str) -> tuple[Source, Inode]:
    """Open a regular file; OSError if it is gone, not ours to read, or no regular file."""
    # Not blocking: a named pipe that matches a glob must not stop the stage.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise OSError(f"{path}: not a regular file")
    source: Source = GzipSource(fd) if path.endswith(".gz") else PlainSource(fd)
    return source, (found.st_dev, found.st_ino)


def inode_of(path: str) -> Inode | None:
    """Return the identity of the regular file that a path leads to, or None."""
    with contextlib.suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 - called for every file at every poll
        if stat.S_ISREG(found.st_mode):
            return found.st_dev, found.st_ino
    return None
