"""The values that flow: a record, and a batch of them."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

Headers: TypeAlias = tuple[tuple[str, bytes], ...]
"""Header names with their bytes, in order; a name may repeat."""


# A Struct is made in 0.1 us, an attrs class (in Python's own bytecode) in 0.3; there is one for each record of a flow.
class Record(msgspec.Struct, eq=False):
    """One record: a value with a key, a time and headers.

    A plugin may change a record in place and hand it on, or make new ones.
    """

    value: Any
    """What the topic's codec decoded: for `json` a dict, list, str, number, bool or None. None is a tombstone."""

    key: bytes | str | None = None
    """Decides the partition; records of one key keep their order. Bytes when read; text is stored as UTF-8."""

    timestamp: int | None = None
    """Milliseconds since 1970 (UTC). None on a new record: it gets the time of its input, else the current time."""

    headers: Headers = ()
    """Carried along unchanged."""

    position: Any = None
    """Producers only: where to resume after this record. Any value that MessagePack can hold."""

    # The engine's: index of the input record (in the batch that is being processed) that this one came from. No part of
    # what a record is: neither compared nor shown.
    origin: int = -1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and _shown(self) == _shown(other)

    __hash__ = None  # type: ignore[assignment]

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return list(zip(self.__struct_fields__, _shown(self), strict=False))

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def _shown(record: Record) -> tuple[Any, ...]:
    return record.value, record.key, record.timestamp, record.headers, record.position


@attrs.define(slots=True, eq=False)
class Batch(Sequence[Record]):
    """Records of one partition, in order, at least one.

    A batch is a sequence of its records. Gaps in the offsets are normal (compaction, filtered records), so
    `last_offset - first_offset + 1` is no count.
    """

    records: list[Record]
    topic: str = ""
    partition: int = 0
    first_offset: int = 0
    last_offset: int = 0

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        return self.records[index]


@attrs.define(slots=True)
class Rejected:
    """What a producer yields in place of a record for input that it cannot read: it becomes a dead letter.

    `value` is the input as it came, `why` says what is wrong with it. Counted, kept and positioned as a record is.
    """

    value: bytes
    why: str
    key: bytes | str | None = None
    timestamp: int | None = None
    position: Any = None
