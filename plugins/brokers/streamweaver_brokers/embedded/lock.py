"""The lock that keeps a second running pipeline out of a data folder."""

import fcntl
import os
import socket
import time
from pathlib import Path

import msgspec

from streamweaver import BrokerLockedError
from streamweaver_brokers.embedded.failure import of_system

NAME = "log.lock"


class RunLock:
    """An flock on a file that names its holder; the system drops it when the holder ends, however it ends."""

    def __init__(self, folder: Path, pipeline: str) -> None:
        path = folder / NAME
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise of_system(error, path) from error
        try:
            _take(self._fd)
        except OSError as error:
            holder = os.pread(self._fd, 4096, 0)
            os.close(self._fd)
            if isinstance(error, BlockingIOError):
                raise BrokerLockedError(
                    f"{folder}: in use by {_describe(holder)}; stop that pipeline, or choose another folder with --data"
                ) from error
            raise of_system(error, path) from error
        try:
            me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "pipeline": pipeline}
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, msgspec.json.encode(me), 0)
        except OSError as error:
            os.close(self._fd)
            raise of_system(error, path) from error

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._fd)


def holder(folder: Path) -> str | None:
    """Return who holds the lock of a folder; None when nobody does."""
    try:
        fd = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise of_system(error, folder / NAME) from error
    try:
        # Taken for an instant, which whoever wants it for good waits for.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _describe(os.pread(fd, 4096, 0))
    except OSError as error:
        raise of_system(error, folder / NAME) from error
    finally:
        os.close(fd)
    return None


def _take(fd: int) -> None:
    """Take the lock; somebody may just be looking whether it is free."""
    for tries_left in reversed(range(5)):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not tries_left:
                raise
            time.sleep(0.02)


def _describe(holder: bytes) -> str:
    try:
        found = msgspec.json.decode(holder)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"]))
        return f"pipeline {found['pipeline']} (process {found['pid']} on {found['host']} since {since})"
    except (msgspec.DecodeError, KeyError, TypeError):
        return "another process"  # it has just taken the lock and not yet written its name
