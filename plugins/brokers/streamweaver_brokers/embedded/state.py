"""Committed values of state stores, for whichever thread asks."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamweaver_brokers.embedded import changes, schema
from streamweaver_brokers.embedded.failure import mapped, of_sqlite
from streamweaver_brokers.embedded.recent import UNKNOWN, Recent

STATE_PAGE = 1_000

CACHE_KIB = 8_192
"""Pages that are kept: of a large state those that lead to the values, and some of the values."""


class StateReader:
    """Reads state: the newest values from memory, others on a connection of its own, in turn.

    A step that blocks asks in its stage's thread, others in the event loop. Statements that overlap on one connection
    see the log as the first of them found it. The event loop, which has been told of what is newer, would miss that.

    The table `state` changes only when values are folded into it, long after they have been committed, so reads of
    single values may share one snapshot of it (each of its own would cost as much as the read). Whoever has folded, or
    wants to have the write-ahead log copied, has it let go.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, recent: Recent | None) -> None:
        """Without `recent`, which is the runner's, the newest values are read from the file each time."""
        self._connection = connection
        self._path = path
        self.recent = recent
        self._turn = threading.Lock()
        with mapped(path):
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")

    def get(self, store: str, partition: int, key: bytes) -> bytes | None:
        """Return a committed value."""
        value = self._newest().get((store, partition), key)
        if value is not UNKNOWN:
            return value
        try:
            with self._turn:
                if not self._connection.in_transaction:
                    self._connection.execute("BEGIN")
                row = self._connection.execute(
                    "SELECT value FROM state WHERE store = ? AND partition = ? AND key = ?", (store, partition, key)
                ).fetchone()
                if self.recent is None:
                    self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise of_sqlite(error, self._path) from error
        return None if row is None else row[0]

    def items(self, store: str, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Go through the committed values of a store, some at a time so that no read stays open."""
        # Taken first: what is folded while we go through the table is in both, never in none.
        newer = self._newest().values((store, partition))
        after = b""
        more = ">="
        while True:
            rows = self._rows(
                f"SELECT key, value FROM state WHERE store = ? AND partition = ? AND key {more} ? "  # noqa: S608
                f"ORDER BY key LIMIT {STATE_PAGE}",
                (store, partition, after),
            )
            for key, value in rows:
                value = newer.pop(key, value)
                if value is not None:
                    yield key, value
            if len(rows) < STATE_PAGE:
                break
            after, more = rows[-1][0], ">"
        for key, value in newer.items():
            if value is not None:
                yield key, value

    def let_go(self) -> None:
        """Have the next read see the table as it is then."""
        with self._turn:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")

    def _newest(self) -> Recent:
        if self.recent is not None:
            return self.recent
        recent = Recent()
        # In one transaction: the runner may be removing what it has folded.
        with self._turn, mapped(self._path), schema.transaction(self._connection, "DEFERRED"):
            for last, size, found in changes.read(self._connection, self._path, 0):
                recent.add(found, last, size)
        return recent

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        with self._turn, mapped(self._path):
            return self._connection.execute(statement, values).fetchall()

    def close(self) -> None:
        """Close the connection, when nobody reads."""
        with self._turn:
            self.recent = Recent()  # nothing is given out any more: what is asked for is an error
            self._connection.close()
