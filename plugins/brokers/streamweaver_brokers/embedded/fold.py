"""Folding the newest values of state into the table `state`, in sorted pieces, each a short transaction.

Many changes of one key are then one write, and each page of a large tree is gone to once a fold rather than once a
change. Broken off anywhere it has done no harm: what is in `state` is in `change` as well, whose rows go last.
"""

import contextlib
import sqlite3
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache

from streamweaver import BrokerError
from streamweaver_brokers.embedded.changes import Place
from streamweaver_brokers.embedded.recent import Recent
from streamweaver_brokers.embedded.schema import transaction

PIECE_VALUES = 500
PIECE_BYTES = 1 << 20
PIECE_ROWS = 500

AT_ONCE = 100
"""Values of one statement. Each statement hands Python's lock to who waits for it, and has to get it back: with one for
each value, and a step that processes records beside it, that takes more than the writing."""

SORTED_VALUES = 5_000
"""How many keys are put in order at once: about a millisecond."""

AHEAD = 0.1
"""The share of the next layer that may come before the fold has to go along: while the keys are put in order."""

MOST_LAYERS = 2.5
"""A run leaves two full layers at most, and what the last units brought."""

PAGE_BYTES = 4096

PAUSE_SECONDS = 5.0
"""How long a fold that has failed (the disk is full, say) is left alone."""


class Fold:
    """Does the next piece each time it is asked, in the writer's thread."""

    def __init__(self, connection: sqlite3.Connection, recent: Recent, let_go: Callable[[], None]) -> None:
        """`let_go` has those who read the table `state` see it as it is now."""
        self._connection = connection
        self._recent = recent
        self._let_go = let_go
        self._pieces: Iterator[int] | None = None
        self._written = 0
        self._all = 1
        self._due = 0.0
        self._failure: BrokerError | None = None
        (self._synchronous,) = connection.execute("PRAGMA synchronous").fetchone()

    def step(self) -> tuple[bool, int]:
        """Do one piece if any is due; return whether more waits, and about how many bytes were written."""
        if self._pieces is None:
            if not (self._recent.filled > 1 or self._recent.is_folding) or time.monotonic() < self._due:
                return False, 0
            self._pieces = self._fold()
        written = next(self._pieces, None)
        if written is None:
            self._pieces = self._failure = None
            return False, 0
        return True, written

    @property
    def is_late(self) -> bool:
        """Whether the next piece has to come before the next unit.

        It has to when more of the next layer has come, by share, than was folded of this one, and a little: so memory
        stays bounded, and hardly ever a unit waits for a whole fold. And when more was found at a start than one run
        can have left: runs that are killed soon after their start, again and again, would else add to it for ever.
        """
        if self._pieces is None:
            return False
        return self._recent.folding > MOST_LAYERS or self._recent.filled > AHEAD + self._written / self._all

    @property
    def failure(self) -> BrokerError | None:
        """Why no more changes of state can be taken: as much has come as may, and it could not be folded."""
        return self._failure if self._recent.filled > 1 else None

    def put_off(self, failure: BrokerError) -> None:
        """Give it up (the disk is full, say) and start again later."""
        self._pieces = None
        self._failure = failure
        self._due = time.monotonic() + PAUSE_SECONDS

    def whole(self) -> Iterator[int]:
        """Fold all that is in memory; yields as bytes are written."""
        yield from self._pieces or ()
        self._pieces = None
        while self._recent.is_folding or self._recent.has_values:
            yield from self._fold()
        self._failure = None

    def _fold(self) -> Iterator[int]:
        """Write what one layer holds, then remove the rows that held it; yields after each piece the bytes written."""
        changes, last = self._recent.freeze()
        self._written = 0
        self._all = max(1, sum(map(len, changes.values())))
        for place in sorted(changes):
            for keys in in_order(list(changes[place])):
                if not keys:
                    yield 0
                for some in _cut(keys, changes[place]):
                    yield self._write(place, changes[place], some)
        self._let_go()
        self._recent.thaw()
        yield from self._remove(last if last < self._recent.last else last - 1)

    def _write(self, place: Place, values: dict[bytes, bytes | None], keys: list[bytes]) -> int:
        puts = [(key, value) for key in keys if (value := values[key]) is not None]
        gone = [key for key in keys if values[key] is None]
        with self._transaction():
            for start in range(0, len(puts), AT_ONCE):
                some = puts[start : start + AT_ONCE]
                self._connection.execute(_put(len(some)), [part for put in some for part in (*place, *put)])
            for start in range(0, len(gone), AT_ONCE):
                some_gone = gone[start : start + AT_ONCE]
                self._connection.execute(_delete(len(some_gone)), [*place, *some_gone])
        self._written += len(keys)
        return len(keys) * PAGE_BYTES // 2  # neighbours share pages

    def _remove(self, last: int) -> Iterator[int]:
        """Remove the rows up to an id, from the oldest on: what is left at any moment is all that is newer."""
        while True:
            size = 0
            cut = None
            for number, length in self._connection.execute(
                "SELECT id, length(payload) FROM change WHERE id <= ? ORDER BY id LIMIT ?", (last, PIECE_ROWS)
            ).fetchall():
                if cut is not None and size + length > PIECE_BYTES:
                    break
                cut = number
                size += length
            if cut is None:
                return
            self._forget(cut)
            yield PIECE_BYTES // 8

    def _forget(self, last: int) -> None:
        with self._transaction():
            self._connection.execute("DELETE FROM change WHERE id <= ?", (last,))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Have what the block does take effect as a whole, but not wait for the disk.

        The write-ahead log keeps the order: after a loss of power there is a first part of all that was committed, so
        never a change removed that is not folded. Whatever must last is committed by a unit, which waits for it all.
        """
        self._connection.execute("PRAGMA synchronous = NORMAL")
        try:
            with transaction(self._connection):
                yield
        finally:
            self._connection.execute(f"PRAGMA synchronous = {self._synchronous}")


def _cut(keys: list[bytes], values: dict[bytes, bytes | None]) -> Iterator[list[bytes]]:
    """Yield the keys, fewer at a time where their values are big."""
    some: list[bytes] = []
    size = 0
    for key in keys:
        some.append(key)
        size += len(values[key] or b"")
        if size > PIECE_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


@cache
def _put(count: int) -> str:
    return f"INSERT OR REPLACE INTO state VALUES {', '.join(['(?, ?, ?, ?)'] * count)}"  # noqa: S608


@cache
def _delete(count: int) -> str:
    return f"DELETE FROM state WHERE store = ? AND partition = ? AND key IN ({', '.join('?' * count)})"  # noqa: S608


def in_order(keys: list[bytes]) -> Iterator[list[bytes]]:
    """Yield all keys in order, a piece at a time; empty lists stand for time that it has taken.

    Sorting them all at once would hold up every thread of the process for as long as it takes.
    """
    count = len(keys) // PIECE_VALUES
    sample = sorted(keys[:: max(1, len(keys) // (8 * count + 1))])
    bounds = sample[4::8]
    buckets: list[list[bytes]] = [[] for _ in range(len(bounds) + 1)]
    for start in range(0, len(keys), SORTED_VALUES):
        for key in keys[start : start + SORTED_VALUES]:
            buckets[bisect_right(bounds, key)].append(key)
        yield []
    for bucket in buckets:
        bucket.sort()
        for start in range(0, len(bucket), PIECE_VALUES):
            yield bucket[start : start + PIECE_VALUES]
