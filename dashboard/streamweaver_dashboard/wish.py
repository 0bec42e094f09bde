"""What clients of the live WebSocket say."""

from typing import Annotated, Any, TypeAlias

import msgspec

from streamweaver.views.filter import Filter, parse_text, parse_where

MAX_MESSAGE = 4_096
MAX_TAILS = 4

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class TailWish(msgspec.Struct, frozen=True):
    """A look at the records of a topic as they pass."""

    id: Id
    topic: Annotated[str, msgspec.Meta(max_length=200)]
    where: dict[str, Any] = {}
    text: str = ""
    rate: Annotated[float, msgspec.Meta(ge=1, le=50)] = 20
    partition: int | None = None

    def filter(self) -> Filter:
        """Return the filter; ValueError when it is wrong."""
        return Filter(parse_where(self.where), parse_text(self.text))


class Watch(msgspec.Struct, tag_field="type", tag="watch"):
    """Everything that the client wants to see; replaces what it said before."""

    panels: Annotated[dict[str, int | None], msgspec.Meta(max_length=100)] = {}
    epoch: str = ""
    metrics: bool = False
    alerts: bool = False
    tails: list[TailWish] = []


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    """Asks for a `pong`."""

    id: Annotated[str, msgspec.Meta(max_length=100)] | int | None = None


Said: TypeAlias = Watch | Ping

_decoder: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


def parse(text: str) -> Said:
    """Read a client's message; ValueError says what is wrong with it."""
    said = _decoder.decode(text)
    if isinstance(said, Watch):
        if len({tail.id for tail in said.tails}) < len(said.tails):
            raise ValueError("tails: an id stands there twice")
        for tail in said.tails:
            tail.filter()
    return said
