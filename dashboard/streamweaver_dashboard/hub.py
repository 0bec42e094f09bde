"""The heart of the dashboard: reads what somebody looks at, once a tick, and gives every client its frame.

When nobody looks, nothing is read and nothing is computed (but the figures, once a second, if there are alert rules).
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from streamweaver import Broker, BrokerError
from streamweaver.graph.plan import Plan
from streamweaver.views.column import to_json
from streamweaver_dashboard.client import Client, Shared, Tail
from streamweaver_dashboard.judge import Judge
from streamweaver_dashboard.live_panels import LivePanels
from streamweaver_dashboard.log import Log
from streamweaver_dashboard.stage_figures import StageFigures
from streamweaver_dashboard.taps import Taps
from streamweaver_dashboard.topics import Topics
from streamweaver_dashboard.wish import MAX_TAILS, Watch

SECOND_MS = 1_000


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Hub:
    """Everything live of one pipeline. Runs on one event loop; `run` is its only task."""

    def __init__(self, plan: Plan, broker: Broker, log: Log, *, clock: Callable[[], int] = now_ms) -> None:
        self.plan = plan
        self.epoch = secrets.token_hex(8)
        self.tick_ms = max(50, round(plan.dashboard.options.tick * 1000))
        self.clients: set[Client] = set()
        self.topics = Topics(plan, broker)
        self._woken = asyncio.Event()
        self._taps = Taps(broker, self.topics.codec, clock)
        self.panels = LivePanels(
            plan.dashboard.panels,
            self.tick_ms,
            broker=broker,
            topics=self.topics,
            taps=self._taps,
            log=log,
            clock=clock,
            begun=self._woken.set,
        )
        self.figures = StageFigures(
            plan, broker, self.topics.codec(plan.metrics), self._taps, log, clock, self._hear_dashboards
        )
        self.judge = Judge(plan, broker, self.topics, self._taps, log, clock, self.epoch)
        self._log = log
        self._clock = clock
        self._tick = 0
        self._metrics: tuple[int, bytes] = (0, b"null")
        self._second = 0

    def _hear_dashboards(self, said: Mapping[str, Any], now: int) -> None:
        if self.judge.announcer is not None:
            self.judge.announcer.election.heard(said, now)

    # -- clients ----------------------------------------------------------------------------------

    def join(self, client: Client) -> None:
        """Take a client in."""
        self.clients.add(client)

    def leave(self, client: Client) -> None:
        """Let a client go."""
        self.clients.discard(client)
        for tail in client.tails.values():
            self._taps.unhear(tail.wish.topic, tail)
        client.tails.clear()

    async def watch(self, client: Client, wish: Watch) -> None:
        """Do as a client wishes."""
        before = client.panels
        client.panels = {}
        for name, seq in wish.panels.items():
            if name in self.panels:
                known = seq if wish.epoch == self.epoch else None
                client.panels[name] = before[name] if name in before and seq is not None else known
        if (wish.metrics, wish.alerts) != (client.metrics, client.alerts):
            client.again()
        client.metrics, client.alerts = wish.metrics, wish.alerts
        await self._set_tails(client, wish)
        # What is there soon need not wait for what takes long.
        for name in sorted(client.panels, key=self.panels.cost):
            self.panels.need(name)
        self._woken.set()

    async def _set_tails(self, client: Client, wish: Watch) -> None:
        wanted = {tail.id: tail for tail in wish.tails}
        for name, tail in list(client.tails.items()):
            if wanted.get(name) != tail.wish:
                self._taps.unhear(tail.wish.topic, tail)
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
                await self._taps.hear(tail_wish.topic, tail)
            except BrokerError as error:
                tail.error = str(error)
            if client not in self.clients:
                # It left meanwhile.
                self._taps.unhear(tail_wish.topic, tail)

    # -- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        await self.judge.begin()
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
            await self.panels.close()
            await self.figures.close()
            await self._taps.close()
            if self.judge.announcer is not None:
                await self.judge.announcer.leave(self._clock())

    def _pause(self) -> float | None:
        """Return the time to the next tick: a tick, a second, or None when there is nothing to do."""
        if self.panels.live or any(client.panels or client.tails for client in self.clients):
            return self.tick_ms / 1000
        if self._wants_figures():
            return 1.0
        return None if not self._taps else 1.0

    def _wants_figures(self) -> bool:
        rules = self.plan.dashboard.rules
        return bool(rules) or any(client.metrics or client.alerts for client in self.clients)

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
        await self._taps.pull(now)
        if now - self._second >= SECOND_MS or now < self._second:
            self._second = now
            await self._each_second(now)
        now = self._clock()
        self.panels.tick(now)
        shared = Shared(self._tick, now, self.panels.live, self._metrics, self.judge.told())
        for client in self.clients:
            client.tick(shared)

    async def _each_second(self, now: int) -> None:
        self.panels.let_go({name for client in self.clients for name in client.panels}, now)
        wanted = self._wants_figures()
        await self.figures.follow(wanted)
        await self._taps.drop_unheard()
        if not wanted:
            return
        merged = self.figures.newest()
        self.judge.judge(merged["stages"], now)
        if any(client.metrics for client in self.clients):
            merged["topics"] = await self.topics.rates(now)
            self._metrics = (self._metrics[0] + 1, to_json(merged))
