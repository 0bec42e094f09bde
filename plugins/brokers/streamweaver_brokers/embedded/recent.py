"""The newest values of state in memory, over the table `state`, until they are folded into it."""

from typing import Any

from streamweaver_brokers.embedded.changes import Changes, Place

LAYER_BYTES = 12 << 20
"""How heavy the upper layer may be before it is folded; while it is, as much may come again.

What has not been folded is held in memory, fills the table `change`, and is read at a start. So a change weighs what
reading it costs, in bytes of payload: these 12 MiB are about 35 ms, and at most 16 MiB of memory.
"""

ROW_BYTES = 1_500
"""What a row of `change` weighs beside its payload."""

VALUE_BYTES = 150
"""What a value weighs beside its bytes and those of its key, also one that replaces another: a start reads both."""

UNKNOWN: Any = object()
"""No value is kept for the key: the table knows, whereas None says that there is none."""

_NOTHING: dict[bytes, bytes | None] = {}


class Recent:
    """Values that are newer than the table. One thread changes it, any may read.

    It has two layers, so that values can go into the table piece by piece while new ones come: `freeze` makes the upper
    one the lower one, which then stays as it is until `thaw` forgets it.
    """

    def __init__(self) -> None:
        self._upper: Changes = {}
        self._lower: Changes = {}
        self._weight = 0
        self._lower_weight = 0
        self._last = 0
        self._frozen = 0

    # -- in any thread ----------------------------------------------------------------------------

    def get(self, place: Place, key: bytes) -> bytes | None:
        """Return the newest value of a key, or UNKNOWN."""
        # The upper layer first: `freeze` puts the values into the lower one before it takes them from the upper one.
        value = self._upper.get(place, _NOTHING).get(key, UNKNOWN)
        return self._lower.get(place, _NOTHING).get(key, UNKNOWN) if value is UNKNOWN else value

    def values(self, place: Place) -> dict[bytes, bytes | None]:
        """Return all values that are kept of a place, as they are now."""
        upper = self._upper.get(place, _NOTHING).copy()
        return self._lower.get(place, _NOTHING) | upper

    # -- in the thread that changes it ------------------------------------------------------------

    @property
    def last(self) -> int:
        """The greatest id of the rows of `change` whose changes it has taken in."""
        return self._last

    @property
    def has_values(self) -> bool:
        """Whether the upper layer holds anything."""
        return bool(self._upper)

    @property
    def filled(self) -> float:
        """How heavy the upper layer is, 1.0 being as heavy as it may be before it is time to fold it."""
        return self._weight / LAYER_BYTES

    @property
    def folding(self) -> float:
        """How heavy the lower layer is, in the same measure."""
        return self._lower_weight / LAYER_BYTES

    @property
    def is_folding(self) -> bool:
        """Whether there is a lower layer."""
        return bool(self._lower)

    def add(self, changes: Changes, last: int, logged: int) -> None:
        """Take over changes that are durable: in rows up to the id `last`, which hold so many bytes of payload."""
        self._last = last
        self._weight += ROW_BYTES + logged
        for place, values in changes.items():
            self._weight += VALUE_BYTES * len(values)
            kept = self._upper.get(place)
            if kept is None:
                self._upper[place] = values
            else:
                kept.update(values)

    def freeze(self) -> tuple[Changes, int]:
        """Make the upper layer the lower one, unless there is one; return that, and the id up to which it goes."""
        if not self._lower:
            self._lower, self._upper = self._upper, {}
            self._frozen = self._last
            self._lower_weight, self._weight = self._weight, 0
        return self._lower, self._frozen

    def thaw(self) -> None:
        """Forget the lower layer: who looks into the table from now on finds its values there."""
        self._lower = {}
        self._lower_weight = 0
