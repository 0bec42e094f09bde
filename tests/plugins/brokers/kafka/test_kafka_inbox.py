"""What was fetched is handed out whole, in order, in fair and bounded shares."""

from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Fetched
from streamweaver_brokers._polling import POLL_BYTES
from streamweaver_brokers.kafka.inbox import FULL_RECORDS, Inbox

A, B = TopicPartition("topic", 0), TopicPartition("topic", 1)


def rows(
    part: TopicPartition, at: Sequence[int], end: int, value: bytes = b"v", headers: list[Any] | None = None
) -> Fetched:
    """Return what was fetched of a partition: records at these offsets, and where fetching goes on."""
    return Fetched([None] * len(at), [value] * len(at), [0] * len(at), headers, part.topic, part.partition, at, end)


def make(*parts: TopicPartition) -> tuple[Inbox, list[TopicPartition]]:
    """Return an inbox, and the list of partitions that got space again."""
    space: list[TopicPartition] = []
    return Inbox(dict.fromkeys(parts, 0), space.append), space


def offsets(items: list[Any], part: TopicPartition) -> list[int]:
    """Return the offsets handed out of a partition."""
    return [offset for item in items if item.partition == part.partition for offset in item.offsets]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30),
    st.integers(1, 7),
)
def test_everything_comes_once_in_order(fetches: list[tuple[int, int]], most: int) -> None:
    """Whatever the sizes of fetches and gaps, polls give every record once, and `next_offset` never falls behind."""
    inbox, _ = make(A)
    wanted: list[int] = []
    at = 0
    for count, gap in fetches:
        fetched = range(at, at + count)
        wanted += fetched
        at += count + gap
        if count:
            inbox.put(rows(A, fetched, at))
        else:
            inbox.skip(A, at)
    found: list[int] = []
    told = 0
    while items := inbox.take(most):
        (item,) = items
        assert len(item) <= most
        assert item.next_offset > (item.offsets[-1] if item.offsets else told - 1)
        assert item.next_offset >= told
        told = item.next_offset
        found += item.offsets
    assert found == wanted
    assert told == at


def test_what_was_fetched_before_a_seek_is_dropped() -> None:
    """Records that arrive from before the place where reading goes on are not handed out."""
    inbox, _ = make(A)
    inbox.put(rows(A, [0, 1], 2))
    inbox.move(A, 10)
    inbox.put(rows(A, [2], 3))
    inbox.skip(A, 4)
    assert inbox.take(10) == []
    inbox.put(rows(A, [10], 11))
    assert offsets(inbox.take(10), A) == [10]


def test_a_position_moves_on_without_records() -> None:
    """Marks of transactions are no records, but whoever reads is told that they are behind."""
    inbox, _ = make(A)
    inbox.skip(A, 3)
    (item,) = inbox.take(10)
    assert (len(item), item.next_offset) == (0, 3)
    assert inbox.take(10) == []


def test_shares_are_fair() -> None:
    """A partition with much does not keep the others waiting."""
    inbox, _ = make(A, B)
    inbox.put(rows(A, range(5_000), 5_000))
    inbox.put(rows(B, [0], 1))
    items = inbox.take(1_000)
    assert offsets(items, B) == [0]
    assert len(offsets(items, A)) == 500


def test_polls_are_bounded_in_bytes() -> None:
    """Large records come in several polls."""
    inbox, _ = make(A)
    inbox.put(rows(A, range(10), 10, b"x" * 900_000))
    (item,) = inbox.take(5_000)
    assert sum(map(len, item.values)) <= POLL_BYTES
    assert len(item) == 4


def test_a_full_partition_asks_for_more_when_there_is_space() -> None:
    """Fetching stops at the bound and goes on when enough was handed out."""
    inbox, space = make(A)
    inbox.put(rows(A, range(FULL_RECORDS), FULL_RECORDS))
    assert inbox.is_full(A)
    inbox.take(1_000)
    assert not inbox.is_full(A)
    assert space == [A]


def test_loss_is_told_with_the_next_rows() -> None:
    """What retention has removed is counted once, with the place where reading goes on."""
    inbox, _ = make(A)
    inbox.lose(A, 7, 7)
    (item,) = inbox.take(10)
    assert (item.lost, item.next_offset, len(item)) == (7, 7, 0)
    inbox.put(rows(A, [7], 8))
    assert inbox.take(10)[0].lost == 0


def test_pieces_of_several_fetches_are_joined() -> None:
    """One poll over two fetches gives one item; columns of which only some have headers stay in step."""
    inbox, _ = make(A)
    inbox.put(rows(A, [4, 5], 6))
    inbox.put(rows(A, [6, 8], 9, headers=[(), (("a", b"1"),)]))
    (first,) = inbox.take(3)
    assert (list(first.offsets), first.next_offset, first.headers) == ([4, 5, 6], 7, None)
    (second,) = inbox.take(3)
    assert (list(second.offsets), second.next_offset, second.headers) == ([8], 9, [(("a", b"1"),)])
