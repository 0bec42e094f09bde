"""The codecs that come along: how values of a topic become bytes."""

from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from streamweaver.decorators import codec
from streamweaver.errors import CodecError

_json_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
_json_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
_msgpack_decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder().decode
_msgpack_encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode


@codec("json", example="json")
@attrs.frozen
class Json:
    """JSON in UTF-8, one value a record.

    NaN and infinity, which JSON has not, become null.
    """

    # Bound functions instead of methods: one call less for each record.
    encode: Callable[[Any], bytes] = attrs.field(default=_json_encode, init=False, repr=False)
    decode: Callable[[bytes], Any] = attrs.field(default=_json_decode, init=False, repr=False)


@codec("msgpack", example="msgpack")
@attrs.frozen
class Msgpack:
    """MessagePack: as JSON, but smaller, and bytes stay bytes."""

    encode: Callable[[Any], bytes] = attrs.field(default=_msgpack_encode, init=False, repr=False)
    decode: Callable[[bytes], Any] = attrs.field(default=_msgpack_decode, init=False, repr=False)


@codec("text", example="text")
@attrs.frozen
class Text:
    """Plain text in UTF-8; bytes that are no UTF-8 are an error."""

    def encode(self, value: Any) -> bytes:
        """Encode a str; anything else is an error."""
        if not isinstance(value, str):
            raise CodecError(f"codec text: got {type(value).__name__}, expected str")
        return value.encode()

    def decode(self, data: bytes) -> str:
        """Decode UTF-8."""
        return data.decode()


@codec("bytes", example="bytes")
@attrs.frozen
class Bytes:
    """Bytes as they are."""

    def encode(self, value: Any) -> bytes:
        """Pass bytes through; anything else is an error."""
        if not isinstance(value, bytes):
            raise CodecError(f"codec bytes: got {type(value).__name__}, expected bytes")
        return value

    def decode(self, data: bytes) -> bytes:
        """Pass bytes through."""
        return data
