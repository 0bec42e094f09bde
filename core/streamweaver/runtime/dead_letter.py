"""Dead letters: the record as it came, with what happened to it in headers of ours.

Value, key and headers of the original stay byte for byte, so a dead letter can be read by any client and replayed.
Its timestamp is the time of the failure.
"""

from typing import Any

import attrs

from streamweaver.contracts import Rows
from streamweaver.record import Headers
from streamweaver.runtime.codec import record_bytes

PREFIX = "streamweaver."
"""Begins the name of each header of ours."""

_LONGEST_REASON = 4_000
"""Characters; an error's text may hold the whole record, which the dead letter has already."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """One record that a stage could not process."""

    stage: str
    step: str
    """The step that failed, or `decode`, `encode`, `produce`, `write`."""
    error: str
    """Class of the error."""
    reason: str
    """Its text."""
    tries: int
    failed_at: int
    """When, in ms."""
    topic: str
    partition: int
    offset: int
    """Where the record came from; for a producer's record the topic it was meant for, and offset -1."""
    timestamp: int
    cut: int = 0
    """Bytes of the value (and then the headers, and then the key) that are left out: the broker takes no more."""
    cut_of_key: int = 0
    """How many of these are the key's: what is left is another key."""
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what programs see, key, value and headers left out since their form depends on the reader."""
        return attrs.asdict(self, filter=lambda a, _: a.name not in ("key", "value", "headers"))


def to_rows(letters: list[DeadLetter], max_bytes: int | None = None) -> Rows:
    """Put dead letters into columns; what is too large for the broker is cut, and the letter says so."""
    if max_bytes is not None:
        letters = [_fitted(letter, max_bytes) for letter in letters]
    return Rows(
        [letter.key for letter in letters],
        [letter.value for letter in letters],
        [letter.failed_at for letter in letters],
        [_own_headers(letter) + letter.headers for letter in letters],
    )


# What the reason may grow by when a letter is cut, and then some.
_ROOM = 200


def _fitted(letter: DeadLetter, most: int) -> DeadLetter:
    """Cut what is too large: first the value, then the original's headers (all of them), and only then the key."""
    key, value = letter.key or b"", letter.value or b""
    own = record_bytes(None, None, _own_headers(letter)) + _ROOM
    headers = letter.headers
    if own + record_bytes(key, value, headers) <= most:
        return letter
    if own + record_bytes(key, None, headers) > most:
        headers = ()
    kept_key = key[: max(0, most - own)]
    kept = value[: max(0, most - own - record_bytes(kept_key, None, headers))]
    note = f"kept {len(kept)} of {len(value)} bytes of the value"
    if len(kept_key) < len(key):
        note += f", {len(kept_key)} of {len(key)} of the key"
    return attrs.evolve(
        letter,
        key=None if letter.key is None else kept_key,
        value=None if letter.value is None else kept,
        headers=headers,
        reason=f"{letter.reason} ({note})",
        cut=record_bytes(key, value, letter.headers) - record_bytes(kept_key, kept, headers),
        cut_of_key=len(key) - len(kept_key),
    )


def from_row(key: bytes | None, value: bytes | None, failed_at: int, headers: Headers) -> DeadLetter:
    """Read a dead letter back; ValueError when it is none."""
    # Ours come first; a header of the original may have any name, ours included.
    own = {name.removeprefix(PREFIX): data.decode() for name, data in headers[: len(_OWN)] if name.startswith(PREFIX)}
    try:
        cut, _, cut_of_key = own["cut"].partition(_OF_KEY)
        return DeadLetter(
            stage=own["stage"],
            step=own["step"],
            error=own["error"],
            reason=own["reason"],
            tries=int(own["tries"]),
            failed_at=failed_at,
            topic=own["topic"],
            partition=int(own["partition"]),
            offset=int(own["offset"]),
            timestamp=int(own["timestamp"]),
            cut=int(cut),
            cut_of_key=int(cut_of_key or 0),
            key=key,
            value=value,
            headers=headers[len(_OWN) :],
        )
    except KeyError as error:
        raise ValueError(f"no dead letter: header {PREFIX}{error.args[0]} is missing") from error


_OWN = tuple(
    field.name
    for field in attrs.fields(DeadLetter)
    if field.name not in ("failed_at", "cut_of_key", "key", "value", "headers")
)

# Written behind `cut`, in its header: a header more would leave the letters of earlier versions unreadable.
_OF_KEY = ", of the key "


def _own_headers(letter: DeadLetter) -> Headers:
    own = {name: str(getattr(letter, name)) for name in _OWN}
    if letter.cut_of_key:
        own["cut"] += f"{_OF_KEY}{letter.cut_of_key}"
    # What a plugin said may hold what UTF-8 cannot, and a dead letter must always be storable.
    texts = ((name, text[:_LONGEST_REASON]) for name, text in own.items())
    return tuple((PREFIX + name, text.encode(errors="backslashreplace")) for name, text in texts)


# -- replay ---------------------------------------------------------------------------------------

ORIGINAL_TOPIC = PREFIX + "topic"
"""First header of a replayed record: the topic it originally came from, which is what plugins see."""

ORIGINAL_OFFSET = PREFIX + "offset"
"""Second header of a replayed record: its offset there, which is what a further dead letter of it tells."""


def replay_headers(letter: DeadLetter) -> Headers:
    """Return the headers for a dead letter that is put into its stage's replay topic."""
    return (
        (ORIGINAL_TOPIC, letter.topic.encode()),
        (ORIGINAL_OFFSET, str(letter.offset).encode()),
        *letter.headers,
    )


def original_place(headers: Headers) -> tuple[str | None, int | None, Headers]:
    """Split a replayed record's headers into topic and offset of where it came from, and the original headers."""
    topic, offset = None, None
    if headers and headers[0][0] == ORIGINAL_TOPIC:
        topic, headers = headers[0][1].decode(errors="replace"), headers[1:]
        if headers and headers[0][0] == ORIGINAL_OFFSET and headers[0][1].isdigit():
            offset, headers = int(headers[0][1]), headers[1:]
    return topic, offset, headers


# -- a sink's notes of which records have a letter already -----------------------------------------


def notes_store(group: str) -> str:
    """Return the state store of a sink's notes."""
    # No name of a step has such a character, so it cannot be a step's store.
    return f"{group}!dead_letters"


def note(topic: str, offset: int) -> bytes:
    """Return the note that a record has its letter; it is kept in the record's partition."""
    return f"{topic}@{offset}".encode()


def noted(key: bytes) -> tuple[str, int]:
    """Return topic and offset of the record that a note is about."""
    topic, _, offset = key.decode().rpartition("@")
    return topic, int(offset)
