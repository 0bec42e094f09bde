"""The contract of a view."""

from typing import Any, Protocol

import attrs

from streamweaver.views.seen import Seen

AHEAD_MS = 5_000
"""A record whose time is further ahead of the clock than this is in no view by time."""


@attrs.frozen
class Update:
    """What changed since the last `take`: on top of it, or (`whole`) in place of everything before."""

    data: dict[str, Any]
    whole: bool


class View(Protocol):
    """The state of one panel. `now` is in ms and does not go back by more than a little.

    All clients of a panel share its view: `take` moves it on, `snapshot` does not. Right after `take`, `snapshot` shows
    exactly what a client has who got every update.
    """

    span_ms: int
    """How far back records matter; what is read back when the view is made."""

    def add(self, seen: Seen, now: int) -> None:
        """Take records in; they are chosen by the panel's filter already."""

    def take(self, now: int) -> Update | None:
        """Return what changed; None when nothing did (or when it is too soon to show it)."""

    def snapshot(self, now: int) -> dict[str, Any]:
        """Return everything; called right after `take`."""

    def lost(self, start: int, end: int, records: int | None) -> None:
        """Note that records of a time were not seen."""


@attrs.define
class Gaps:
    """Times in which records were not seen; old ones are forgotten."""

    items: list[tuple[int, int, int | None]] = attrs.field(factory=list)

    def note(self, start: int, end: int, records: int | None) -> None:
        """Add one."""
        self.items = [*self.items[-19:], (start, end, records)]

    def into(self, data: dict[str, Any], since: int) -> dict[str, Any]:
        """Add those after a time to a snapshot."""
        if found := [list(item) for item in self.items if item[1] >= since]:
            data["gaps"] = found
        return data
