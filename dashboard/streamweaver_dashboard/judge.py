"""Judging the alert rules once a second, by the stages' figures and the records of topics."""

import asyncio
from collections.abc import Callable
from typing import Any

from streamweaver import Broker, BrokerError, UnknownTopicError
from streamweaver.graph.plan import Plan
from streamweaver.views.column import to_json
from streamweaver_dashboard.alert import Alerts, FieldWatch
from streamweaver_dashboard.announce import Announcer, Event
from streamweaver_dashboard.log import Log
from streamweaver_dashboard.taps import Taps
from streamweaver_dashboard.topics import Topics

REMEMBERED = 200
PAUSE_SECONDS = 1.0
"""Between two tries to learn what was fired before."""


class Judge:
    """The alert rules at work, and the announcer of what they find."""

    def __init__(
        self, plan: Plan, broker: Broker, topics: Topics, taps: Taps, log: Log, clock: Callable[[], int], me: str
    ) -> None:
        rules = plan.dashboard.rules
        self.alerts = Alerts(rules)
        self.announcer = Announcer(plan, broker, topics.codec(plan.alerts), log, me) if rules else None
        self._taps = taps
        self._log = log
        self._clock = clock
        self._watches = [FieldWatch(rule) for rule in rules if rule.condition.measure is None]
        self._remembers = False
        self._told: tuple[int, bytes] = (-1, b"null")

    async def begin(self) -> None:
        """Hear the topics of rules on fields."""
        for watch in self._watches:
            try:
                await self._taps.hear(watch.rule.condition.of or "", watch)
            except BrokerError as error:
                self._log("warning", "an alert rule cannot be judged", rule=watch.rule.name, error=str(error))

    async def run(self) -> None:
        """Remember what was fired before, and tell of alerts from then on, until cancelled; only with rules."""
        assert self.announcer is not None, "without rules there is nothing to tell"
        self.alerts.remember(await self._past(self.announcer), self._clock())
        self._remembers = True
        await self.announcer.run()

    async def _past(self, announcer: Announcer) -> list[Event]:
        while True:
            try:
                return await announcer.past(REMEMBERED)
            except UnknownTopicError:
                return []  # The pipeline was started without rules.
            except BrokerError as error:
                self._log("debug", "past alerts cannot be read", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)

    def judge(self, stages: dict[str, Any], now: int) -> None:
        """Judge every rule, and tell of what began or ended to fire; nothing before `run` remembers what was fired.

        Otherwise of what was fired before, and is over now, nobody would be told that it is.
        """
        if self.announcer is None or not self._remembers:
            return
        events = self.alerts.judge_stages(stages, now)
        for watch in self._watches:
            events += self.alerts.judge(watch.rule, watch.current(now), now)
        for event in events:
            level = "warning" if event["state"] == "firing" else "info"
            self._log(
                level, f"alert {event['state']}", rule=event["name"], subject=event["subject"], value=event["value"]
            )
        self.announcer.tell(events, now)

    def told(self) -> tuple[int, bytes]:
        """Return the number and JSON of what clients are told."""
        if self.alerts.version != self._told[0]:
            self._told = (self.alerts.version, to_json(self.alerts.as_dict()))
        return self._told
