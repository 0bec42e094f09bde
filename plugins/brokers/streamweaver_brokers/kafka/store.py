"""The values of one state store by key, in parts small enough that copying one of them holds nobody up."""

from collections.abc import Iterator
from zlib import adler32

PARTS = 509
"""A prime, so that both halves of a checksum have a say in where a key goes."""

Part = dict[bytes, bytes]


def _number(key: bytes) -> int:
    # The same in every process, unlike `hash`, so that a part that was copied to disk is a part again.
    return adler32(key) % PARTS


class Store:
    """Values by key."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[Part] = [{} for _ in range(PARTS)]

    def get(self, key: bytes) -> bytes | None:
        """Return a value."""
        return self.parts[_number(key)].get(key)

    def set(self, key: bytes, value: bytes | None) -> None:
        """Set a value, or forget it."""
        part = self.parts[_number(key)]
        if value is None:
            part.pop(key, None)
        else:
            part[key] = value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Go through the values as they are now, whatever changes meanwhile."""
        yield from [item for part in self.parts for item in part.items()]

    def __len__(self) -> int:
        return sum(map(len, self.parts))
