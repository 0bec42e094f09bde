"""Records in columns, as clients get them. Nothing in them can fail to be sent, and nothing is large."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from streamweaver.views.field import ABSENT, getter, key_text
from streamweaver.views.seen import Seen, Undecodable

LIVE_BYTES = 4_096
API_BYTES = 1_048_576
TEXT_LENGTH = 4_096
HEADER_LENGTH = 1_000
MAX_HEADERS = 50

_encoder = msgspec.json.Encoder(enc_hook=str)


def to_json(value: Any) -> bytes:
    """Encode anything: foreign objects by their text, and what cannot be encoded even so by its `ascii`."""
    try:
        return _encoder.encode(value)
    except Exception:
        return _encoder.encode(ascii(value)[:TEXT_LENGTH])


class One:
    """One record, prepared for being sent."""

    __slots__ = ("headers", "key", "offset", "partition", "raw", "time", "value")

    def __init__(self, seen: Seen, index: int, most_bytes: int, fields: Sequence[str] = ()) -> None:
        self.partition = seen.partition
        self.offset = seen.offsets[index]
        self.time = seen.times[index]
        self.key = _cut(key_text(seen.keys[index]))
        self.value, self.raw = _shown(seen, index, most_bytes, fields)
        headers = seen.headers[index] if seen.headers is not None else ()
        self.headers = [
            [name, data.decode(errors="backslashreplace")[:HEADER_LENGTH]] for name, data in headers[:MAX_HEADERS]
        ]


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"


_NULL = msgspec.Raw(b"null")


def _shown(seen: Seen, index: int, most_bytes: int, fields: Sequence[str]) -> tuple[msgspec.Raw, dict[str, Any] | None]:
    value, raw = seen.values[index], seen.raws[index]
    if isinstance(value, Undecodable):
        text = (raw or b"")[:TEXT_LENGTH].decode(errors="backslashreplace")[:TEXT_LENGTH]
        return _NULL, {"why": "undecodable", "bytes": len(raw or b""), "text": text, "error": value.why[:500]}
    if fields:
        value = {path: found for path in fields if (found := getter(path)(value)) is not ABSENT}
    encoded = to_json(value)
    if len(encoded) > most_bytes:
        text = encoded[:TEXT_LENGTH].decode(errors="ignore")
        return _NULL, {"why": "large", "bytes": len(encoded), "text": text}
    return msgspec.Raw(encoded), None


def columns(records: Iterable[One]) -> dict[str, Any]:
    """Put records into columns."""
    made: dict[str, Any] = {"partition": [], "offset": [], "time": [], "key": [], "value": []}
    headers: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    for index, record in enumerate(records):
        made["partition"].append(record.partition)
        made["offset"].append(record.offset)
        made["time"].append(record.time)
        made["key"].append(record.key)
        made["value"].append(record.value)
        if record.headers:
            headers[str(index)] = record.headers
        if record.raw is not None:
            raw[str(index)] = record.raw
    if headers:
        made["headers"] = headers
    if raw:
        made["raw"] = raw
    return made
