"""Telling of alerts beyond the page: into a topic of the pipeline, and to a webhook; one dashboard of all does it."""

import asyncio
import http.client
import urllib.request
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from streamweaver import Broker, BrokerError, Codec, Rows
from streamweaver.graph.plan import Plan
from streamweaver_dashboard.election import SILENT_MS, Election
from streamweaver_dashboard.log import Log
from streamweaver_dashboard.read_back import read_back

WAITING = 100
TRIES = 3
TIMEOUT_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 1.0
UNSAID_MS = 4 * SILENT_MS
"""How long an event is kept for the case that whoever should have told of it is gone."""
SAME_MS = 2 * SILENT_MS
"""Two dashboards judge the same figures, but not at the same moment."""

Event = dict[str, Any]


class Announcer:
    """Writes events down at once, and posts them one after the other; neither holds anything up."""

    def __init__(self, plan: Plan, broker: Broker, codec: Codec, log: Log, me: str) -> None:
        self.election = Election(me)
        self._plan = plan
        self._broker = broker
        self._codec = codec
        self._log = log
        self._url = plan.dashboard.options.webhook
        self._posts: asyncio.Queue[Event] = asyncio.Queue(WAITING)
        self._unsaid: deque[Event] = deque()
        self._spoke = False

    async def tell(self, events: list[Event], now: int) -> None:
        """Tell of what has begun or ended to fire, if that is this dashboard's; call about once a second."""
        self._unsaid.extend(events)
        if (word := self.election.to_say(now)) is not None:
            await self._say(word)
        spoke, self._spoke = self._spoke, self.election.speaks(now)
        if self._spoke:
            if not spoke:
                await self._leave_out_what_was_told(now)
            await self._announce(list(self._unsaid))
            self._unsaid.clear()
        while self._unsaid and now - self._unsaid[0]["time"] > UNSAID_MS:
            self._unsaid.popleft()

    async def leave(self, now: int) -> None:
        """Let another dashboard take over at once."""
        if (word := self.election.last_words(now)) is not None:
            await self._say(word)

    async def _say(self, word: Mapping[str, Any]) -> None:
        try:
            await self._append(self._plan.metrics, [(b"announcer", word)])
        except BrokerError as error:
            self._log("debug", "nothing can be said to other dashboards", error=str(error))

    async def _leave_out_what_was_told(self, now: int) -> None:
        """Forget what the one before has told of already."""
        if not self._unsaid:
            return
        since = now - UNSAID_MS - SAME_MS
        try:
            past = await read_back(self._broker, self._plan.alerts, self._codec, since=since, most=1_000, seconds=1.0)
        except BrokerError as error:
            self._log("debug", "no past alerts", error=str(error))
            return
        told = [value for seen in past.batches for value in seen.values if isinstance(value, dict)]
        self._unsaid = deque(event for event in self._unsaid if not any(_is_same(event, other) for other in told))

    async def _announce(self, events: list[Event]) -> None:
        if not events:
            return
        try:
            await self._append(self._plan.alerts, [(event["id"].encode(), event) for event in events])
        except BrokerError as error:
            self._log("warning", "an alert was not stored", error=str(error))
        for event in events if self._url is not None else ():
            if self._posts.full():
                self._log("warning", "an alert was not posted: too many wait", rule=event["name"])
            else:
                self._posts.put_nowait(event)

    async def _append(self, topic: str, records: list[tuple[bytes, Mapping[str, Any]]]) -> None:
        unit = self._broker.begin()
        keys: list[bytes | None] = [key for key, _ in records]
        values: list[bytes | None] = [msgspec.json.encode(value) for _, value in records]
        unit.append(topic, 0, Rows(keys, values, [value["time"] for _, value in records]))
        await unit.commit()

    # -- the webhook ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            event = await self._posts.get()
            for attempt in range(TRIES):
                try:
                    await asyncio.to_thread(self._post, {"pipeline": self._plan.name, **event})
                    break
                except (OSError, http.client.HTTPException, ValueError) as error:
                    # Also an answer that is no HTTP, or leads to no address. The address may hold a secret; the error
                    # of a host that cannot be reached does not.
                    why = self._plan.redact(str(error))
                    self._log("warning", "webhook failed", rule=event["name"], attempt=attempt + 1, error=why)
                    await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**attempt)

    def _post(self, body: Event) -> None:
        assert self._url is not None
        headers = {"content-type": "application/json", "user-agent": "streamweaver"}
        request = urllib.request.Request(self._url, msgspec.json.encode(body), headers)  # noqa: S310 - checked as read
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            response.read(1_000)


def _is_same(one: Event, other: Event) -> bool:
    """Whether two dashboards have judged the same."""
    same = all(one[name] == other.get(name) for name in ("id", "subject", "state"))
    return same and isinstance(other.get("time"), int) and abs(one["time"] - other["time"]) <= SAME_MS
