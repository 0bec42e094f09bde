"""Records as the dashboard sees them: decoded once, in columns, shared by everything that shows them."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from streamweaver import Codec, Fetched, Headers


class Undecodable:
    """Stands in a value's place."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


@attrs.define(slots=True, eq=False)
class Seen:
    """Records of one partition, in order."""

    topic: str
    partition: int
    offsets: Sequence[int]
    times: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[Any]
    raws: Sequence[bytes | None]
    headers: Sequence[Headers] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def part(self, indexes: Sequence[int]) -> "Seen":
        """Return some of the records."""
        return Seen(
            self.topic,
            self.partition,
            [self.offsets[i] for i in indexes],
            [self.times[i] for i in indexes],
            [self.keys[i] for i in indexes],
            [self.values[i] for i in indexes],
            [self.raws[i] for i in indexes],
            None if self.headers is None else [self.headers[i] for i in indexes],
        )


def decode(rows: Fetched, codec: Codec) -> Seen:
    """Decode fetched rows; what cannot be decoded stays, marked."""
    decode_one = codec.decode
    try:
        values = [None if raw is None else decode_one(raw) for raw in rows.values]
    except Exception:
        values = [_decode_somehow(raw, decode_one) for raw in rows.values]
    return Seen(rows.topic, rows.partition, rows.offsets, rows.timestamps, rows.keys, values, rows.values, rows.headers)


def _decode_somehow(raw: bytes | None, decode_one: Callable[[bytes], Any]) -> Any:
    try:
        return None if raw is None else decode_one(raw)
    except Exception as error:  # a codec may raise anything; the record is shown as it is
        return Undecodable(f"{type(error).__name__}: {error}")
