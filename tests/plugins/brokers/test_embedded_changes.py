"""Changes of state as rows, and back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver_brokers.embedded import changes, schema
from streamweaver_brokers.embedded.changes import Changes, decoded, merged, read, rows_of

PLACES = st.tuples(st.sampled_from(["", "store", "größe"]), st.integers(0, 2))
CHANGES = st.dictionaries(
    PLACES, st.dictionaries(st.binary(max_size=3), st.none() | st.binary(max_size=40)), max_size=4
)


@given(st.lists(CHANGES, max_size=4), st.integers(1, 100))
def test_rows_hold_all_changes_in_order(units: list[Changes], limit: int) -> None:
    """However small the rows must be, what is read back, merged, is what was written, and the ids rise by one."""
    with closing(sqlite3.connect(":memory:")) as connection, pytest.MonkeyPatch.context() as patched:
        patched.setattr(changes, "PAYLOAD_BYTES", limit)
        for migrate in schema.MIGRATIONS:
            migrate(connection)
        wanted = merged(units)
        last = 0
        for unit in units:
            rows = rows_of(unit, last + 1)
            assert [number for number, _, _ in rows] == list(range(last + 1, last + 1 + len(rows)))
            assert not [row for row in rows if isinstance(decoded(row), str)]
            connection.executemany("INSERT INTO change VALUES (?, ?, ?)", rows)
            last += len(rows)
        found = list(read(connection, Path("log"), 0))
        assert [number for number, _, _ in found] == list(range(1, last + 1))
        kept = {place: values for place, values in merged(part for _, _, part in found).items() if values}
        assert kept == {place: values for place, values in wanted.items() if values}


def test_a_big_change_is_split() -> None:
    """No row is much bigger than it may be, unless a single value is."""
    big: Changes = {("store", 0): {b"%d" % number: b"x" * 1_000 for number in range(5_000)}, ("store", 1): {b"a": b""}}
    sizes = [len(payload) for _, _, payload in rows_of(big, 1)]
    assert max(sizes) <= changes.PAYLOAD_BYTES
    assert len(sizes) < 12


def test_what_is_merged_is_nobodys_else() -> None:
    """The merged changes go into memory, so they share nothing with the units that they came from."""
    unit: Changes = {("store", 0): {b"a": b"1"}}
    merged([unit])[("store", 0)][b"a"] = b"2"
    assert unit == {("store", 0): {b"a": b"1"}}
