"""Sums by key over a sliding span."""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SLOTS = 30
MAX_KEYS = 10_000


class Window(Generic[K]):
    """Sums by key over the last span, in slots: the newest slot and the `SLOTS` - 1 before it count.

    So what is shown reaches back by 29 to 30 slots. Records older than that, or ahead of the clock, are not counted. Of
    more than MAX_KEYS keys the amounts are kept together, as `uncounted`.
    """

    def __init__(self, span_ms: int) -> None:
        self.width = max(1, -(-span_ms // SLOTS))
        self._slots: deque[tuple[int, dict[K, float], list[float]]] = deque()
        self._totals: dict[K, float] = {}
        self._uncounted = 0.0

    def add(self, slot: int, key: K, amount: float) -> None:
        """Add to a key; `slot` is a time divided by `width`, and not older than `first(now)`."""
        held = self._slot(slot)
        if key not in self._totals and len(self._totals) >= MAX_KEYS:
            held[2][0] += amount
            self._uncounted += amount
            return
        held[1][key] = held[1].get(key, 0) + amount
        self._totals[key] = self._totals.get(key, 0) + amount

    def _slot(self, slot: int) -> tuple[int, dict[K, float], list[float]]:
        slots = self._slots
        if not slots or slots[-1][0] < slot:
            slots.append((slot, {}, [0.0]))
            return slots[-1]
        for index in range(len(slots) - 1, -1, -1):
            if slots[index][0] == slot:
                return slots[index]
            if slots[index][0] < slot:
                slots.insert(index + 1, (slot, {}, [0.0]))
                return slots[index + 1]
        slots.appendleft((slot, {}, [0.0]))
        return slots[0]

    def first(self, now: int) -> int:
        """Return the oldest slot that counts."""
        return now // self.width - SLOTS + 1

    def expire(self, now: int) -> bool:
        """Forget what is too old; returns whether anything was."""
        first, expired = self.first(now), False
        while self._slots and self._slots[0][0] < first:
            self._slots.popleft()
            expired = True
        if expired:
            # Summed anew instead of subtracted, so that errors of floats do not pile up.
            self._totals, self._uncounted = {}, 0.0
            for _, amounts, uncounted in self._slots:
                for key, amount in amounts.items():
                    self._totals[key] = self._totals.get(key, 0) + amount
                self._uncounted += uncounted[0]
        return expired

    @property
    def totals(self) -> dict[K, float]:
        """The sums, as of the last `expire`."""
        return self._totals

    @property
    def uncounted(self) -> float:
        """The sum over all further keys."""
        return self._uncounted
