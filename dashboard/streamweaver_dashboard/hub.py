"""The heart of the dashboard: reads what somebody looks at, once a tick, and gives every client its frame.

When nobody looks, nothing is read and nothing is computed (but the figures, once a second, if there are alert rules).
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from streamweaver import Broker, BrokerError, Codec
from streamweaver.graph.plan import Plan
from streamweaver.views import LiveView
from streamweaver.views.column import to_json
from streamweaver.views.seen import Seen
from streamweaver_dashboard.alert import Alerts, FieldWatch
from streamweaver_dashboard.client import Client, Shared, Tail
from streamweaver_dashboard.figures import Figures
from streamweaver_dashboard.tap import Listener, Tap, read_back
from streamweaver_dashboard.topics import Topics
from streamweaver_dashboard.wish import MAX_TAILS, Watch

HISTORY_RECORDS = 50_000
HISTORY_SECONDS = 3.0
READ_BACK_AT_ONCE = 2
LAST_RECORDS = 100
IDLE_MS = 30_000
"""How long a panel that nobody looks at is kept up, for a page that is loaded again."""
SECOND_MS = 1_000
FIGURES_BACK_MS = 10_000
FIGURES_KEPT_MS = 500
"""So that asking for health over and over costs little."""

Log = Callable[..., None]
Announce = Callable[[list[dict[str, Any]]], Awaitable[None]]


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Hub:
    """Everything live of one pipeline. Runs on one event loop; `run` is its only task."""

    def __init__(
        self,
        plan: Plan,
        broker: Broker,
        log: Log,
        *,
        announce: Announce | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.plan = plan
        self.epoch = secrets.token_hex(8)
        self.tick_ms = max(50, round(plan.dashboard.options.tick * 1000))
        self.clients: set[Client] = set()
        self.panels: dict[str, LiveView] = {}
        self.figures = Figures()
        self.alerts = Alerts(plan.dashboard.rules)
        self.topics = Topics(plan, broker)
        self._broker = broker
        self._log = log
        self._announce = announce
        self._clock = clock
        self._known = {panel.id: panel for panel in plan.dashboard.panels}
        self._taps: dict[str, Tap] = {}
        self._seqs: dict[str, int] = {}
        self._watches = [FieldWatch(rule) for rule in plan.dashboard.rules if rule.condition.measure is None]
        self._figures_tap: _FiguresListener | None = None
        self._starting: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._reading_back = asyncio.Semaphore(READ_BACK_AT_ONCE)
        self._tick = 0
        self._metrics: tuple[int, bytes] = (0, b"null")
        self._alerts: tuple[int, bytes] = (-1, b"null")
        self._second = 0
        self._figures_read = 0
        self._ends: dict[str, tuple[int, int]] = {}

    # -- clients ----------------------------------------------------------------------------------

    def join(self, client: Client) -> None:
        """Take a client in."""
        self.clients.add(client)

    def leave(self, client: Client) -> None:
        """Let a client go."""
        self.clients.discard(client)
        for tail in client.tails.values():
            self._unhear(tail.wish.topic, tail)
        client.tails.clear()

    async def watch(self, client: Client, wish: Watch) -> None:
        """Do as a client wishes."""
        before = client.panels
        client.panels = {}
        for name, seq in wish.panels.items():
            if name in self._known:
                known = seq if wish.epoch == self.epoch else None
                client.panels[name] = before[name] if name in before and seq is not None else known
        if (wish.metrics, wish.alerts) != (client.metrics, client.alerts):
            client.again()
        client.metrics, client.alerts = wish.metrics, wish.alerts
        await self._set_tails(client, wish)
        for name in client.panels:
            self._need(name)
        self._woken.set()

    async def _set_tails(self, client: Client, wish: Watch) -> None:
        wanted = {tail.id: tail for tail in wish.tails}
        for name, tail in list(client.tails.items()):
            if wanted.get(name) != tail.wish:
                self._unhear(tail.wish.topic, tail)
                del client.tails[name]
        for name, tail_wish in wanted.items():
            if name in client.tails:
                continue
            tail = Tail(tail_wish)
            client.tails[name] = tail
            if len(client.tails) > MAX_TAILS:
                tail.error = f"more than {MAX_TAILS} tails"
                continue
            try:
                await self._hear(tail_wish.topic, tail)
            except BrokerError as error:
                tail.error = str(error)
            if client not in self.clients:
                # It left meanwhile.
                self._unhear(tail_wish.topic, tail)

    # -- topics -----------------------------------------------------------------------------------

    async def _hear(self, topic: str, listener: Listener) -> Tap:
        """Have a listener hear a topic from now on; BrokerError when that cannot be."""
        tap = self._taps.get(topic)
        if tap is None:
            made = Tap(self._broker, topic, self.topics.codec(topic))
            await made.open(self._clock())
            tap = self._taps.setdefault(topic, made)
            if tap is not made:
                await made.close()
        tap.listeners.add(listener)
        return tap

    def _unhear(self, topic: str, listener: Listener) -> None:
        tap = self._taps.get(topic)
        if tap is not None:
            tap.listeners.discard(listener)

    async def _drop_unheard(self) -> None:
        for topic in [topic for topic, tap in self._taps.items() if not tap.listeners]:
            await self._taps.pop(topic).close()

    # -- panels -----------------------------------------------------------------------------------

    def _need(self, name: str) -> None:
        live = self.panels.get(name)
        if live is None:
            live = self.panels[name] = LiveView(self._known[name], self.tick_ms, self._seqs.get(name, 0))
            task = asyncio.get_running_loop().create_task(self._start(live))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        live.idle_since = None

    async def _start(self, live: LiveView) -> None:
        """Begin to hear the panel's topic, and put its past in."""
        topic = live.panel.topic
        while live.panel.id in self.panels:
            try:
                tap = await self._hear(topic, live)
                until = dict(tap.positions)
                async with self._reading_back:
                    await self._remember(live, until)
            except BrokerError as error:
                live.fail(str(error))
                self._unhear(topic, live)
                await asyncio.sleep(1)
                continue
            except Exception as error:  # a codec or a broker may be defective: the panel says so, the others go on
                self._log("error", "panel cannot be shown", panel=live.panel.id, error=repr(error))
                live.fail(f"{type(error).__name__}: {error}")
                self._unhear(topic, live)
                return
            live.begin(self._clock())
            self._woken.set()
            return
        self._unhear(topic, live)

    async def _remember(self, live: LiveView, until: dict[int, int]) -> None:
        """Read back what a panel shows at first."""
        panel = live.panel
        codec = self.topics.codec(panel.topic)
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

    def _idle(self, now: int) -> None:
        watched = {name for client in self.clients for name in client.panels}
        for name, live in list(self.panels.items()):
            if name in watched:
                live.idle_since = None
            elif live.idle_since is None:
                live.idle_since = now
            elif now - live.idle_since > IDLE_MS:
                del self.panels[name]
                # A panel that is made again does not begin anew, or a client would take it for the old one.
                self._seqs[name] = live.seq
                self._unhear(live.panel.topic, live)

    # -- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        await self._begin_alerts()
        due = loop.time()
        try:
            while True:
                pause = self._pause()
                if pause is None:
                    self._woken.clear()
                    if self._pause() is None:
                        await self._woken.wait()
                    due = loop.time()
                    continue
                due = max(due + pause, loop.time())
                await self._wait_until(due, loop)
                try:
                    await self._do_tick()
                except BrokerError as error:
                    self._log("warning", "the dashboard cannot read", error=str(error))
                    await asyncio.sleep(1)
        finally:
            for task in self._starting:
                task.cancel()
            await asyncio.gather(*self._starting, return_exceptions=True)
            for tap in self._taps.values():
                await tap.close()

    def _pause(self) -> float | None:
        """Return the time to the next tick: a tick, a second, or None when there is nothing to do."""
        if self.panels or any(client.panels or client.tails for client in self.clients):
            return self.tick_ms / 1000
        if self.plan.dashboard.rules or any(client.metrics or client.alerts for client in self.clients):
            return 1.0
        return None if not self._taps else 1.0

    async def _wait_until(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        left = due - loop.time()
        if left <= self.tick_ms / 1000:
            await asyncio.sleep(max(0.0, left))
            return
        # A slow tick ends early when a client comes.
        self._woken.clear()
        try:
            async with asyncio.timeout(left):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _do_tick(self) -> None:
        now = self._clock()
        self._tick += 1
        for tap in list(self._taps.values()):
            await tap.pull(now)
        if now - self._second >= SECOND_MS or now < self._second:
            self._second = now
            await self._each_second(now)
        now = self._clock()
        for live in self.panels.values():
            live.tick(now)
        if self.alerts.version != self._alerts[0]:
            self._alerts = (self.alerts.version, to_json(self.alerts.as_dict()))
        shared = Shared(self._tick, now, self.panels, self._metrics, self._alerts)
        for client in self.clients:
            client.tick(shared)

    # -- once a second ----------------------------------------------------------------------------

    async def _each_second(self, now: int) -> None:
        self._idle(now)
        wanted = any(client.metrics or client.alerts for client in self.clients) or bool(self.plan.dashboard.rules)
        await self._hear_figures(wanted)
        await self._drop_unheard()
        if not wanted:
            return
        merged = self.figures.merged(self._kinds(), now)
        await self._judge(merged, now)
        if any(client.metrics for client in self.clients):
            merged["topics"] = await self._rates(now)
            self._metrics = (self._metrics[0] + 1, to_json(merged))

    def _kinds(self) -> dict[str, str]:
        return {stage.name: stage.kind for stage in self.plan.stages.values()}

    async def _hear_figures(self, wanted: bool) -> None:
        if wanted and self._figures_tap is None:
            listener = _FiguresListener(self.figures)
            try:
                await self._hear(self.plan.metrics, listener)
                await self._read_figures()
            except BrokerError:
                self._unhear(self.plan.metrics, listener)
                return
            self._figures_tap = listener
        elif not wanted and self._figures_tap is not None:
            self._unhear(self.plan.metrics, self._figures_tap)
            self._figures_tap = None

    async def _read_figures(self) -> None:
        """Read back the newest figures."""
        codec: Codec = self.topics.codec(self.plan.metrics)
        since = self._clock() - FIGURES_BACK_MS
        past = await read_back(self._broker, self.plan.metrics, codec, since=since, most=500, seconds=1.0)
        for seen in past.batches:
            _FiguresListener(self.figures).heard(seen, 0)

    async def current_figures(self) -> dict[str, Any]:
        """Return the stages' figures as of now (or half a second ago), also when nobody follows them."""
        now = self._clock()
        if self._figures_tap is None and not 0 <= now - self._figures_read < FIGURES_KEPT_MS:
            self._figures_read = now
            self.figures = Figures()
            try:
                await self._read_figures()
            except BrokerError as error:
                self._log("debug", "no figures", error=str(error))
        return self.figures.merged(self._kinds(), self._clock())

    async def _rates(self, now: int) -> dict[str, Any]:
        """Return how many records a second each topic gets, and how many it has."""
        rates = {}
        for topic in self.plan.topics:
            try:
                ranges = await self._broker.ranges(topic)
            except BrokerError:
                continue
            end = sum(held.end for held in ranges)
            before = self._ends.get(topic)
            self._ends[topic] = (now, end)
            rate = 0.0
            if before is not None and now > before[0]:
                rate = round(max(0, end - before[1]) * 1000 / (now - before[0]), 1)
            rates[topic] = {"per_second": rate, "records": sum(held.end - held.begin for held in ranges)}
        return rates

    # -- alerts -----------------------------------------------------------------------------------

    async def _begin_alerts(self) -> None:
        """Hear the topics of rules on fields, and remember what was fired before."""
        if not self.plan.dashboard.rules:
            return
        try:
            codec = self.topics.codec(self.plan.alerts)
            past = await read_back(self._broker, self.plan.alerts, codec, since=0, most=200, seconds=1.0)
            found = [value for seen in past.batches for value in seen.values if isinstance(value, dict)]
            self.alerts.remember(found)
        except BrokerError as error:
            self._log("debug", "no past alerts", error=str(error))
        for watch in self._watches:
            try:
                await self._hear(watch.rule.condition.of or "", watch)
            except BrokerError as error:
                self._log("warning", "an alert rule cannot be judged", rule=watch.rule.name, error=str(error))

    async def _judge(self, merged: dict[str, Any], now: int) -> None:
        events = self.alerts.judge_stages(merged["stages"], now)
        for watch in self._watches:
            events += self.alerts.judge(watch.rule, watch.current(now), now)
        for event in events:
            level = "warning" if event["state"] == "firing" else "info"
            self._log(
                level, f"alert {event['state']}", rule=event["name"], subject=event["subject"], value=event["value"]
            )
        if events and self._announce is not None:
            await self._announce(events)


class _FiguresListener:
    """Hears the metrics topic."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def heard(self, seen: Seen, now: int) -> None:  # noqa: ARG002 - the tap's word
        """Take published figures."""
        for key, value in zip(seen.keys, seen.values, strict=True):
            if isinstance(value, dict) and isinstance(value.get("time"), int) and isinstance(value.get("stages"), dict):
                self._figures.take((key or b"").decode(errors="replace"), value)

    def missed(self, start: int, end: int, records: int | None) -> None:
        """The next figures are whole again."""
