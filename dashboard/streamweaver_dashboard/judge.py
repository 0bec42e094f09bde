"""Judging the alert rules once a second, by the stages' figures and the records of topics."""

from typing import Any

from streamweaver import Broker, BrokerError
from streamweaver.graph.plan import Plan
from streamweaver.views.column import to_json
from streamweaver_dashboard.alert import Alerts, FieldWatch
from streamweaver_dashboard.announce import Announcer
from streamweaver_dashboard.log import Log
from streamweaver_dashboard.read_back import read_back
from streamweaver_dashboard.taps import Taps
from streamweaver_dashboard.topics import Topics

REMEMBERED = 200


class Judge:
    """The alert rules at work, and the announcer of what they find."""

    def __init__(self, plan: Plan, broker: Broker, topics: Topics, taps: Taps, log: Log, me: str) -> None:
        rules = plan.dashboard.rules
        self.alerts = Alerts(rules)
        self.announcer = Announcer(plan, broker, topics.codec(plan.alerts), log, me) if rules else None
        self._topic = plan.alerts
        self._broker = broker
        self._topics = topics
        self._taps = taps
        self._log = log
        self._watches = [FieldWatch(rule) for rule in rules if rule.condition.measure is None]
        self._told: tuple[int, bytes] = (-1, b"null")

    async def begin(self, now: int) -> None:
        """Hear the topics of rules on fields, and remember what was fired before."""
        if self.announcer is None:
            return
        try:
            codec = self._topics.codec(self._topic)
            past = await read_back(self._broker, self._topic, codec, since=0, most=REMEMBERED, seconds=1.0)
            found = [value for seen in past.batches for value in seen.values if isinstance(value, dict)]
            self.alerts.remember(found, now)
        except BrokerError as error:
            self._log("debug", "no past alerts", error=str(error))
        for watch in self._watches:
            try:
                await self._taps.hear(watch.rule.condition.of or "", watch)
            except BrokerError as error:
                self._log("warning", "an alert rule cannot be judged", rule=watch.rule.name, error=str(error))

    def judge(self, stages: dict[str, Any], now: int) -> None:
        """Judge every rule, and tell of what began or ended to fire."""
        if self.announcer is None:
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
