"""Which records are meant: fields with values, and a text found anywhere. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from streamweaver.views.field import ABSENT, KEY, getter, key_text
from streamweaver.views.seen import Seen, Undecodable

MAX_FIELDS = 8
MAX_VALUES = 100
MAX_TEXT = 200
MAX_PATH = 200

_encode = msgspec.json.Encoder(enc_hook=str).encode


def parse_where(where: Any) -> Mapping[str, Any]:
    """Check a `where`; ValueError says what is wrong with it."""
    if not isinstance(where, Mapping):
        raise ValueError("where: expected an object of fields with values")  # noqa: TRY004 - a client's mistake
    if len(where) > MAX_FIELDS:
        raise ValueError(f"where: got {len(where)} fields, expected at most {MAX_FIELDS}")
    for field, wanted in where.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if len(field) > MAX_PATH or len(values) > MAX_VALUES:
            raise ValueError(f"where: got too long a field, or more than {MAX_VALUES} values")
        if not all(value is None or isinstance(value, str | int | float | bool) for value in values):
            raise ValueError(f"where.{field[:50]}: expected text, numbers, booleans or null")
    return where


def parse_text(text: str) -> str:
    """Check a text to be found."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"text: got {len(text)} characters, expected at most {MAX_TEXT}")
    return text


class Filter:
    """Chooses records of a batch."""

    def __init__(self, where: Mapping[str, Any] | None = None, text: str = "") -> None:
        self._fields: list[tuple[Callable[[Any], Any] | None, set[Any]]] = [
            (
                None if path == KEY else getter(path),
                {_exact(value) for value in (wanted if isinstance(wanted, list | tuple) else [wanted])},
            )
            for path, wanted in (where or {}).items()
        ]
        self._text = text.casefold()

    @property
    def takes_all(self) -> bool:
        """Whether nothing is asked for."""
        return not self._fields and not self._text

    def choose(self, seen: Seen) -> Seen:
        """Return the records that are meant; the batch itself when all are."""
        if self.takes_all:
            return seen
        chosen = [i for i in range(len(seen)) if self._takes(seen, i)]
        return seen if len(chosen) == len(seen) else seen.part(chosen)

    def _takes(self, seen: Seen, index: int) -> bool:
        value = seen.values[index]
        for read, wanted in self._fields:
            found = key_text(seen.keys[index]) if read is None else read(value)
            if _exact(None if found is ABSENT else found) not in wanted:
                return False
        return not self._text or self._contains(seen, index)

    def _contains(self, seen: Seen, index: int) -> bool:
        key = key_text(seen.keys[index])
        if key is not None and self._text in key.casefold():
            return True
        value = seen.values[index]
        if isinstance(value, Undecodable):
            return self._text in (seen.raws[index] or b"").decode(errors="replace").casefold()
        try:
            shown = _encode(value).decode()
        except Exception:  # anything a codec made; it cannot be shown, so it cannot be found
            return False
        return self._text in shown.casefold()


def _exact(value: Any) -> Any:
    """Make a key under which true differs from 1, and what is no scalar equals nothing."""
    if isinstance(value, bool):
        return ("bool", value)
    return value if value is None or isinstance(value, str | int | float) else ("none of these",)
