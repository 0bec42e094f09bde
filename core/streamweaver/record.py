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

    A batch is a sequence of its records. Gaps in the offsets are normal (compaction, filtered records, on Kafka the
    marks of transactions), so `last_offset - first_offset + 1` is no count; `offset` tells that of one record.
    """

    records: list[Record]
    topic: str = ""
    partition: int = 0
    first_offset: int = 0
    last_offset: int = 0
    # The engine's: the offset of each row that was read. A record's `origin` says which one of them it came from.
    _row_offsets: Sequence[int] | None = attrs.field(default=None, repr=False, kw_only=True)

    def offset(self, index: int) -> int | None:
        """Return the offset in `topic` of the record at an index; of one that a step made, that of its input record.

        None for a record that was in no topic yet (a producer's, one that a `tick` made). In a batch that was made by
        hand the offsets are those from the first to the last; None where these are more or fewer than the records.
        """
        rows = self._row_offsets
        if rows is None:
            exact = self.last_offset - self.first_offset + 1 == len(self.records)
            return self.first_offset + range(len(self.records))[index] if exact else None
        origin = self.records[index].origin
        return rows[origin] if 0 <= origin < len(rows) else None

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
