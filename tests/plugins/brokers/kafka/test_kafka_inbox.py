"""What was fetched is handed out whole, in order, in fair and bounded shares."""

from typing import Any

import attrs
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streamweaver_brokers.kafka.inbox import FULL_RECORDS, POLL_BYTES, Inbox, fetched

A, B = TopicPartition("topic", 0), TopicPartition("topic", 1)


@attrs.frozen
class Record:
    """What aiokafka hands out, as far as it is looked at."""

    offset: int
    value: bytes | None = b"v"
    key: bytes | None = None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def serialized_value_size(self) -> int:
        return -1 if self.value is None else len(self.value)

    @property
    def serialized_key_size(self) -> int:
        return -1 if self.key is None else len(self.key)


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
        records = [Record(at + number) for number in range(count)]
        wanted += [record.offset for record in records]
        at += count + gap
        inbox.put(A, records, at)
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
    inbox.put(A, [Record(0), Record(1)], 2)
    inbox.move(A, 10)
    inbox.put(A, [Record(2)], 3)
    assert inbox.take(10) == []
    inbox.put(A, [Record(10)], 11)
    assert offsets(inbox.take(10), A) == [10]


def test_a_position_moves_on_without_records() -> None:
    """Marks of transactions are no records, but whoever reads is told that they are behind."""
    inbox, _ = make(A)
    inbox.put(A, (), 3)
    (item,) = inbox.take(10)
    assert (len(item), item.next_offset) == (0, 3)
    assert inbox.take(10) == []


def test_shares_are_fair() -> None:
    """A partition with much does not keep the others waiting."""
    inbox, _ = make(A, B)
    inbox.put(A, [Record(number) for number in range(5_000)], 5_000)
    inbox.put(B, [Record(0)], 1)
    items = inbox.take(1_000)
    assert offsets(items, B) == [0]
    assert len(offsets(items, A)) == 500


def test_polls_are_bounded_in_bytes() -> None:
    """Large records come in several polls."""
    inbox, _ = make(A)
    inbox.put(A, [Record(number, b"x" * 900_000) for number in range(10)], 10)
    (item,) = inbox.take(5_000)
    assert sum(map(len, item.values)) <= POLL_BYTES
    assert len(item) == 4


def test_a_full_partition_asks_for_more_when_there_is_space() -> None:
    """Fetching stops at the bound and goes on when enough was handed out."""
    inbox, space = make(A)
    inbox.put(A, [Record(number) for number in range(FULL_RECORDS)], FULL_RECORDS)
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
    inbox.put(A, [Record(7)], 8)
    assert inbox.take(10)[0].lost == 0


def test_columns_are_what_records_are() -> None:
    """Offsets without gaps become a range; a header without a value, as others may write it, an empty one."""
    item = fetched(A, [Record(4, headers=(("a", None),)), Record(5)], 6)
    assert item.offsets == range(4, 6)
    assert item.headers == [(("a", b""),), ()]
    assert list(fetched(A, [Record(4), Record(6)], 7).offsets) == [4, 6]
    assert fetched(A, [Record(4)], 5).headers is None
