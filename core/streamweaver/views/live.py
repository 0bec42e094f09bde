"""One panel while somebody looks at it: its view, numbered updates, and the parts that clients get.

A part is what a client gets of a panel: a JSON object with `seq` and `snapshot`. The panel's name is not in it: whoever
sends it puts that in front, with `named`.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from streamweaver.panel import Panel
from streamweaver.views.column import to_json
from streamweaver.views.feed import Feed
from streamweaver.views.filter import Filter
from streamweaver.views.fit import fit
from streamweaver.views.make import make_view
from streamweaver.views.seen import Seen, in_order
from streamweaver.views.update import View

KEPT_UPDATES = 50
KEPT_BYTES = 512 * 1024
HELD_RECORDS = 100_000


class Past:
    """The records with which a view begins.

    Only a feed, which goes by the order of time over all partitions, has to wait for the last of them; of each
    partition it keeps the newest.
    """

    def __init__(self, view: View, limit: int | None) -> None:
        self._view = view
        self._limit = limit or 0
        self._newest: dict[int, deque[Seen]] = {}

    def add(self, seen: Seen, now: int) -> None:
        """Take records, in the order of their partition."""
        if not isinstance(self._view, Feed):
            self._view.add(seen, now)
            return
        kept = self._newest.setdefault(seen.partition, deque())
        kept.append(seen if len(seen) <= self._limit else seen.part(range(len(seen) - self._limit, len(seen))))
        while sum(map(len, kept)) - len(kept[0]) >= self._limit:
            kept.popleft()

    def end(self) -> None:
        """Hand on what was kept."""
        if isinstance(self._view, Feed):
            for seen in in_order([seen for kept in self._newest.values() for seen in kept]):
                self._view.begin_with(seen)
        self._newest.clear()


class LiveView:
    """A panel's view and its newest updates, shared by all clients.

    Live records are held back until the past has been put in. With `most_bytes` no part of a feed or table is longer:
    of more, the oldest is left out and counted.
    """

    def __init__(self, panel: Panel, tick_ms: int, seq: int = 0, *, most_bytes: int | None = None) -> None:
        self.panel = panel
        self.seq = seq
        self.error: str | None = None
        self.ready = False
        self.idle_since: int | None = None
        """Since when (ms) nobody looks."""
        self._filter = Filter(panel.where)
        self._tick_ms = tick_ms
        self._most_bytes = most_bytes
        self._begin_anew()
        self._held: deque[Seen] = deque()
        self._held_records = 0
        self._parts: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._on_nothing = False
        """Whether the first of the parts is whole, so that it follows on anything."""
        self._snapshot: tuple[int, bytes] | None = None

    @property
    def span_ms(self) -> int:
        """How much of the past the view wants."""
        return self._view.span_ms

    # -- records ----------------------------------------------------------------------------------

    def heard(self, seen: Seen, now: int) -> None:
        """Take live records."""
        if self.ready:
            self._view.add(self._filter.choose(seen), now)
            return
        self._held.append(seen)
        self._held_records += len(seen)
        while self._held_records > HELD_RECORDS:
            dropped = self._held.popleft()
            self._held_records -= len(dropped)
            self._view.lost(dropped.times[0], dropped.times[-1], len(dropped))

    def missed(self, start: int, end: int, records: int | None) -> None:
        """Note a gap; every client gets a snapshot, which tells of it."""
        self._view.lost(start, end, records)
        self._forget()
        self.seq += 1

    def fail(self, error: str) -> None:
        """Note that the past could not be read: its beginning, which is in the view already, goes."""
        self._begin_anew()
        if self.error != error:
            self.error = error
            self.seq += 1

    def _begin_anew(self) -> None:
        self._view = make_view(self.panel, self._tick_ms)
        self._past = Past(self._view, self.panel.limit)

    def remember(self, seen: Seen, now: int) -> None:
        """Put in records of the past, in the order of their partition."""
        self._past.add(self._filter.choose(seen), now)

    def begin(self, now: int) -> None:
        """End the past; put in what was held back meanwhile."""
        self._past.end()
        self.ready = True
        for seen in self._held:
            self._view.add(self._filter.choose(seen), now)
        self._held.clear()
        self._view.take(now)
        self.seq += 1

    # -- parts ------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Note what changed."""
        if not self.ready:
            return
        update = self._view.take(now)
        if update is None:
            return
        self.seq += 1
        data, whole = update.data, update.whole
        part = make_part(self.panel, self.seq, data, now, snapshot=whole)
        if self._most_bytes is not None and len(part) > self._most_bytes:
            # Of changes nothing can be left out: who has them would take the rest for what is.
            whole = True
            part = self._part(data if update.whole else self._view.snapshot(now), now)
        if whole:
            self._forget()
            self._on_nothing = True
        self._parts.append((self.seq, part))
        self._size += len(part)
        while len(self._parts) > 1 and (len(self._parts) > KEPT_UPDATES or self._size > KEPT_BYTES):
            self._size -= len(self._parts.popleft()[1])
            self._on_nothing = False

    def parts(self, seq: int | None, now: int) -> list[bytes]:
        """Return what a client needs that has `seq` (None: nothing) to be up to date; call right after `tick`."""
        if self.error is not None and not self.ready:
            return [] if seq == self.seq else [to_json({"error": self.error})]
        if not self.ready or seq == self.seq:
            return []
        known = -1 if seq is None or seq > self.seq else seq
        if self._parts and (self._on_nothing or (known >= 0 and self._parts[0][0] <= known + 1)):
            return [part for number, part in self._parts if number > known]
        return [self.whole(now)]

    def whole(self, now: int) -> bytes:
        """Return all that is shown, as one part; call right after `tick`, once `ready`."""
        if self._snapshot is None or self._snapshot[0] != self.seq:
            self._snapshot = (self.seq, self._part(self._view.snapshot(now), now))
        return self._snapshot[1]

    def _forget(self) -> None:
        self._parts.clear()
        self._size = 0
        self._on_nothing = False

    def _part(self, data: dict[str, Any], now: int) -> bytes:
        return make_whole(self.panel, self.seq, data, now, self._most_bytes)


def make_part(panel: Panel, seq: int, data: dict[str, Any], now: int, *, snapshot: bool, **more: Any) -> bytes:
    """Encode a part of a panel."""
    return msgspec.json.encode(
        {
            "kind": panel.kind,
            "seq": seq,
            "snapshot": snapshot,
            "time": now,
            "data": msgspec.Raw(to_json(data)),
            **more,
        }
    )


def make_whole(panel: Panel, seq: int, data: dict[str, Any], now: int, most_bytes: int | None, **more: Any) -> bytes:
    """Encode a part that shows everything, or as much of it as fits."""
    part = make_part(panel, seq, data, now, snapshot=True, **more)
    while most_bytes is not None and len(part) > most_bytes:
        less = fit(panel.kind, data, len(part), most_bytes)
        if less is None:
            break
        data = less
        part = make_part(panel, seq, data, now, snapshot=True, **more)
    return part


def named(part: bytes, **names: str) -> bytes:
    """Return a part with what it is called in front."""
    return msgspec.json.encode(names)[:-1] + b"," + part[1:]


def fresh_parts(
    watched: dict[str, int | None],
    lives: Mapping[str, LiveView],
    now: int,
    most_bytes: int,
    *,
    largest: int | None = None,
) -> list[bytes]:
    """Return what brings a client up to date, and note in `watched` (name to the `seq` it has) that it has it.

    Of much, some comes now and the rest with the next call; one view always comes whole. Views come in the order of
    `watched`, and who was served goes to its end, so that none waits for ever. In place of what alone has more than
    `largest` bytes comes an error: the client then has nothing of that view, which is noted as a `seq` below zero.
    """
    found: list[bytes] = []
    size = 0
    for name, seq in list(watched.items()):
        live = lives.get(name)
        if live is None or seq in (live.seq, _refused(live)):
            continue
        parts = [named(part, id=name) for part in live.parts(seq, now)]
        if not parts:
            continue
        told = live.seq
        if largest is not None and _size(parts) > largest:
            # One snapshot may be less than many updates.
            parts = [named(live.whole(now), id=name)]
            if (bytes_ := _size(parts)) > largest:
                why = f"this view has {bytes_} bytes, of at most {largest}: ask for fewer fields, a lower limit or top"
                parts, told = [named(to_json({"error": why}), id=name)], _refused(live)
        added = _size(parts)
        if found and size + added > most_bytes:
            break
        found += parts
        size += added
        del watched[name]
        watched[name] = told
    return found


def _refused(live: LiveView) -> int:
    return -1 - live.seq


def _size(parts: list[bytes]) -> int:
    """Return how many bytes parts take in a message, with what divides them."""
    return sum(map(len, parts)) + len(parts)
