"""Cutting rows into parts, and joining them again."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.runtime.runtime_kit import fetched
from streamweaver import Fetched
from streamweaver.record import Headers
from streamweaver.runtime.rows import joined, split


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 3)), min_size=1), st.integers(1, 7))
def test_nothing_is_lost_doubled_or_reordered(parts: list[tuple[int, bool, int]], most: int) -> None:
    """However the rows came, and however they are cut: joined again they are the same, and cover the same offsets."""
    made, at = [], 0
    for count, headers, lost in parts:
        made.append(fetched(at, count, headers=headers, lost=lost))
        at += count
    whole = joined(made)
    cut = split(whole, most)
    assert all(len(part) <= most for part in cut)
    for part, following in pairwise(cut):
        assert following.offsets[0] == part.next_offset
    again = joined(cut)
    assert (again.keys, again.values, again.timestamps) == (whole.keys, whole.values, whole.timestamps)
    assert [list(pairs) for pairs in again.headers or [()] * len(again)] == [
        list(pairs) for pairs in whole.headers or [()] * len(whole)
    ]
    assert (list(again.offsets), again.next_offset, again.lost) == (list(range(at)), at, sum(part[2] for part in parts))


@given(st.lists(st.integers(1, 3), max_size=20), st.none() | st.integers(1, 6), st.booleans())
def test_pieces_are_the_whole(gaps: list[int], most: int | None, with_headers: bool) -> None:
    """However rows are cut: all of them, in order, none too long, and each piece ends where the next begins."""
    offsets = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    count = len(offsets)
    headers: list[Headers] | None = [(("h", b"%d" % index),) for index in range(count)] if with_headers else None
    values: list[bytes | None] = [b"%d" % index for index in range(count)]
    rows = Fetched([None] * count, values, list(range(count)), headers, "t", 0, offsets, 100)
    found = split(rows, most)
    assert [value for piece in found for value in piece.values] == values
    assert [offset for piece in found for offset in piece.offsets] == offsets
    assert [time for piece in found for time in piece.timestamps] == rows.timestamps
    assert [pair for piece in found for pair in piece.headers or []] == (headers or [])
    assert all(len(piece) <= (most or count) for piece in found)
    assert all(one.next_offset == other.offsets[0] for one, other in pairwise(found))
    assert found[-1].next_offset == 100
