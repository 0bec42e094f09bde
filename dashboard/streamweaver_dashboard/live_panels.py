"""The panels that somebody looks at: begun with their past, kept up to date, let go."""

import asyncio
from collections.abc import Callable, Iterable

from streamweaver import Broker, BrokerError
from streamweaver.panel import Panel
from streamweaver.views import LiveView, Seen
from streamweaver_dashboard.log import Log
from streamweaver_dashboard.read_back import read_back
from streamweaver_dashboard.taps import Taps
from streamweaver_dashboard.topics import Topics

HISTORY_RECORDS = 100_000
HISTORY_SECONDS = 3.0
READ_BACK_AT_ONCE = 2
LAST_RECORDS = 100
PART_BYTES = 1_000_000
"""The longest part of a panel: with what stands around it, it fits into a frame."""
IDLE_MS = 30_000
"""How long a panel that nobody looks at is kept up, for a page that is loaded again."""


class LivePanels:
    """The live views of a pipeline's panels, each shared by all clients."""

    def __init__(
        self,
        panels: Iterable[Panel],
        tick_ms: int,
        *,
        broker: Broker,
        topics: Topics,
        taps: Taps,
        log: Log,
        clock: Callable[[], int],
        begun: Callable[[], None],
    ) -> None:
        """`begun` is called when a panel has its past."""
        self.live: dict[str, LiveView] = {}
        self._known = {panel.id: panel for panel in panels}
        self._tick_ms = tick_ms
        self._broker = broker
        self._topics = topics
        self._taps = taps
        self._log = log
        self._clock = clock
        self._begun = begun
        self._seqs: dict[str, int] = {}
        self._starting: set[asyncio.Task[None]] = set()
        self._reading_back = asyncio.Semaphore(READ_BACK_AT_ONCE)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def cost(self, name: str) -> float:
        """Return what tells panels apart whose past is quickly read (a few records, or seconds) from the others."""
        panel = self._known[name]
        return 0 if panel.kind == "feed" else panel.span_seconds or float("inf")

    def need(self, name: str) -> None:
        """Somebody looks at a panel."""
        live = self.live.get(name)
        if live is None:
            live = LiveView(self._known[name], self._tick_ms, self._seqs.get(name, 0), most_bytes=PART_BYTES)
            self.live[name] = live
            task = asyncio.get_running_loop().create_task(self._start(live))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        live.idle_since = None

    async def _start(self, live: LiveView) -> None:
        """Begin to hear the panel's topic, and put its past in."""
        topic = live.panel.topic
        while live.panel.id in self.live:
            try:
                tap = await self._taps.hear(topic, live)
                until = dict(tap.positions)
                async with self._reading_back:
                    await self._remember(live, until)
            except BrokerError as error:
                live.fail(str(error))
                self._taps.unhear(topic, live)
                await asyncio.sleep(1)
                continue
            except Exception as error:  # a codec or a broker may be defective: the panel says so, the others go on
                self._log("error", "panel cannot be shown", panel=live.panel.id, error=repr(error))
                live.fail(f"{type(error).__name__}: {error}")
                self._taps.unhear(topic, live)
                return
            live.begin(self._clock())
            self._begun()
            return
        self._taps.unhear(topic, live)

    async def _remember(self, live: LiveView, until: dict[int, int]) -> None:
        """Read back what a panel shows at first."""
        panel = live.panel
        codec = self._topics.codec(panel.topic)
        # A feed or table looks back as far as it must: its topic may rest for long.
        since = 0 if panel.kind in ("feed", "table") else self._clock() - live.span_ms
        most = panel.limit if panel.kind == "feed" and panel.limit and not panel.where else HISTORY_RECORDS
        found = 0

        def take(seen: Seen) -> None:
            nonlocal found
            found += len(seen)
            live.remember(seen, self._clock())

        async def read(since: int, most: int) -> None:
            past = await read_back(
                self._broker,
                panel.topic,
                codec,
                since=since,
                until=until,
                most=most,
                seconds=HISTORY_SECONDS,
                take=take,
            )
            # A view that looks back over no certain time lacks nothing.
            for start, end, records in past.gaps if since else ():
                live.missed(start, self._clock() if end is None else end, records)

        await read(since, most)
        if not found and panel.show == "last" and panel.kind in ("number", "gauge"):
            await read(0, LAST_RECORDS)

    def tick(self, now: int) -> None:
        """Note what changed."""
        for live in self.live.values():
            live.tick(now)

    def let_go(self, watched: set[str], now: int) -> None:
        """Give up the panels at which nobody has looked for a while."""
        for name, live in list(self.live.items()):
            if name in watched:
                live.idle_since = None
            elif live.idle_since is None:
                live.idle_since = now
            elif now - live.idle_since > IDLE_MS:
                del self.live[name]
                # A panel that is made again does not begin anew, or a client would take it for the old one.
                self._seqs[name] = live.seq
                self._taps.unhear(live.panel.topic, live)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
