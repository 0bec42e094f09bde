"""Format versions, foreign files, and how the file is set up."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from streamweaver import BrokerError, CorruptLogError, FormatVersionError, TopicSpec
from streamweaver.testing.broker import all_of, append, lane_of, rows
from streamweaver_brokers.embedded import Embedded, schema
from streamweaver_brokers.embedded.check import check

Launch = Callable[..., Awaitable[Embedded]]


async def a_log(launch: Launch) -> None:
    """Make a log with one record."""
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    await append(broker, "t", 0, rows([b"old"]))
    await broker.close()


def ask(folder: Path, statement: str) -> list[tuple[object, ...]]:
    """Run a statement in the database of a closed log."""
    with closing(sqlite3.connect(folder / "log.sqlite")) as connection, connection:
        return connection.execute(statement).fetchall()


async def test_the_file_says_what_it_is(launch: Launch, folder: Path) -> None:
    """The file carries our application id and version, can shrink, and a clean close leaves no write-ahead log."""
    await a_log(launch)
    assert sorted(path.name for path in folder.iterdir()) == ["log.lock", "log.sqlite"]
    assert ask(folder, "PRAGMA application_id") == [(0x53574C47,)]
    assert ask(folder, "PRAGMA user_version") == [(2,)]
    assert ask(folder, "PRAGMA auto_vacuum") == [(2,)]
    assert ask(folder, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("role", ["run", "tool"])
async def test_a_newer_format_is_refused(launch: Launch, folder: Path, role: str) -> None:
    """A log of a newer release is left alone, with a hint to install that release."""
    await a_log(launch)
    ask(folder, "PRAGMA user_version = 7")
    with pytest.raises(FormatVersionError, match="format version 7, this release knows up to 2; install a newer"):
        await launch(role=role)
    assert ask(folder, "PRAGMA user_version") == [(7,)]


async def test_an_older_format_is_migrated(launch: Launch, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner brings an older log up to date, in order and once, and keeps its records; a tool asks for that."""
    await a_log(launch)

    def add_column(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE topic ADD COLUMN note TEXT")

    def add_table(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE topic SET note = 'migrated'")
        connection.execute("CREATE TABLE extra (a)")

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, add_column, add_table])
    with pytest.raises(FormatVersionError, match="format version 2, this release reads 4; run the pipeline once"):
        await launch(role="tool")
    broker = await launch()
    assert [value for _, value, _, _ in await all_of(broker, "t", 0, 1)] == [b"old"]
    await broker.close()
    assert ask(folder, "PRAGMA user_version") == [(4,)]
    assert ask(folder, "SELECT note FROM topic") == [("migrated",)]
    await launch()


async def test_state_of_the_first_format_is_kept(launch: Launch, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log from before changes of state were logged opens with its state, which is then changed as any other."""
    folder.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        schema.open_for_run(folder, "full").close()
    ask(folder, "INSERT INTO state VALUES ('store', 0, x'61', x'31'), ('store', 0, x'62', x'32')")
    assert ask(folder, "PRAGMA user_version") == [(1,)]
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    assert dict(broker.state_items("store", 0)) == {b"a": b"1", b"b": b"2"}
    async with lane_of(broker, "group", "t") as lane:
        unit = lane.begin()
        unit.put_state("store", 0, {b"a": b"new", b"b": None, b"c": b"3"})
        await unit.commit()
        assert [lane.get_state("store", 0, key) for key in (b"a", b"b", b"c")] == [b"new", None, b"3"]
    await broker.maintain()
    await broker.close()
    assert ask(folder, "SELECT key, value FROM state") == [(b"a", b"new"), (b"c", b"3")]
    assert check(folder) == []


async def test_a_migration_that_fails_changes_nothing(
    launch: Launch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old version stays, whole, and readable by the release that wrote it."""
    await a_log(launch)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE topic")
        connection.execute("no such statement")

    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, fail])
        with pytest.raises(BrokerError, match="syntax error"):
            await launch()
    broker = await launch()
    assert list(await broker.topics()) == ["t"]


@pytest.mark.parametrize("role", ["run", "tool"])
async def test_a_database_of_another_program_is_refused(launch: Launch, folder: Path, role: str) -> None:
    """Somebody else's database is neither read nor changed."""
    folder.mkdir()
    ask(folder, "CREATE TABLE theirs (a)")
    with pytest.raises(BrokerError, match="a database of another program"):
        await launch(role=role)
    assert ask(folder, "SELECT name FROM sqlite_master") == [("theirs",)]


@pytest.mark.parametrize("role", ["run", "tool"])
async def test_a_file_that_is_no_database_is_refused(launch: Launch, folder: Path, role: str) -> None:
    """Any other file under that name is reported as damaged."""
    folder.mkdir()
    (folder / "log.sqlite").write_bytes(b"not a database at all\n" * 100)
    with pytest.raises(CorruptLogError, match="not a database; run `streamweaver log check"):
        await launch(role=role)


async def test_a_kill_before_the_first_transaction_is_no_obstacle(launch: Launch, folder: Path) -> None:
    """An empty file, as a kill leaves it, becomes a log."""
    folder.mkdir()
    (folder / "log.sqlite").touch()
    await a_log(launch)
