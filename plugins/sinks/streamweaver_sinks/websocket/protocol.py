"""The messages of the websocket sink, version 1: what clients may say, and how records look on the wire.

Every message is one JSON object in one text frame. The client may say `subscribe` (channel, where, history),
`unsubscribe` (channel), `view` (id, channel, and what a panel of the dashboard has), `unview` (id), `ping` (id) and
`auth` (token); the server says `hello` (protocol, channels, subscribed), `records` (channel, records, dropped, and
`history` where they are of the past), `heartbeat` (dropped by channel), `viewing` (id, channel, view), `views` (time,
views), `subscribed`, `unsubscribed`, `unviewed`, `pong` and `error` (message). The page docs/websocket.md has the whole
protocol.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec

from streamweaver import Record, Seconds
from streamweaver.views import Panel, PanelConfig, PanelKind, Show, parse_where

VERSION = 1

FRAME_BYTES = 256 * 1024
"""Frames are cut at about this size, so that one slow reader's progress is visible."""

RECORD_BYTES = 1_000_000
"""Larger records and views are not shown: common clients refuse messages of more than 1 MiB and would hang up."""

MAX_FIELDS = 8
MAX_VALUES = 100

Scalar: TypeAlias = str | int | float | bool | None
Where: TypeAlias = Mapping[str, Scalar | list[Scalar]]


# -- what clients say -----------------------------------------------------------------------------


class Message(msgspec.Struct, tag_field="type", tag=str.lower, forbid_unknown_fields=True):
    """A message of a client; its class name is its `type`."""


class Subscribe(Message):
    """Ask for a channel (again: replaces the former wish), filtered by `where`, with `history` records first."""

    channel: str
    where: dict[str, Scalar | list[Scalar]] = {}
    history: Annotated[int, msgspec.Meta(ge=0)] = 0


class Unsubscribe(Message):
    """End a channel."""

    channel: str


Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Path: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[^.\s]+(\.[^.\s]+)*$", max_length=200)]


class View(Message):
    """Look at a channel as a panel of the dashboard does; again with the same `id`: replaces it."""

    id: Name
    channel: str
    kind: PanelKind
    y: Path | Annotated[list[Path], msgspec.Meta(max_length=8)] = []
    by: Path | None = None
    split: Path | None = None
    fields: Annotated[list[Path], msgspec.Meta(max_length=50)] = []
    where: dict[str, Scalar | list[Scalar]] = {}
    show: Show | None = None
    top: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] | None = None
    span_seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] | None = None
    min: float | None = None
    max: float | None = None

    def panel(self) -> PanelConfig:
        """Return it as the options of a panel; ValueError when they do not go together."""
        parse_where(self.where)
        return PanelConfig(
            kind=self.kind,
            y=self.y,
            by=self.by,
            split=self.split,
            fields=self.fields,
            where=self.where,
            show=self.show,
            top=self.top,
            limit=self.limit,
            span=None if self.span_seconds is None else Seconds(self.span_seconds),
            min=self.min,
            max=self.max,
        )


class Unview(Message):
    """End a view."""

    id: str


class Ping(Message):
    """Ask for a `pong`, which carries the same `id`."""

    id: str | int | None = None


class Auth(Message):
    """Show the token; only as the first message."""

    token: str


Said: TypeAlias = Subscribe | Unsubscribe | View | Unview | Ping | Auth

_decoder: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


def parse(text: str) -> Said:
    """Read a client's message; ValueError says what is wrong with it."""
    message = _decoder.decode(text)
    if isinstance(message, Subscribe):
        if len(message.where) > MAX_FIELDS:
            raise ValueError(f"where: got {len(message.where)} fields, expected at most {MAX_FIELDS}")
        for field, wanted in message.where.items():
            if isinstance(wanted, list) and len(wanted) > MAX_VALUES:
                raise ValueError(f"where.{field}: got {len(wanted)} values, expected at most {MAX_VALUES}")
    return message


def matcher(where: Where) -> Callable[[Any], bool] | None:
    """Turn `where` into a test of a record's value; None when it asks for nothing.

    Every field must equal its value, or one of its list. A dotted field goes into nested objects; a field whose name
    has a dot in it is found as well.
    """
    if not where:
        return None
    wanted = [
        (field, field.split("."), {_exact(v) for v in (values if isinstance(values, list) else [values])})
        for field, values in where.items()
    ]

    def matches(value: Any) -> bool:
        return all(_exact(_find(value, field, path)) in accepted for field, path, accepted in wanted)

    return matches


_ABSENT = object()


def _find(value: Any, field: str, path: list[str]) -> Any:
    if isinstance(value, Mapping) and field in value:
        return value[field]
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def _exact(value: Any) -> tuple[bool, Any]:
    """Make a key under which True differs from 1, and a value that is no scalar equals nothing."""
    return isinstance(value, bool), value if value is None or isinstance(value, str | int | float) else _ABSENT_KEY


# Equal to nothing a client can send.
_ABSENT_KEY = ("absent",)


# -- what the server says -------------------------------------------------------------------------


class _Wire(msgspec.Struct):
    key: str | None
    timestamp: int | None
    value: Any


_encoder = msgspec.json.Encoder(enc_hook=str)


def say(kind: str, **fields: Any) -> bytes:
    """Encode a message of the server other than records."""
    return _encoder.encode({"type": kind, **fields})


def encode_records(records: Iterable[Record]) -> bytes:
    r"""Encode records as JSON, each followed by `\n` (which JSON text has nowhere else).

    Never fails: bytes become base64, other foreign objects their `str`, and what cannot be encoded even so (a lone
    surrogate) its `ascii` form.
    """
    wires = [_Wire(_text(record.key), record.timestamp, record.value) for record in records]
    try:
        return _encoder.encode_lines(wires)
    except Exception:  # a live view shows what it can of anything a plugin made
        return b"".join(map(_encode_somehow, wires))


def _encode_somehow(wire: _Wire) -> bytes:
    try:
        return _encoder.encode(wire) + b"\n"
    except Exception:
        shown = ascii(wire.value)[: RECORD_BYTES // 2]
        return _encoder.encode(_Wire(ascii(wire.key) if wire.key else None, wire.timestamp, shown)) + b"\n"


def _text(key: bytes | str | None) -> str | None:
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else key


_TAIL = b'],"dropped":0}'


def records_frame(channel: str, body: bytes, *, history: bool = False) -> bytes:
    """Make a frame of encoded records that are already joined by commas."""
    mark = b',"history":true' if history else b""
    return b'{"type":"records","channel":%b%b,"records":[%b%b' % (_encoder.encode(channel), mark, body, _TAIL)


def with_dropped(frame: bytes, dropped: int) -> bytes:
    """Return a records frame that says how many records were dropped before it."""
    return b"%b%d}" % (frame[:-2], dropped)


def viewing(name: str, panel: Panel) -> bytes:
    """Make the answer to `view`: what is shown, with every default filled in."""
    shown = ("kind", "y", "by", "split", "fields", "where", "show", "top", "limit", "span_seconds")
    return say("viewing", id=name, channel=panel.topic, view={field: getattr(panel, field) for field in shown})


def views_frame(now: int, parts: Sequence[bytes]) -> bytes:
    """Make the message of what changed in a client's views."""
    return b'{"type":"views","time":%d,"views":[%b]}' % (now, b",".join(parts))


def cut(lines: Sequence[bytes]) -> Iterable[tuple[bytes, int]]:
    """Join encoded records into bodies of frames, none much over FRAME_BYTES; with the count of records of each."""
    group: list[bytes] = []
    size = 0
    for line in lines:
        if group and size + len(line) > FRAME_BYTES:
            yield b",".join(group), len(group)
            group, size = [], 0
        group.append(line)
        size += len(line) + 1
    if group:
        yield b",".join(group), len(group)
