"""`log check` on logs that are whole, and that are not."""

import sqlite3
from pathlib import Path


def test_a_whole_log(run, ran: Path) -> None:
    """Exit status 0, for people and programs."""
    assert "whole; every record can be read" in run("log", "check", ".streamweaver/shop").out
    said = run("log", "check", ".streamweaver/shop", "--json")
    assert (said.status, said.json["whole"], said.json["damages"]) == (0, True, [])


def test_a_log_that_is_no_database(run, ran: Path) -> None:
    """It is told in one line, which does not send the user to the command just run."""
    for path in Path(".streamweaver/shop").glob("log.sqlite*"):
        path.unlink()
    Path(".streamweaver/shop/log.sqlite").write_bytes(b"not a database" * 1000)
    said = run("log", "check", ".streamweaver/shop")
    assert said.status == 1
    assert said.out.startswith(".streamweaver/shop/log.sqlite: file is not a database\n")
    assert "log check" not in said.out + said.err


def test_a_damaged_log(run, ran: Path) -> None:
    """A record whose bytes were changed is told with topic, partition and offsets; exit status 1."""
    with sqlite3.connect(".streamweaver/shop/log.sqlite") as connection:
        connection.execute(
            "UPDATE chunk SET payload = zeroblob(length(payload)) WHERE id = (SELECT min(id) FROM chunk)"
        )
    connection.close()
    said = run("log", "check", ".streamweaver/shop")
    assert said.status == 1
    assert "partition 0, offsets 0 to " in said.out
    found = run("log", "check", ".streamweaver/shop", "--json").json
    assert found["whole"] is False
    assert set(found["damages"][0]) == {"message", "topic", "partition", "first", "last"}
