"""Views of channels: each computed once for all who ask for the same, with one message a tick to each of them."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence

import attrs
import msgspec

from streamweaver import Batch, Record, SinkContext
from streamweaver.views import LiveView, Panel, fresh_parts, make_panel, seen_of
from streamweaver_sinks.websocket import protocol
from streamweaver_sinks.websocket.outbox import Outbox

HISTORY_SECONDS = 5.0
HISTORY_RECORDS = 10_000
HELD_RECORDS = 100_000
UNSEEN_MS = 10_000
"""For how long after the history live records are compared with it."""

VIEWS_EACH = 8
"""Views of one client at a time."""


@attrs.define(eq=False)
class Shared:
    """One view, and what is needed until its history and the live records have been put together.

    The history has no offsets, so what it has shown is told by its content: those records are left out when they come
    live. A record that is newer than all of the history cannot be in it, and costs no comparison.
    """

    channel: str
    live: LiveView
    lookers: int = 0
    held: deque[Batch] | None = attrs.field(factory=deque, init=False)
    held_records: int = attrs.field(default=0, init=False)
    shown: Counter[bytes] = attrs.field(factory=Counter, init=False)
    shown_until: int = attrs.field(default=0, init=False)
    newest_shown: int = attrs.field(default=0, init=False)
    start: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    """Reads the history."""

    def add(self, batch: Batch, now: int) -> None:
        """Take live records."""
        if self.held is None:
            self._show(batch, now)
            return
        self.held.append(batch)
        self.held_records += len(batch)
        while self.held_records > HELD_RECORDS:
            dropped = seen_of(self.held.popleft(), now)
            self.held_records -= len(dropped)
            self.live.missed(dropped.times[0], dropped.times[-1], len(dropped))

    def begin(self, past: Sequence[Record], now: int) -> None:
        """Put in the history, then what was held back while it was read."""
        if past:
            seen = seen_of(Batch(list(past), self.channel, 0, -1, -1), now)
            self.live.remember(seen, now)
            self.shown = Counter(protocol.encode_records(past).splitlines())
            self.shown_until, self.newest_shown = now + UNSEEN_MS, max(seen.times)
        held, self.held, self.held_records = self.held or (), None, 0
        for batch in held:
            self._show(batch, now)
        self.live.begin(now)

    def _show(self, batch: Batch, now: int) -> None:
        if self.shown and now >= self.shown_until:
            self.shown.clear()
        if self.shown:
            records = [record for record in batch.records if not self._was_shown(record, now)]
            if len(records) < len(batch.records):
                batch = attrs.evolve(batch, records=records)
        if batch.records:
            self.live.heard(seen_of(batch, now), now)

    def _was_shown(self, record: Record, now: int) -> bool:
        if (now if record.timestamp is None else record.timestamp) > self.newest_shown:
            return False
        [line] = protocol.encode_records([record]).splitlines()
        if self.shown[line] <= 0:
            return False
        self.shown[line] -= 1
        return True


@attrs.define(eq=False)
class Looker:
    """A client's views, by its own names for them."""

    outbox: Outbox
    views: dict[str, Shared] = attrs.field(factory=dict)
    told: dict[str, int | None] = attrs.field(factory=dict)
    """The `seq` that the client has of each."""

    def tick(self, now: int) -> None:
        """Give the client what changed, unless it has not yet taken what was given before."""
        if self.outbox.views is not None:
            return
        most = protocol.RECORD_BYTES
        lives = {name: shared.live for name, shared in self.views.items()}
        if parts := fresh_parts(self.told, lives, now, most, largest=most):
            self.outbox.show(protocol.views_frame(now, parts))


class Views:
    """All views that somebody looks at. Nothing is computed for those that nobody does."""

    def __init__(self, context: SinkContext, tick_seconds: float, most: int, reads: asyncio.Semaphore) -> None:
        self._context = context
        self._tick_seconds = tick_seconds
        self._most = most
        self._reads = reads
        self._views: dict[bytes, Shared] = {}
        self._by_channel: dict[str, list[Shared]] = {}
        self._lookers: dict[object, Looker] = {}
        self._starting: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None

    def look(self, client: object, outbox: Outbox, wish: protocol.View) -> Panel:
        """Let a client look at a view; ValueError when it is none, or one too many."""
        panel = make_panel(wish.panel(), wish.channel, set())
        looker = self._lookers.get(client) or Looker(outbox)
        if wish.id not in looker.views and len(looker.views) >= VIEWS_EACH:
            raise ValueError(f"got one view more than {VIEWS_EACH}: end another with unview")
        spec = msgspec.json.encode(attrs.asdict(panel), order="sorted")
        shared = self._views.get(spec)
        if shared is None:
            if not self._most:
                raise ValueError("got a view, but option max_views is 0: this server shows none")
            replaced = looker.views.get(wish.id)
            ends = replaced is not None and replaced.lookers == 1
            if len(self._views) - ends >= self._most:
                raise ValueError(f"{self._most} views are looked at already, which is what option max_views allows")
            shared = self._make(spec, panel)
        shared.lookers += 1
        self.unlook(client, wish.id)
        self._lookers[client] = looker
        looker.views[wish.id], looker.told[wish.id] = shared, None
        if self._timer is None:
            self._timer = self._loop.call_soon(self._tick)
        return panel

    def unlook(self, client: object, name: str) -> None:
        """End a client's view."""
        looker = self._lookers.get(client)
        if looker is None or name not in looker.views:
            return
        shared = looker.views.pop(name)
        del looker.told[name]
        if not looker.views:
            del self._lookers[client]
        shared.lookers -= 1
        if not shared.lookers:
            self._views = {spec: held for spec, held in self._views.items() if held is not shared}
            self._by_channel[shared.channel].remove(shared)
            if shared.start is not None:
                shared.start.cancel()

    def leave(self, client: object) -> None:
        """End all views of a client."""
        looker = self._lookers.get(client)
        for name in list(looker.views) if looker is not None else ():
            self.unlook(client, name)

    def add(self, batch: Batch) -> None:
        """Take live records. Never blocks."""
        if shared_ones := self._by_channel.get(batch.topic):
            now = self._context.now()
            for shared in shared_ones:
                shared.add(batch, now)

    async def stop(self) -> None:
        """End everything that runs."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)

    def _make(self, spec: bytes, panel: Panel) -> Shared:
        shared = Shared(panel.topic, LiveView(panel, round(self._tick_seconds * 1000)))
        self._views[spec] = shared
        self._by_channel.setdefault(panel.topic, []).append(shared)
        shared.start = task = self._loop.create_task(self._start(shared))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return shared

    async def _start(self, shared: Shared) -> None:
        """Read back what the view shows at first."""
        past: list[Record] = []
        try:
            async with asyncio.timeout(HISTORY_SECONDS), self._reads:
                past = await self._context.history(shared.channel, HISTORY_RECORDS)
        except Exception as error:  # a view without its past is better than none
            self._context.log("no history for a view", level="warning", channel=shared.channel, error=repr(error))
        shared.begin(past, self._context.now())

    def _tick(self) -> None:
        self._timer = None
        if not self._views:
            return
        now = self._context.now()
        for shared in self._views.values():
            shared.live.tick(now)
        for looker in self._lookers.values():
            looker.tick(now)
        self._timer = self._loop.call_later(self._tick_seconds, self._tick)
