"""What a `rate` holds back of the lists that a producer yields. Pure."""

import attrs

from streamweaver.record import Record, Rejected

Item = Record | Rejected


@attrs.define
class HeldBack:
    """Hands out what a producer has yielded in pieces that a rate allows.

    A list is cut behind a record that has a position, if one is near enough. Else, of a producer that does not resume,
    it is cut anywhere; one that resumes promises to go on right behind a position, so that a list with a single one,
    at its end, comes whole.
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
        items, start = self._items, self._next
        left = len(items) - start
        end = len(items) if most is None or left <= most else self._cut(start, most)
        if end == len(items):
            # Not to keep what has been handed out.
            self.add([])
        else:
            self._next = end
        return items if end - start == len(items) else items[start:end]

    def _cut(self, start: int, most: int) -> int:
        items, end = self._items, start + most
        before = (place for place in range(end, start, -1) if items[place - 1].position is not None)
        if (place := next(before, None)) is not None or not self.resumes:
            return place or end
        behind = (place for place in range(end + 1, len(items)) if items[place - 1].position is not None)
        return next(behind, len(items))

    def last(self, behind: list[Item]) -> list[Item]:
        """Return what is to be stored at the end: what is left here, and what was yielded `behind` it.

        Nothing of a producer that resumes: it brings that again, at its rate.
        """
        rest = self._items[self._next :]
        self.add([])
        return [] if rest and self.resumes else rest + behind
