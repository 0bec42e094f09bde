"""Gathering records into larger batches for a sink."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Fetched
from streamweaver.runtime import gather
from streamweaver.runtime.gather import Gatherer, joined, split


def fetched(first: int, count: int, partition: int = 0, *, lost: int = 0, headers: bool = False) -> Fetched:
    numbers = range(first, first + count)
    return Fetched(
        [b"%d" % n for n in numbers],
        [b"value %d" % n for n in numbers],
        list(numbers),
        [(("h", b"%d" % n),) for n in numbers] if headers else None,
        "t",
        partition,
        numbers,
        first + count,
        lost,
    )


def sizes(parts: list[Fetched]) -> list[tuple[int, int]]:
    return [(part.partition, len(part)) for part in parts]


def test_enough_records_are_due_at_once_and_the_rest_waits() -> None:
    """Each partition for itself; the rest's wait begins when what was before it is handed on."""
    gatherer = Gatherer(10, 5.0)
    gatherer.add([fetched(0, 7), fetched(0, 3, 1)], 100.0)
    assert gatherer.take(100.0) == []
    assert gatherer.seconds_left(101.0) == 4.0
    gatherer.add([fetched(7, 18)], 102.0)
    assert sizes(gatherer.take(102.0)) == [(0, 10), (0, 10)]
    assert sizes(gatherer.take(105.0)) == [(1, 3)]
    assert gatherer.seconds_left(105.0) == 2.0
    (rest,) = gatherer.take(107.0)
    assert (list(rest.offsets), rest.next_offset) == ([20, 21, 22, 23, 24], 25)
    assert gatherer.take(1_000.0, hurry=True) == []
    assert gatherer.seconds_left(107.0) is None


def test_in_a_hurry_everything_is_due() -> None:
    """Also what is only said of offsets, without rows."""
    gatherer = Gatherer(10, 5.0)
    gatherer.add([fetched(0, 1), fetched(5, 0, 1)], 100.0)
    assert sizes(gatherer.take(100.0, hurry=True)) == [(0, 1), (1, 0)]


def test_what_is_held_is_bounded_in_bytes() -> None:
    """A topic of large records is handed on before there are enough."""
    gatherer = Gatherer(1_000_000, 3600.0)
    large = fetched(0, 2)
    large.values = [b"x" * gather.MOST_BYTES, None]
    gatherer.add([large], 0.0)
    assert gatherer.take(0.0) == []
    gatherer.add([fetched(2, 1)], 0.0)
    assert sizes(gatherer.take(0.0)) == [(0, 3)]
    gatherer.add([fetched(3, 1)], 0.0)
    assert gatherer.take(0.0) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 3)), min_size=1), st.integers(1, 7))
def test_nothing_is_lost_doubled_or_reordered(parts: list[tuple[int, bool, int]], most: int) -> None:
    """However the rows came, and however they are cut: joined again they are the same, and cover the same offsets."""
    made, at = [], 0
    for count, headers, lost in parts:
        made.append(fetched(at, count, headers=headers, lost=lost))
        at += count
    whole = joined(made)
    cut = list(split(whole, most))
    assert all(len(part) <= most for part in cut)
    for part, following in pairwise(cut):
        assert following.offsets[0] == part.next_offset
    again = joined(cut)
    assert (again.keys, again.values, again.timestamps) == (whole.keys, whole.values, whole.timestamps)
    assert [list(pairs) for pairs in again.headers or [()] * len(again)] == [
        list(pairs) for pairs in whole.headers or [()] * len(whole)
    ]
    assert (list(again.offsets), again.next_offset, again.lost) == (list(range(at)), at, sum(part[2] for part in parts))
