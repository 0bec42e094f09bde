"""What a `rate` holds back of the lists that a producer yields. Pure."""

import attrs

from streamweaver.record import Record, Rejected

Item = Record | Rejected


@attrs.define
class HeldBack:
    """Hands out what a producer has yielded in pieces that a rate allows.

    Of a producer that does not resume a list is cut anywhere. One that resumes promises to go on right behind a
    position, so it is cut behind records that have one: a list with a single position, at its end, comes whole.
    """

    resumes: bool
    _items: list[Item] = attrs.field(factory=list)
    _next: int = 0

    def __bool__(self) -> bool:
        return self._next < len(self._items)

    def add(self, items: list[Item]) -> None:
        """Take in what was yielded; all of what came before has been handed out."""
        self._items, self._next = items, 0

    def take(self, most: int | None) -> list[Item]:
        """Return the next piece, at most so many where it can be cut there; all of it for None."""
        start = self._next
        left = len(self._items) - start
        count = left if most is None or left <= most else self._cut(start, most) - start
        self._next += count
        return self._items if count == len(self._items) else self._items[start : start + count]

    def _cut(self, start: int, most: int) -> int:
        items, end = self._items, start + most
        if not self.resumes:
            return end
        before = (place for place in range(end, start, -1) if items[place - 1].position is not None)
        behind = (place for place in range(end + 1, len(items)) if items[place - 1].position is not None)
        return next(before, None) or next(behind, len(items))

    def last(self, behind: list[Item]) -> list[Item]:
        """Return what is to be stored at the end: what is left here, and what was yielded `behind` it.

        Nothing of a producer that resumes: it brings that again, at its rate.
        """
        rest = self._items[self._next :]
        self.add([])
        return [] if rest and self.resumes else rest + behind
