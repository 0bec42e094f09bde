"""The values of a state store, in parts."""

import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver_brokers.kafka.store import PARTS, Store


@given(st.lists(st.tuples(st.binary(max_size=2), st.none() | st.binary(max_size=2)), max_size=60))
def test_it_is_one_dictionary(changes: list[tuple[bytes, bytes | None]]) -> None:
    """Setting, forgetting, looking up and going through are those of a dictionary."""
    store, model = Store(), {}
    for key, value in changes:
        store.set(key, value)
        model[key] = value
    kept = {key: value for key, value in model.items() if value is not None}
    assert dict(store.items()) == kept
    assert len(store) == len(kept)
    assert {key: store.get(key) for key in model} == model


@pytest.mark.parametrize("kind", ["numbers", "texts", "names"])
def test_parts_are_about_equal(kind: str) -> None:
    """Whatever keys look like, no part holds much more than its share, so that none takes long to copy."""
    keys = {
        "numbers": range(20_000),
        "texts": [f"user-{number}" for number in range(20_000)],
        "names": [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)) for number in range(20_000)],
    }[kind]
    store = Store()
    for key in keys:
        store.set(msgspec.msgpack.encode(key), b"")
    assert max(map(len, store.parts)) < 2 * len(store) / PARTS
