"""Payloads: rows to bytes and back."""

from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Headers, Rows
from streamweaver_brokers.embedded.rows import (
    CHUNK_RECORDS,
    Stored,
    checksum,
    cut,
    decode,
    encode,
    is_whole,
    joined,
    key_of,
    offset_of,
    payloads,
    validate,
)

TIMES = st.integers(-(1 << 61), 1 << 61)
HEADERS = st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2).map(tuple)


@st.composite
def some_rows(draw: st.DrawFn) -> Rows:
    """Rows with few different shapes, as real ones have."""
    count = draw(st.integers(0, 8))

    def column(items: st.SearchStrategy[object]) -> st.SearchStrategy[list[object]]:
        return st.one_of(st.lists(items, min_size=count, max_size=count), items.map(lambda item: [item] * count))

    keys = draw(column(st.none() | st.binary(max_size=4)))
    values = draw(column(st.none() | st.binary(max_size=9)))
    times = draw(column(TIMES))
    headers = draw(st.none() | column(HEADERS))
    return Rows(keys, values, times, headers)  # type: ignore[arg-type]


def stored(rows: Rows, payload: bytes, *, base: int = 5, last: int | None = None) -> Stored:
    """Make the table's row for a payload."""
    chunk_id = key_of(3, base + len(rows) - 1 if last is None else last)
    return (chunk_id, base, 1, 2, 3, 4, checksum(chunk_id, base, 1, 2, 3, 4, payload), payload)


def listed(rows: Rows) -> list[tuple[bytes | None, bytes | None, int, Headers]]:
    """Return rows one by one."""
    return list(zip(rows.keys, rows.values, rows.timestamps, rows.headers or [()] * len(rows), strict=True))


@given(some_rows())
def test_what_is_encoded_is_decoded(rows: Rows) -> None:
    """Every column comes back, whichever short form it was stored in."""
    validate("t", rows)
    row = stored(rows, encode(rows))
    chunk = decode(row)
    assert is_whole(row)
    assert listed(chunk.rows) == listed(rows)
    assert list(chunk.offsets) == list(range(5, 5 + len(rows)))


@given(some_rows(), st.data())
def test_gaps_come_back(rows: Rows, data: st.DataObject) -> None:
    """After a compaction each record has the offset that it had before."""
    count = len(rows)
    skips = sorted(data.draw(st.sets(st.integers(0, 50), min_size=count, max_size=count)))
    chunk = decode(stored(rows, encode(rows, skips), last=60))
    assert list(chunk.offsets) == [5 + skip for skip in skips]
    for offset in (5, 6, 30, 61):
        assert chunk.index(offset) == sum(other < offset for other in chunk.offsets)


@given(some_rows(), st.data())
def test_any_changed_byte_is_noticed(rows: Rows, data: st.DataObject) -> None:
    """One flipped bit in the payload or in any number makes the row not whole."""
    row = stored(rows, encode(rows))
    column = data.draw(st.integers(0, 7))
    changed: list[int | bytes] = list(row)
    if column == 7:
        payload = bytearray(row[7])
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        changed[7] = bytes(payload)
    else:
        number = row[column]
        assert isinstance(number, int)
        changed[column] = number ^ 1 << data.draw(st.integers(0, 31))
    assert not is_whole(tuple(changed))  # type: ignore[arg-type]


@given(st.lists(some_rows(), min_size=1, max_size=4))
def test_joined_rows_are_all_rows(parts: list[Rows]) -> None:
    """Joining keeps the order and copies; cutting gives the parts back."""
    whole = joined(parts)
    assert listed(whole) == [row for part in parts for row in listed(part)]
    position = 0
    for part in parts:
        assert listed(cut(whole, position, position + len(part))) == listed(part)
        position += len(part)
    whole.values.append(b"mine")
    assert len(whole.values) == sum(map(len, parts)) + 1


def test_big_appends_are_split() -> None:
    """Neither many records nor big ones end up in one chunk; a record that is big alone stays whole."""
    many = Rows([None] * 9_000, [b"x"] * 9_000, list(range(9_000)))
    big = Rows([None] * 20, [b"x" * 300_000] * 20, [0] * 20)
    one = Rows([None], [b"x" * 3_000_000], [0])
    for rows in (many, big, one):
        pieces = list(payloads(rows))
        assert [row for piece, _ in pieces for row in listed(piece)] == listed(rows)
        assert all(len(piece) <= CHUNK_RECORDS for piece, _ in pieces)
        assert all(len(payload) <= 1 << 20 or len(piece) == 1 for piece, payload in pieces)


@given(st.integers(1, (1 << 17) - 1), st.integers(0, (1 << 46) - 1))
def test_chunk_ids_sort_by_partition_and_offset(partition: int, offset: int) -> None:
    """An id holds both, fits into SQLite's integers, and all of one partition lie together."""
    assert offset_of(key_of(partition, offset)) == offset
    assert key_of(partition, 0) <= key_of(partition, offset) < key_of(partition + 1, 0) <= 1 << 63
