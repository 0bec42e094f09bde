"""A step's state in one partition: committed values of the lane, with the changes of the open unit over them."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import msgspec

from streamweaver.contracts import Lane

Key: TypeAlias = str | bytes | int

_KEYS = frozenset({str, bytes, int})

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

_ABSENT: Any = object()
_UNKNOWN: Any = object()

_HALF = 64_000
"""At least so many of the values used last are kept decoded, per step and partition; at most twice as many."""


class StateView:
    """What a plugin sees as `context.state`; also the engine's handle on what changed.

    Layers, looked at in this order: `_touched` (read or written since the last save, decoded), the cache (decoded, as
    of the last save), `_saved` (the open unit's changes, encoded) and the lane's committed values. If what touched a
    value fails, the cache forgets it, because the plugin may have changed it in place.

    The cache has two halves. What is used goes into the newer one; when that is full the older one is forgotten, and
    the newer one takes its place. So no order is kept, which would cost more than all else here.
    """

    def __init__(self, lane: Lane, store: str, partition: int) -> None:
        self.store = store
        self.partition = partition
        self._lane = lane
        self._touched: dict[Key, Any] = {}
        self._changed: set[Key] = set()
        self._saved: dict[bytes, bytes | None] = {}
        self._unsettled: set[Key] = set()
        """Keys of what is saved; their values in the cache are void if the unit is."""
        self._newer: dict[Key, Any] = {}
        self._older: dict[Key, Any] = {}

    # -- the plugin's side ----------------------------------------------------------------------

    def get(self, key: Key, default: Any = None, /) -> Any:
        """Return the value, or `default`."""
        value = self._touched.get(key, _UNKNOWN)
        if value is _UNKNOWN:
            value = self._load(key)
        return default if value is _ABSENT else value

    def __getitem__(self, key: Key, /) -> Any:
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Key, value: Any, /) -> None:
        if type(key) not in _KEYS:
            _check(key)
        self._touched[key] = value
        self._changed.add(key)

    def __delitem__(self, key: Key, /) -> None:
        if key not in self:
            raise KeyError(key)
        self[key] = _ABSENT

    def __contains__(self, key: object, /) -> bool:
        return self.get(key, _ABSENT) is not _ABSENT  # type: ignore[arg-type]

    def items(self) -> Iterator[tuple[Key, Any]]:
        """Go through everything stored, the open unit's changes included."""
        stored: dict[bytes, bytes | None] = dict(self._lane.state_items(self.store, self.partition))
        stored.update(self._saved)
        stored.update(self.encoded())
        for key in [key for key, value in stored.items() if value is not None]:
            name = _decode(key)
            value = self.get(name, _ABSENT)
            if value is not _ABSENT:
                yield name, value

    def _load(self, key: Key) -> Any:
        if type(key) not in _KEYS:
            _check(key)
        value = self._newer.get(key, _UNKNOWN)
        if value is _UNKNOWN:
            value = self._older.get(key, _UNKNOWN)
        if value is _UNKNOWN:
            encoded = _encode(key)
            if encoded in self._saved:
                data = self._saved[encoded]
            else:
                data = self._lane.get_state(self.store, self.partition, encoded)
            value = _ABSENT if data is None else _decode(data)
        self._touched[key] = value
        return value

    # -- the engine's side ----------------------------------------------------------------------

    @property
    def touched(self) -> bool:
        """Whether anything was read or written since the last `save`."""
        return bool(self._touched)

    def encoded(self) -> dict[bytes, bytes | None]:
        """Return the changes since the last `save`; None stands for a deleted value. Raises for what cannot be kept."""
        touched = self._touched
        return {_encode(key): None if (value := touched[key]) is _ABSENT else _encode(value) for key in self._changed}

    def save(self, encoded: dict[bytes, bytes | None]) -> None:
        """Keep what `encoded` returned, whatever becomes of the next record or batch of the unit."""
        self._saved.update(encoded)
        self._unsettled.update(self._changed)
        # What is absent is remembered as well, as long as there is place.
        self._newer.update(self._touched)
        if len(self._newer) > _HALF:
            self._older, self._newer = self._newer, {}
        self._touched.clear()
        self._changed.clear()

    def restore(self) -> None:
        """Forget what was touched since the last `save`."""
        self._forget(self._touched)
        self._touched.clear()
        self._changed.clear()

    def changes(self) -> dict[bytes, bytes | None]:
        """Return everything that was saved in the open unit."""
        return dict(self._saved)

    def rollback(self) -> None:
        """Forget the whole open unit."""
        self.restore()
        self._forget(self._unsettled)
        self.committed()

    def committed(self) -> None:
        """The open unit is durable: what it saved is the lane's now."""
        self._saved.clear()
        self._unsettled.clear()

    def _forget(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._newer.pop(key, None)
            self._older.pop(key, None)


def _check(key: object) -> None:
    # True is 1 to a dict, but not to MessagePack.
    if not isinstance(key, str | bytes | int) or isinstance(key, bool):
        raise TypeError(f"state: got a key of type {type(key).__name__}, expected str, bytes or int")
