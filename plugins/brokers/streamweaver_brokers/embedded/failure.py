"""What goes wrong below us, in the errors of StreamWeaver: the one place that reads codes of SQLite and the system."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from streamweaver import BrokerError, CorruptLogError, StorageError

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, it goes on by itself",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write; look at the system's log",
    sqlite3.SQLITE_READONLY: "it is read-only; check the mount and the permissions of the folder and the file",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the folder exists and may be written",
    sqlite3.SQLITE_PERM: "permission denied; check the owner of the folder and the file",
    sqlite3.SQLITE_BUSY: "another process holds its write lock for too long; end that process",
    sqlite3.SQLITE_LOCKED: "another process holds its write lock for too long; end that process",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_TOOBIG: "a record is too big, the most is 1 GB; store a reference in its place",
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def of_sqlite(error: sqlite3.Error, path: Path, where: object = None) -> BrokerError:
    """Return our error for one of SQLite's; `where` says what was read."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _DAMAGED:
        place = path if where is None else f"{path}: {where}"
        return CorruptLogError(f"{place}: {error}; run `streamweaver log check {path.parent}` to see what can be saved")
    if code in _REASONS:
        name = getattr(error, "sqlite_errorname", "")
        return StorageError(f"{path}: {_REASONS[code]} ({name})")
    return BrokerError(f"{path}: {error}; is it changed by another program?")


def of_system(error: OSError, path: Path) -> StorageError:
    """Return our error for one of the operating system's."""
    code = error.errno or errno.EIO
    return StorageError(f"{path}: {os.strerror(code).lower()}; choose another data folder or mend this one")


@contextlib.contextmanager
def mapped(path: Path, where: object = None) -> Iterator[None]:
    """Turn errors of SQLite and of the system into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise of_sqlite(error, path, where) from error
    except OSError as error:
        raise of_system(error, path) from error
