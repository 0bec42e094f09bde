"""Committed values of state stores, for whichever thread asks."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamweaver_brokers.embedded.failure import mapped

STATE_PAGE = 1_000


class StateReader:
    """Reads state on a connection of its own: a step that blocks asks in its stage's thread, others in the event loop.

    Statements that overlap on one connection see the log as the first of them found it. The event loop, which has been
    told of what is newer, would miss that; and two who read state would miss what they have committed themselves.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._turn = threading.Lock()

    def get(self, store: str, partition: int, key: bytes) -> bytes | None:
        """Return a committed value."""
        rows = self._rows(
            "SELECT value FROM state WHERE store = ? AND partition = ? AND key = ?", (store, partition, key)
        )
        return rows[0][0] if rows else None

    def items(self, store: str, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Go through the committed values of a store, some at a time so that no read stays open."""
        after = b""
        more = ">="
        while True:
            rows = self._rows(
                f"SELECT key, value FROM state WHERE store = ? AND partition = ? AND key {more} ? "  # noqa: S608
                f"ORDER BY key LIMIT {STATE_PAGE}",
                (store, partition, after),
            )
            yield from rows
            if len(rows) < STATE_PAGE:
                return
            after, more = rows[-1][0], ">"

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        with self._turn, mapped(self._path):
            return self._connection.execute(statement, values).fetchall()

    def close(self) -> None:
        """Close the connection, when nobody reads."""
        with self._turn:
            self._connection.close()
