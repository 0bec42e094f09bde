r"""Records as rows of text: NDJSON or CSV. Pure."""

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import attrs
import msgspec

from streamweaver import BadRecord, Batch, Record

_encoder = msgspec.json.Encoder()

RECORD_FIELDS = ("topic", "partition", "offset", "key", "timestamp", "headers")


class Rows(Protocol):
    """Turns batches into rows. BadRecord names the record that cannot be one."""

    layout: str
    columns: list[str]

    def header(self) -> bytes:
        """Return what stands at the top of each file; empty for none, or while it is not known yet."""

    def encode(self, batch: Batch) -> bytes:
        """Return the rows of a batch, each with its line end."""


def text_of(key: bytes | str | None) -> str | None:
    """Return a key as text; bytes that are no UTF-8 are shown escaped."""
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else key


def _about(batch: Batch, index: int, record: Record) -> dict[str, Any]:
    return {
        "topic": batch.topic,
        "partition": batch.partition,
        "offset": batch.offset(index),
        "key": text_of(record.key),
        "timestamp": record.timestamp,
        "headers": [[name, text_of(data)] for name, data in record.headers],
    }


@attrs.define
class Ndjson:
    """One JSON text a line: the value, or an object with everything about the record."""

    include: Literal["value", "record"]
    layout: str = attrs.field(init=False)
    columns: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.layout = f"ndjson {self.include}"

    def header(self) -> bytes:
        """Return nothing: NDJSON has no header."""
        return b""

    def encode(self, batch: Batch) -> bytes:
        """Encode a batch in one call where all is well."""
        if self.include == "value":
            items = [record.value for record in batch.records]
        else:
            items = [_about(batch, i, r) | {"value": r.value} for i, r in enumerate(batch.records)]
        try:
            return _encoder.encode_lines(items)
        except Exception:
            for index, item in enumerate(items):
                _check_json(item, index)
            raise


def _check_json(item: Any, index: int) -> None:
    try:
        _encoder.encode(item)
    except Exception as error:
        raise BadRecord(index, f"file: the value cannot be JSON: {error}") from error


@attrs.define
class Csv:
    """One row a record, under a header.

    Without `columns` the fields of the first record are the columns. A record that has further fields is then bad,
    since leaving them out would lose data silently; with `columns` the others are left out on purpose. Missing fields
    and None are empty, booleans `true` and `false`, nested values JSON, bytes base64.
    """

    include: Literal["value", "record"]
    columns: list[str]
    chosen: bool
    """Whether the columns were given as an option."""
    layout: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.layout = f"csv {self.include}"

    def header(self) -> bytes:
        """Return the header line, once the columns are known."""
        if not self.columns:
            return b""
        about = [f"record_{name}" for name in RECORD_FIELDS] if self.include == "record" else []
        return _line([[*about, *self.columns]])

    def encode(self, batch: Batch) -> bytes:
        """Encode a batch; the first one may settle the columns."""
        columns = self.columns
        rows = []
        for index, record in enumerate(batch.records):
            value = record.value
            if not isinstance(value, dict):
                raise BadRecord(index, f"file: got {type(value).__name__}, expected an object to make a CSV row of")
            if not columns:
                columns = [str(name) for name in value]
                if not columns:
                    raise BadRecord(index, "file: got an empty object, expected fields; list them in `columns`")
            if not self.chosen and (unknown := [name for name in value if name not in columns]):
                raise BadRecord(index, f"file: field {unknown[0]!r} is no column of the file; list `columns`")
            try:
                row = [_cell(value.get(name)) for name in columns]
                if self.include == "record":
                    row = [*map(_cell, _about(batch, index, record).values()), *row]
            except Exception as error:
                raise BadRecord(index, f"file: the value cannot be a CSV row: {error}") from error
            rows.append(row)
        try:
            encoded = _line(rows)
        except UnicodeEncodeError:
            for index, row in enumerate(rows):
                _check_text(row, index)
            raise
        self.columns = columns
        return encoded


def _check_text(row: list[Any], index: int) -> None:
    try:
        _line([row])
    except UnicodeEncodeError as error:
        raise BadRecord(index, f"file: the value is no valid text: {error.reason}") from error


def _line(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    encoded = _encoder.encode(value).decode()
    # A text in quotes is what bytes, dates and the like become: the quotes are JSON's, not the value's.
    return msgspec.json.decode(encoded) if encoded.startswith('"') else encoded
