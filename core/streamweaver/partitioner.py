"""Which partition a key belongs to: the same as Kafka's Java client chooses, so a topic may move there and back."""

from collections.abc import Callable

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 hash of some bytes, unsigned."""
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length & 3:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key in a topic of so many partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


# A few megabytes at most; a hash in plain Python costs 2 us, a look-up 0.04.
_REMEMBERED = 50_000


def remembering(partitions: int) -> Callable[[bytes], int]:
    """Return `partition_of` for one topic, with a bounded memory of the keys it has seen."""
    if partitions == 1:
        return lambda _key: 0

    class Memory(dict[bytes, int]):
        def __missing__(self, key: bytes) -> int:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[key] = found = partition_of(key, partitions)
            return found

    return Memory().__getitem__
