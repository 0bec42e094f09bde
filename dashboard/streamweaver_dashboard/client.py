"""One client of the live WebSocket: what it watches, and the one frame that may be on its way to it."""

import asyncio
from typing import Any

import attrs
import msgspec

from streamweaver.views import LiveView, fresh_parts
from streamweaver.views.column import columns
from streamweaver.views.feed import Sample
from streamweaver.views.seen import Seen
from streamweaver_dashboard.wish import TailWish

FRAME_BYTES = 1_048_576
SILENCE_MS = 5_000


class Tail:
    """A client's look at a topic; listens to its tap."""

    def __init__(self, wish: TailWish) -> None:
        self.wish = wish
        self.error: str | None = None
        self._told = False
        self._filter = wish.filter()
        self._sample = Sample(wish.rate)
        self._lost = 0

    def heard(self, seen: Seen, now: int) -> None:  # noqa: ARG002 - the tap's word
        """Take records."""
        if self.wish.partition in (None, seen.partition):
            chosen = self._filter.choose(seen)
            if len(chosen):
                self._sample.add(chosen)

    def missed(self, start: int, end: int, records: int | None) -> None:  # noqa: ARG002 - the tap's word
        """Count records that were not seen as hidden."""
        self._lost += records or 0

    def take(self, now: int) -> dict[str, Any] | None:
        """Return what a frame says of it."""
        if self.error is not None:
            if self._told:
                return None
            self._told = True
            return {"id": self.wish.id, "error": self.error}
        records, hidden = self._sample.take(now)
        hidden += self._lost
        self._lost = 0
        if not records and not hidden:
            return None
        return {"id": self.wish.id, "records": columns(records), "hidden": hidden}


@attrs.frozen
class Shared:
    """What is the same for all clients in one tick."""

    tick: int
    now: int
    panels: dict[str, LiveView]
    metrics: tuple[int, bytes]
    """Number and JSON of the newest figures."""
    alerts: tuple[int, bytes]


@attrs.define(eq=False)
class Client:
    """What one client watches and has. While a frame is on its way, it gets no other."""

    role: str
    panels: dict[str, int | None] = attrs.field(factory=dict)
    """The panels it watches, and the `seq` it has of each."""
    metrics: bool = False
    alerts: bool = False
    tails: dict[str, Tail] = attrs.field(factory=dict)
    skipped: int = 0
    frame: bytes | None = None
    waiting: asyncio.Event = attrs.field(factory=asyncio.Event)
    _busy: bool = False
    _metrics_seen: int = -1
    _alerts_seen: int = -1
    _spoken_at: int = 0

    @property
    def watches(self) -> bool:
        """Whether it wants to hear anything."""
        return bool(self.panels or self.tails or self.metrics or self.alerts)

    def again(self) -> None:
        """Have figures and alerts sent anew."""
        self._metrics_seen = self._alerts_seen = -1

    def tick(self, shared: Shared) -> None:
        """Make the client's frame, unless it has not yet taken the one before."""
        if not self.watches:
            return
        if self._busy:
            self.skipped += 1
            return
        parts = self._parts(shared)
        if not parts and shared.now - self._spoken_at < SILENCE_MS:
            return
        head = b'{"type":"frame","tick":%d,"time":%d' % (shared.tick, shared.now)
        if self.skipped:
            head += b',"skipped":%d' % self.skipped
        self.frame = b"".join([head, *(b"," + part for part in parts), b"}"])
        self.skipped = 0
        self._busy = True
        self._spoken_at = shared.now
        self.waiting.set()

    def _parts(self, shared: Shared) -> list[bytes]:
        parts = []
        if self.panels and (
            panels := fresh_parts(self.panels, shared.panels, shared.now, FRAME_BYTES, largest=FRAME_BYTES)
        ):
            parts.append(b'"panels":[%b]' % b",".join(panels))
        if self.metrics and shared.metrics[0] != self._metrics_seen:
            self._metrics_seen = shared.metrics[0]
            parts.append(b'"metrics":' + shared.metrics[1])
        if self.tails and (told := [part for tail in self.tails.values() if (part := tail.take(shared.now))]):
            parts.append(b'"tails":' + msgspec.json.encode(told))
        if self.alerts and shared.alerts[0] != self._alerts_seen:
            self._alerts_seen = shared.alerts[0]
            parts.append(b'"alerts":' + shared.alerts[1])
        return parts

    def sent(self) -> None:
        """The frame is out: the next tick may make another."""
        self.frame = None
        self._busy = False
