"""Values to bytes and back, for each codec that comes along."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Codec, CodecError
from streamweaver.codecs import Bytes, Json, Msgpack, Text
from streamweaver.plugin import plugin_of

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
plain = st.recursive(
    scalars | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
with_bytes = st.recursive(scalars | st.text() | st.binary(), lambda inner: st.lists(inner, max_size=5), max_leaves=20)


@given(plain)
def test_json_round_trip(value: Any) -> None:
    """What JSON can hold comes back equal, and of the same type."""
    back = Json().decode(Json().encode(value))
    assert back == value
    assert type(back) is type(value)


@given(with_bytes)
def test_msgpack_round_trip(value: Any) -> None:
    """MessagePack also brings bytes back as bytes."""
    assert Msgpack().decode(Msgpack().encode(value)) == value


@given(st.text())
def test_text_round_trip(value: str) -> None:
    """Any text comes back."""
    assert Text().decode(Text().encode(value)) == value


@given(st.binary())
def test_bytes_are_handed_through(value: bytes) -> None:
    """Bytes are not copied."""
    assert Bytes().encode(value) is value
    assert Bytes().decode(value) is value


@pytest.mark.parametrize(
    ("codec", "data"), [(Json(), b"{"), (Json(), b""), (Msgpack(), b"\xc1"), (Text(), b"\xff")], ids=repr
)
def test_bad_bytes_are_refused(codec: Codec, data: bytes) -> None:
    """Bytes that are no value of the codec raise; the engine makes a dead letter of them."""
    with pytest.raises(ValueError, match=r"\w"):
        codec.decode(data)


@pytest.mark.parametrize(
    ("codec", "value", "text"),
    [
        (Text(), 5, "codec text: got int, expected str"),
        (Bytes(), "5", "codec bytes: got str, expected bytes"),
    ],
)
def test_values_of_the_wrong_type_are_refused(codec: Codec, value: Any, text: str) -> None:
    """The error says which codec, what it got, and what it takes."""
    with pytest.raises(CodecError) as caught:
        codec.encode(value)
    assert str(caught.value) == text


@pytest.mark.parametrize("value", [object(), {1, object()}], ids=["object", "set of objects"])
@pytest.mark.parametrize("codec", [Json(), Msgpack()], ids=["json", "msgpack"])
def test_values_without_a_form_are_refused(codec: Codec, value: Any) -> None:
    """A value that the format cannot hold raises instead of being stored as something else."""
    with pytest.raises(TypeError):
        codec.encode(value)


@pytest.mark.parametrize(("cls", "name"), [(Json, "json"), (Msgpack, "msgpack"), (Text, "text"), (Bytes, "bytes")])
def test_codecs_are_plugins_without_options(cls: type[Any], name: str) -> None:
    """Each fits the contract, is described under its name, and needs no configuration."""
    described = plugin_of(cls)
    assert (described.kind, described.name) == ("codec", name)
    assert isinstance(cls(), Codec)
    assert cls() == cls()
