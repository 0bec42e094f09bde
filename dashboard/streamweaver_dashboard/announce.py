"""Telling of alerts beyond the page: into a topic of the pipeline, and to a webhook; one dashboard of all does it."""

import asyncio
import http.client
import urllib.request
from collections import deque
from collections.abc import Mapping
from typing import Any

import attrs
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
READ_SECONDS = 3.0
"""How long reading what was told before may take: shorter than what makes others think that this dashboard is gone."""
UNTOLD = 1_000
UNTOLD_MS = 4 * SILENT_MS
"""How long an event is kept while another dashboard tells, for the case that it ends before it has told of it."""
READ_BACK = 1_000
KNOWN = 10_000

Event = dict[str, Any]
Key = tuple[str, ...]


@attrs.define(eq=False)
class _Untold:
    """An event that does not stand in the topic, as far as is known."""

    event: Event
    key: Key
    posted: bool = False


class Announcer:
    """Writes events down, and posts them one after the other, in `run`; who hands them over is never held up."""

    def __init__(self, plan: Plan, broker: Broker, codec: Codec, log: Log, me: str) -> None:
        self.election = Election(me)
        self._plan = plan
        self._broker = broker
        self._codec = codec
        self._log = log
        self._url = plan.dashboard.options.webhook
        self._now = 0
        self._woken = asyncio.Event()
        self._untold: deque[_Untold] = deque()
        self._told: dict[Key, Any] = {}
        """The last state that stands in the topic; known while this dashboard speaks."""
        self._posts: asyncio.Queue[Event] = asyncio.Queue(WAITING)
        self._spoke = False

    def tell(self, events: list[Event], now: int) -> None:
        """Have it told what has begun or ended to fire, if that is this dashboard's to do.

        Call about once a second, after hearing what dashboards say to each other.
        """
        self._untold.extend(_Untold(event, _key(event)) for event in events)
        while len(self._untold) > UNTOLD:
            lost = self._untold.popleft()
            self._log("warning", "an alert was not stored: too many wait", rule=lost.event["name"])
        self._now = now
        # Another dashboard has had the time to tell this. When nobody speaks, all is kept.
        while self._untold and self.election.listens(now) and now - self._untold[0].event["time"] > UNTOLD_MS:
            self._untold.popleft()
        self._woken.set()

    async def past(self, most: int) -> list[Event]:
        """Return what was told last, by whomever, oldest first; BrokerError when not all of it can be read now."""
        topic = self._plan.alerts
        past = await read_back(self._broker, topic, self._codec, since=0, most=most, seconds=READ_SECONDS)
        if not past.reached_end:
            raise BrokerError(f"topic {topic}: its newest records did not come within {READ_SECONDS} s")
        return [value for seen in past.batches for value in seen.values if isinstance(value, dict)]

    async def leave(self, now: int) -> None:
        """Let another dashboard take over at once."""
        if (word := self.election.last_words(now)) is not None:
            await self._say(word)

    async def _say(self, word: Mapping[str, Any]) -> None:
        try:
            await self._append(self._plan.metrics, [(b"announcer", word)])
        except BrokerError as error:
            self._log("debug", "nothing can be said to other dashboards", error=str(error))

    # -- telling ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell and post until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_all())
            group.create_task(self._post_all())

    async def _tell_all(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            if (word := self.election.to_say(self._now)) is not None:
                await self._say(word)
            if not self.election.speaks(self._now):
                self._spoke = False
                continue
            self._spoke = self._spoke or await self._leave_out_what_was_told()
            if self._spoke and self._untold:
                await self._announce()

    async def _leave_out_what_was_told(self) -> bool:
        """Learn what the one before has told, and forget that; False when that cannot be read now.

        Two dashboards judge the same figures at other moments, hours apart where a rule has a long `for`: what is
        compared is the state that was told last, not the time.
        """
        try:
            told = await self.past(READ_BACK)
        except BrokerError as error:
            self._log("debug", "past alerts cannot be read", error=str(error))
            return False
        self._told = {_key(event): event.get("state") for event in told}
        last = {each.key: each for each in self._untold}
        # What led to the last state was told by the one before, or is over.
        self._untold = deque(each for each in self._untold if each.key not in self._told or last[each.key] is each)
        return True

    async def _announce(self) -> None:
        """Write down what is new, and have it posted; what could not be stored is tried again, and posted once."""
        tried = list(self._untold)
        told, new = dict(self._told), []
        for each in tried:
            if told.get(each.key) != each.event["state"]:
                told.pop(each.key, None)
                told[each.key] = each.event["state"]
                new.append(each)
        level = "debug" if all(each.posted for each in new) else "warning"
        for each in new:
            if self._url is not None and not each.posted:
                self._post_later(each.event)
            each.posted = True
        try:
            if new:
                await self._append(self._plan.alerts, [(each.event["id"].encode(), each.event) for each in new])
        except BrokerError as error:
            self._log(level, "an alert was not stored yet", error=str(error))
            return
        self._told = dict(list(told.items())[-KNOWN:])
        done = set(tried)
        self._untold = deque(each for each in self._untold if each not in done)

    def _post_later(self, event: Event) -> None:
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

    async def _post_all(self) -> None:
        while True:
            event = await self._posts.get()
            for attempt in range(TRIES):
                if attempt:
                    await asyncio.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
                try:
                    await asyncio.to_thread(self._post, {"pipeline": self._plan.name, **event})
                    break
                except (OSError, http.client.HTTPException, ValueError) as error:
                    # Also an answer that is no HTTP, or leads to no address. The address may hold a secret; the error
                    # of a host that cannot be reached does not.
                    why = self._plan.redact(str(error))
                    self._log("warning", "webhook failed", rule=event["name"], attempt=attempt + 1, error=why)

    def _post(self, body: Event) -> None:
        assert self._url is not None
        headers = {"content-type": "application/json", "user-agent": "streamweaver"}
        request = urllib.request.Request(self._url, msgspec.json.encode(body), headers)  # noqa: S310 - checked as read
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            response.read(1_000)


def _key(event: Event) -> Key:
    """Return of what an event tells: a rule, as it is now, and a subject."""
    return tuple(str(event.get(name)) for name in ("id", "when", "subject"))
