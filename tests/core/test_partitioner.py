"""Keys and partitions: what Kafka's clients choose."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as kafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import partitioner
from streamweaver.partitioner import murmur2, partition_of, remembering


@given(st.binary(max_size=40))
def test_the_hash_is_kafkas(key: bytes) -> None:
    """For keys of every length."""
    assert murmur2(key) == kafka_murmur2(key) & 0xFFFFFFFF


@given(st.binary(max_size=40), st.integers(1, 500))
def test_the_partition_is_kafkas(key: bytes, partitions: int) -> None:
    """Remembered or not."""
    every = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, every, every)
    assert remembering(partitions)(key) == partition_of(key, partitions)


@pytest.mark.parametrize(
    ("key", "hashed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
def test_the_hash_is_that_of_the_java_client(key: bytes, hashed: int) -> None:
    """Values from the tests of Kafka itself."""
    assert murmur2(key) == hashed & 0xFFFFFFFF


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It forgets, and still answers right."""
    monkeypatch.setattr(partitioner, "_REMEMBERED", 10)
    place = remembering(7)
    for n in range(100):
        assert place(b"%d" % n) == partition_of(b"%d" % n, 7)
    assert len(place.__self__) <= 10  # type: ignore[attr-defined]
