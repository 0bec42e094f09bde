"""A step's state in one partition: committed values of the lane, with the changes of the open unit over them."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from streamweaver.contracts import Lane

Key: TypeAlias = str | bytes | int

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

_ABSENT: Any = object()

_CACHED = 100_000
"""Committed values kept decoded, per step and partition; the least recently used go first."""


class StateView:
    """What a plugin sees as `context.state`; also the engine's handle on what changed.

    Three layers, looked at in this order: `_touched` (read or written in the open unit, decoded), `_saved` (the
    encoded changes of records that went through when a unit is tried one record at a time), and the lane's committed
    values, of which `_cache` keeps some decoded. A touched value leaves the cache: if the unit is aborted it is
    forgotten, because the plugin may have changed it in place.
    """

    def __init__(self, lane: Lane, store: str, partition: int) -> None:
        self.store = store
        self.partition = partition
        self._lane = lane
        self._touched: dict[Key, Any] = {}
        self._changed: set[Key] = set()
        self._saved: dict[bytes, bytes | None] = {}
        self._cache: dict[Key, Any] = {}

    # -- the plugin's side ----------------------------------------------------------------------

    def get(self, key: Key, default: Any = None, /) -> Any:
        """Return the value, or `default`."""
        value = self._touched.get(key, _ABSENT)
        if value is _ABSENT and key not in self._touched:
            value = self._load(key)
        return default if value is _ABSENT else value

    def __getitem__(self, key: Key, /) -> Any:
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Key, value: Any, /) -> None:
        self._touched[key] = value
        self._changed.add(key)

    def __delitem__(self, key: Key, /) -> None:
        if key not in self:
            raise KeyError(key)
        self[key] = _ABSENT

    def __contains__(self, key: object, /) -> bool:
        return isinstance(key, str | bytes | int) and self.get(key, _ABSENT) is not _ABSENT

    def items(self) -> Iterator[tuple[Key, Any]]:
        """Go through everything stored, the open unit's changes included."""
        stored = dict(self._lane.state_items(self.store, self.partition))
        stored.update({key: value for key, value in self.changes().items() if value is not None})
        gone = {key for key, value in self.changes().items() if value is None}
        for key in stored.keys() - gone:
            name = _decode(key)
            yield name, self.get(name)

    def _load(self, key: Key) -> Any:
        if key in self._cache:
            value = self._cache.pop(key)
        else:
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
        """Whether anything was read or written in the open unit."""
        return bool(self._touched or self._saved)

    def changes(self) -> dict[bytes, bytes | None]:
        """Return the open unit's changes, encoded; None stands for a deleted value."""
        changes = dict(self._saved)
        for key in self._changed:
            value = self._touched[key]
            changes[_encode(key)] = None if value is _ABSENT else _encode(value)
        return changes

    def save(self) -> None:
        """Keep the changes so far, whatever becomes of the next record of the unit."""
        self._saved = self.changes()
        self.restore()

    def restore(self) -> None:
        """Forget what was touched since the last `save`."""
        self._touched.clear()
        self._changed.clear()

    def rollback(self) -> None:
        """Forget the whole open unit."""
        self.restore()
        self._saved.clear()

    def committed(self) -> None:
        """The open unit is durable: what it touched may be kept."""
        # Saved values were forgotten in decoded form; the cache must not hold an older one (it does not: `_load`
        # took it out). An absent value is not worth a place.
        self._cache.update((key, value) for key, value in self._touched.items() if value is not _ABSENT)
        while len(self._cache) > _CACHED:
            del self._cache[next(iter(self._cache))]
        self.rollback()
