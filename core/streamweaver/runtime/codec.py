"""Between columns of bytes and records: decoding what a lane hands out, encoding what goes to a topic.

The hot path: list operations over whole batches. Only when one fails are records looked at one by one, to tell which.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

import attrs

from streamweaver.contracts import Codec, Fetched, Rows
from streamweaver.errors import BadRecord, CodecError
from streamweaver.partitioner import remembering
from streamweaver.record import Headers, Record

_LATEST = 1 << 62


@attrs.frozen
class Undecoded:
    """A row that could not be decoded."""

    index: int
    error: Exception


def decode(rows: Fetched, codec: Codec) -> tuple[list[Record], list[Undecoded]]:
    """Make records of rows, each with its row's index as origin, and say which rows are undecodable."""
    decode_one = codec.decode
    try:
        values = [None if value is None else decode_one(value) for value in rows.values]
    except Exception:
        return decode_each(rows, decode_one)
    headers: Iterable[Headers] = rows.headers or repeat(())
    # By `map`, so that no line of Python runs for a record.
    return list(map(Record, values, rows.keys, rows.timestamps, headers, repeat(None), range(len(values)))), []


def decode_each(rows: Fetched, decode_one: Callable[[bytes], Any]) -> tuple[list[Record], list[Undecoded]]:
    """Do the same a row at a time: the slow, obvious form, for when a row is undecodable."""
    headers = rows.headers or [()] * len(rows)
    records, undecoded = [], []
    for index, data in enumerate(rows.values):
        try:
            value = None if data is None else decode_one(data)
        except Exception as error:
            undecoded.append(Undecoded(index, error))
        else:
            records.append(Record(value, rows.keys[index], rows.timestamps[index], headers[index], None, index))
    return records, undecoded


class _Places(dict[Any, "tuple[bytes | None, int]"]):
    """Key of a record to (encoded key, partition), remembered for text and bytes."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._partition = remembering(partitions)

    def __missing__(self, key: Any) -> tuple[bytes | None, int]:
        if isinstance(key, str):
            encoded = key.encode()
        elif isinstance(key, bytes):
            encoded = key
        elif isinstance(key, int | float):
            # Not remembered: 1, 1.0 and True are one key of a dict, but not one text.
            encoded = str(key).encode()
            return encoded, self._partition(encoded)
        else:
            raise CodecError(f"key: got {type(key).__name__}, expected text, bytes or a number")
        if len(self) >= 50_000:
            # The place of records without a key is this batch's, set before any other is asked for: it stays.
            home = self[None]
            self.clear()
            self[None] = home
        self[key] = place = encoded, self._partition(encoded)
        return place


def record_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return the size of a record as brokers count it: key, value and headers."""
    return len(key or b"") + len(value or b"") + sum(len(name.encode()) + len(data) for name, data in headers)


def valid_headers(headers: Any) -> bool:
    """Whether headers are what a broker can store: pairs of text and bytes."""
    return isinstance(headers, tuple | list) and all(
        isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], bytes)
        for pair in headers
    )


def _check_columns(times: list[int], headers: list[Headers] | None) -> None:
    """Refuse what no broker could store: it must cost its record, not the stage."""
    for kind in set(map(type, times)) - {int}:
        raise CodecError(f"timestamp: got {kind.__name__}, expected int (milliseconds since 1970)")
    for time in (min(times, default=0), max(times, default=0)):
        if not -_LATEST < time < _LATEST:
            raise CodecError(f"timestamp: got {time}, expected milliseconds since 1970")
    for found in headers or ():
        if not valid_headers(found):
            raise CodecError(f"headers: got {found!r:.80}, expected pairs of str and bytes")


class Encoder:
    """Encodes records for one topic: values by its codec, keys, and the partition that follows from the key."""

    def __init__(self, codec: Codec, partitions: int, key: str | None, max_bytes: int | None = None) -> None:
        self._encode_value = codec.encode
        self._max_bytes = max_bytes
        self._partitions = partitions
        self._key_path = key.split(".") if key else []
        self._places = _Places(partitions)

    def encode(self, records: list[Record], home: int, now: int) -> dict[int, Rows]:
        """Return rows by partition. Records without a key go to the partition `home`; those without a time get `now`.

        Raises BadRecord with the index of the first record that cannot be encoded, or is too large for the broker.
        """
        try:
            return self._encode_all(records, home, now)
        except Exception:
            for index, record in enumerate(records):
                try:
                    self._encode_all([record], home, now)
                except Exception as error:
                    raise BadRecord(index, error) from error
            raise

    def _encode_all(self, records: list[Record], home: int, now: int) -> dict[int, Rows]:
        encode_value = self._encode_value
        values = [None if r.value is None else encode_value(r.value) for r in records]
        times = [now if r.timestamp is None else r.timestamp for r in records]
        places = self._place_all(records, home)
        keys = [key for key, _ in places]
        headers: list[Headers] | None = [r.headers for r in records]
        if not any(headers or ()):
            headers = None
        _check_columns(times, headers)
        if self._max_bytes is not None:
            self._check_sizes(keys, values, headers, self._max_bytes)
        if self._partitions == 1:
            return {0: Rows(keys, values, times, headers)}
        indexes: dict[int, list[int]] = defaultdict(list)
        for index, (_, partition) in enumerate(places):
            indexes[partition].append(index)
        if len(indexes) == 1:
            return {partition: Rows(keys, values, times, headers) for partition in indexes}
        return {
            partition: Rows(
                [keys[index] for index in chosen],
                [values[index] for index in chosen],
                [times[index] for index in chosen],
                None if headers is None else [headers[index] for index in chosen],
            )
            for partition, chosen in indexes.items()
        }

    @staticmethod
    def _check_sizes(
        keys: list[bytes | None],
        values: list[bytes | None],
        headers: list[Headers] | None,
        most: int,
    ) -> None:
        # The longest key and value first: nearly always that settles it for the whole batch.
        longest = max(map(len, filter(None, keys)), default=0) + max(map(len, filter(None, values)), default=0)
        if headers is None and longest <= most:
            return
        for index, (key, value) in enumerate(zip(keys, values, strict=True)):
            size = record_bytes(key, value, headers[index] if headers else ())
            if size > most:
                raise CodecError(
                    f"the record has {size} bytes, the broker takes {most}; store a reference in its place"
                )

    def _place_all(self, records: list[Record], home: int) -> list[tuple[bytes | None, int]]:
        places = self._places
        places[None] = (None, home % self._partitions)
        path = self._key_path
        if not path:
            return [places[r.key] for r in records]
        if len(path) == 1:
            field = path[0]
            try:
                keys = [r.value[field] for r in records]
                if None not in keys:
                    return [places[key] for key in keys]
            except (KeyError, TypeError):  # below it is found which record it is, and what is wrong with it
                pass
        # A tombstone has no fields; it keeps the key it came with.
        return [places[_hashable(r.key if r.value is None else _field(r.value, path))] for r in records]


def _hashable(key: Any) -> Any:
    if isinstance(key, dict | list):
        raise CodecError(f"key: got {type(key).__name__}, expected text, bytes or a number")
    return key


def _field(value: Any, path: list[str]) -> Any:
    for name in path:
        if not isinstance(value, dict) or name not in value:
            raise CodecError(f"key: the record has no field {'.'.join(path)!r}")
        value = value[name]
    if value is None:
        raise CodecError(f"key: field {'.'.join(path)!r} is null")
    return value
