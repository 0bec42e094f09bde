"""Each promise of a codec is one that a codec can break, and no other promise tells."""

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import msgspec
import pytest

from streamweaver import codec
from streamweaver.testing.conformance import VALUES
from streamweaver.testing.conformance.promises.codec import CODEC

T = TypeVar("T", bound=type)

BROKEN: dict[str, type] = {}
"""By the behaviour that catches it: a broken codec."""

SPECIAL = "a very special text"


def broken(behaviour: str) -> Callable[[T], T]:
    """Make a class the codec that breaks a promise."""

    def declare(cls: T) -> T:
        BROKEN[behaviour] = codec("plain", example="plain")(attrs.define(eq=False, slots=False)(cls))
        return cls

    return declare


@codec("plain", example="plain")
@attrs.define(eq=False, slots=False)
class Plain:
    """JSON, and nothing special."""

    def encode(self, value: Any) -> bytes:
        return msgspec.json.encode(value)

    def decode(self, data: bytes) -> Any:
        return msgspec.json.decode(data)


@broken("gives_back_what_it_was_given")
class Shouting(Plain):
    """Raise its voice at a certain text."""

    def encode(self, value: Any) -> bytes:
        return super().encode(SPECIAL.upper() if value == SPECIAL else value)


@broken("gives_back_anything_of_its_kind")
class Narrow(Plain):
    """Cut large numbers."""

    def encode(self, value: Any) -> bytes:
        return super().encode(value % 1000 if type(value) is int and value >= 0 else value)


@broken("hostile_bytes_are_an_error_or_a_value")
class Final(Plain):
    """End everything at a zero byte."""

    def decode(self, data: bytes) -> Any:
        if data == b"\x00":
            raise SystemExit("a zero byte")
        return super().decode(data)


@broken("what_it_refused_leaves_no_trace")
class Resentful(Plain):
    """Give something else once after bytes that it refused."""

    refused: bool = attrs.field(default=False, init=False)

    def decode(self, data: bytes) -> Any:
        if self.refused:
            self.refused = False
            return "still thinking of it"
        try:
            return super().decode(data)
        except ValueError:
            self.refused = True
            raise


@broken("refuses_what_it_cannot_hold")
class Greedy(Plain):
    """Take the name for the thing."""

    def encode(self, value: Any) -> bytes:
        return msgspec.json.encode(value, enc_hook=repr)


@broken("undecodable_bytes_cost_only_themselves")
class Persuaded(Plain):
    """Give in when it is asked a second time."""

    refused: set[bytes] = attrs.field(factory=set, init=False)

    def decode(self, data: bytes) -> Any:
        if data in self.refused:
            return "as you like"
        try:
            return super().decode(data)
        except ValueError:
            self.refused.add(data)
            raise


RECORDS = [*VALUES, SPECIAL]


def test_a_healthy_codec_keeps_every_promise(caught: Any) -> None:
    """What the broken ones are made of breaks no promise."""
    assert caught(Plain, records=RECORDS) == {}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_only_this_behaviour_tells(behaviour: str, caught: Any) -> None:
    """A codec that breaks one promise fails the behaviour of that promise, and no other."""
    found = caught(BROKEN[behaviour], records=RECORDS)
    assert list(found) == [behaviour], found


def test_every_behaviour_can_fail() -> None:
    """There is a broken codec for each behaviour."""
    assert {behaviour.name for behaviour in CODEC} <= BROKEN.keys()
