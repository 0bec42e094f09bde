"""The database file: its tables, its format version, and how it is opened."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from streamweaver import BrokerError, FormatVersionError
from streamweaver_brokers.embedded.failure import mapped

NAME = "log.sqlite"

APPLICATION_ID = 0x53574C47  # "SWLG"

BUSY_SECONDS = 10.0

TABLES = """
CREATE TABLE topic (
    name TEXT PRIMARY KEY,
    spec BLOB NOT NULL                -- the declared TopicSpec, MessagePack
) STRICT, WITHOUT ROWID;
CREATE TABLE partition (
    id INTEGER PRIMARY KEY,           -- from 1
    topic TEXT NOT NULL,
    number INTEGER NOT NULL,          -- from 0
    begin INTEGER NOT NULL DEFAULT 0, -- the first offset that is kept; the end, when nothing is kept
    clean INTEGER NOT NULL DEFAULT 0, -- compacted up to this offset
    kept INTEGER NOT NULL DEFAULT 0,  -- records that the last compaction left
    tombstone INTEGER,                -- when the oldest tombstone that it left was stored, ms
    UNIQUE (topic, number)
) STRICT;
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,           -- partition.id << 46 | last offset
    base INTEGER NOT NULL,            -- first offset that it covers: the last one of the chunk before, plus 1
    newest INTEGER NOT NULL,          -- greatest timestamp in it, ms
    peak INTEGER NOT NULL,            -- greatest timestamp in the partition so far: rises, so it can be bisected
    stored INTEGER NOT NULL,          -- when it was appended, ms: what retention by age counts from
    total INTEGER NOT NULL,           -- payload bytes appended to the partition so far
    crc INTEGER NOT NULL,             -- of all of these numbers and the payload
    payload BLOB NOT NULL             -- MessagePack: values, keys, timestamps, headers, skipped offsets
) STRICT;
CREATE TABLE consumed (
    consumer TEXT NOT NULL,           -- the group
    partition INTEGER NOT NULL,
    offset INTEGER NOT NULL,          -- the next one to consume
    PRIMARY KEY (consumer, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE position (
    consumer TEXT PRIMARY KEY,
    position BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    store TEXT NOT NULL,
    partition INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (store, partition, key)
) STRICT, WITHOUT ROWID;
"""


def _create(connection: sqlite3.Connection) -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _log_changes_of_state(connection: sqlite3.Connection) -> None:
    """State is written here first, and folded into the table `state` later."""
    connection.execute("""
        CREATE TABLE change (
            id INTEGER PRIMARY KEY,       -- rises by one; the newest is never removed
            crc INTEGER NOT NULL,         -- of the id and the payload
            payload BLOB NOT NULL         -- MessagePack: stores, partitions, and values by key
        ) STRICT
    """)


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [_create, _log_changes_of_state]
"""What turns format version N (the index) into N + 1. Each runs in one transaction with the change of the version."""


def connect(path: Path, *, durability: str = "full", mode: str = "rw") -> sqlite3.Connection:
    """Open a connection with our settings; the caller maps the errors.

    It may be used by another thread than the one that opened it, one at a time. Statements that overlap on it see the
    database as the first of them found it.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{'mode=ro&immutable=1' if mode == 'immutable' else f'mode={mode}'}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        # The writer decides when to checkpoint, after it has answered; nobody else ever does.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Have what the block does take effect as a whole, or not at all."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_for_run(folder: Path, durability: str) -> sqlite3.Connection:
    """Open the database for writing; create it, or bring it to the current format, if need be."""
    path = folder / NAME
    with mapped(path):
        connection = connect(path, durability=durability, mode="rwc")
        try:
            if not _version(connection, path):
                # Both only take effect on an empty file, and outside of a transaction.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_tool(folder: Path, durability: str) -> tuple[sqlite3.Connection, str]:
    """Open the database as it is, creating nothing; returns the connection and the mode it took.

    Where the folder cannot be written (a copy on a read-only disk) it can still be read.
    """
    path = folder / NAME
    with mapped(path):
        if not path.exists():
            raise BrokerError(f"{path}: no log here; has this pipeline ever run, and with this data folder?")
        for mode in ("rw", "ro", "immutable"):
            try:
                connection = connect(path, durability=durability, mode=mode)
            except sqlite3.OperationalError as error:
                if mode == "immutable" or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                    raise
                continue
            try:
                version = _version(connection, path)
                if version < len(MIGRATIONS):
                    raise FormatVersionError(
                        f"{path}: format version {version}, this release reads {len(MIGRATIONS)}; "
                        "run the pipeline once, that brings it up to date"
                    )
                return connection, mode
            except sqlite3.OperationalError as error:
                connection.close()
                if mode == "immutable" or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                    raise
            except BaseException:
                connection.close()
                raise
    raise AssertionError("unreachable")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the format version, 0 for an empty file; raise for what is not ours or too new."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application or version or tables:
            raise BrokerError(f"{path}: a database of another program, expected a log of streamweaver; move it away")
        return 0
    if version > len(MIGRATIONS):
        raise FormatVersionError(
            f"{path}: format version {version}, this release knows up to {len(MIGRATIONS)}; "
            "install a newer streamweaver, or choose another data folder"
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    for version in range(_version(connection, path), len(MIGRATIONS)):
        with transaction(connection):
            MIGRATIONS[version](connection)
            connection.execute(f"PRAGMA user_version = {version + 1}")
