"""Gathering records into larger batches for a sink."""

from core.runtime.runtime_kit import fetched
from streamweaver import Fetched
from streamweaver.runtime import gather
from streamweaver.runtime.gather import Gatherer


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
    large.values = [b"x" * (gather.MOST_BYTES - 2 * gather.RECORD_BYTES - 2), None]
    gatherer.add([large], 0.0)
    assert gatherer.take(0.0) == []
    gatherer.add([fetched(2, 1)], 0.0)
    assert sizes(gatherer.take(0.0)) == [(0, 3)]
    gatherer.add([fetched(3, 1)], 0.0)
    assert gatherer.take(0.0) == []


def test_records_without_values_count_as_well() -> None:
    """Tombstones have keys, and each record is some objects: many of them are handed on, too."""
    gatherer = Gatherer(1_000_000, 3600.0)
    small = fetched(0, 1_000)
    small.values = [None] * 1_000
    small.keys = [b"k" * 1_000] * 1_000
    for _ in range(gather.MOST_BYTES // (1_000 * (1_000 + gather.RECORD_BYTES))):
        gatherer.add([small], 0.0)
    assert gatherer.take(0.0) == []
    gatherer.add([small], 0.0)
    assert gatherer.take(0.0)
