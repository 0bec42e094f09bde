"""Telling of alerts beyond the page: into a topic of the pipeline, and to a webhook."""

import asyncio
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec

from streamweaver import Broker, BrokerError, Rows
from streamweaver.graph.plan import Plan

WAITING = 100
TRIES = 3
TIMEOUT_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 1.0


class Announcer:
    """Writes events down at once, and posts them one after the other; neither holds anything up."""

    def __init__(self, plan: Plan, broker: Broker, log: Callable[..., None]) -> None:
        self._plan = plan
        self._broker = broker
        self._log = log
        self._url = plan.dashboard.options.webhook
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING)

    async def announce(self, events: list[dict[str, Any]]) -> None:
        """Store events; have them posted."""
        unit = self._broker.begin()
        encoded = [msgspec.json.encode(event) for event in events]
        keys: list[bytes | None] = [event["id"].encode() for event in events]
        unit.append(self._plan.alerts, 0, Rows(keys, list(encoded), [event["time"] for event in events]))
        try:
            await unit.commit()
        except BrokerError as error:
            self._log("warning", "an alert was not stored", error=str(error))
        if self._url is None:
            return
        for event in events:
            if self._queue.full():
                self._log("warning", "an alert was not posted: too many wait", rule=event["name"])
            else:
                self._queue.put_nowait(event)

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            event = await self._queue.get()
            for attempt in range(TRIES):
                try:
                    await asyncio.to_thread(self._post, {"pipeline": self._plan.name, **event})
                    break
                except OSError as error:
                    # The address may hold a secret; the error of a host that cannot be reached does not.
                    why = self._plan.redact(str(error))
                    self._log("warning", "webhook failed", rule=event["name"], attempt=attempt + 1, error=why)
                    await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**attempt)

    def _post(self, body: dict[str, Any]) -> None:
        assert self._url is not None
        headers = {"content-type": "application/json", "user-agent": "streamweaver"}
        request = urllib.request.Request(self._url, msgspec.json.encode(body), headers)  # noqa: S310 - checked as read
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            response.read(1_000)
