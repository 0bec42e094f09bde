"""Alert rules: what they say of the figures, and for how long. Pure."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from streamweaver.config.dashboard import Rule
from streamweaver.views.field import ABSENT, getter, label, number
from streamweaver.views.seen import Seen

KEPT_EVENTS = 200
MAX_SUBJECTS = 1_000
FORGET_MS = 300_000
START_MS = 15_000
"""In which the figures of every stage that runs are heard."""


@attrs.define
class State:
    """How one rule stands with one subject, while its condition holds or it fires."""

    since: int
    """When the condition began to hold; once it fires, when it began to."""
    firing: bool
    value: Any
    kept_until: int = 0
    """Until when nothing is concluded from there being no figure: whoever has just begun has heard none yet."""


def measured(stage: Mapping[str, Any], rule: Rule) -> Any:
    """Return the figure that a rule compares; None when there is none, as of a stage of which nothing is heard."""
    condition = rule.condition
    if stage["health"] == "unknown" and condition.measure != "health":
        return None
    match condition.measure:
        case "lag":
            return stage["lag_seconds"] if condition.is_time else stage["lag_records"]
        case "error rate":
            return stage["errors_per_second"]
        case "dead letter rate":
            return stage["dead_letters_per_second"]
        case "in rate":
            return stage["in_per_second"]
        case "out rate":
            return stage["out_per_second"]
        case "restarts" | "health":
            return stage[condition.measure]
        case None:
            return None
        case percentile:
            figures, share = percentile.split()
            summary = stage[f"{figures}_ms"]
            return None if summary is None else summary[share] / 1000


class FieldWatch:
    """The last value of a field, by series, for one rule; listens to a topic."""

    def __init__(self, rule: Rule) -> None:
        assert rule.condition.field is not None
        self.rule = rule
        self._field = getter(rule.condition.field)
        self._by: Callable[[Any], Any] | None = None if rule.by is None else getter(rule.by)
        self.values: dict[str, tuple[int, Any]] = {}

    def heard(self, seen: Seen, now: int) -> None:
        """Take the newest values."""
        for value in seen.values:
            found = self._field(value)
            subject = "" if self._by is None else label(self._by(value))
            if subject is None or found is ABSENT:
                continue
            known = found if type(found) is str or type(found) is bool else number(found)
            if known is not None and (subject in self.values or len(self.values) < MAX_SUBJECTS):
                self.values[subject] = (now, known)

    def missed(self, start: int, end: int, records: int | None) -> None:
        """Nothing follows from a gap."""

    def current(self, now: int) -> dict[str, Any]:
        """Return the values that are not too old to say anything."""
        for subject in [s for s, (at, _) in self.values.items() if now - at > FORGET_MS]:
            del self.values[subject]
        return {subject: value for subject, (_, value) in self.values.items()}


class Alerts:
    """The states of all rules, and the newest events."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self.states: dict[tuple[str, str], State] = {}
        self.events: deque[dict[str, Any]] = deque(maxlen=KEPT_EVENTS)
        """Newest first."""
        self.version = 0
        """Changes whenever there is something new to be told."""

    def remember(self, events: list[dict[str, Any]], now: int) -> None:
        """Take events of an earlier run, oldest first; what fired then fires on, until its figure says otherwise."""
        for event in events:
            self.events.appendleft(event)
        last = {(event.get("id"), event.get("subject")): event for event in events}
        for rule in self.rules:
            grace = START_MS if rule.condition.measure is not None else FORGET_MS
            for (rule_id, subject), event in last.items():
                if rule_id == rule.id and event.get("when") == rule.when and event.get("state") == "firing":
                    since = event.get("time", now)
                    firing = State(since, firing=True, value=event.get("value"), kept_until=now + grace)
                    self.states[rule.id, str(subject)] = firing
        self.version += 1

    def judge(self, rule: Rule, values: Mapping[str, Any], now: int) -> list[dict[str, Any]]:
        """Judge a rule by the value of each subject; returns what began or ended to fire."""
        events = []
        condition = rule.condition
        known = {subject for of, subject in self.states if of == rule.id}
        for subject in sorted(known | values.keys()):
            value = values.get(subject)
            state = self.states.get((rule.id, subject))
            if value is not None and condition.holds(value):
                if state is None:
                    state = self.states[rule.id, subject] = State(now, firing=False, value=value)
                    self.version += 1
                state.value = value
                if not state.firing and now - state.since >= condition.for_seconds * 1000:
                    state.firing, state.since = True, now
                    events.append(self._event(rule, subject, "firing", value, now))
            elif state is not None and not (value is None and now < state.kept_until):
                del self.states[rule.id, subject]
                self.version += 1
                if state.firing:
                    events.append(self._event(rule, subject, "resolved", value, now))
        return events

    def _event(self, rule: Rule, subject: str, state: str, value: Any, now: int) -> dict[str, Any]:
        event = {
            "id": rule.id,
            "name": rule.name,
            "when": rule.when,
            "level": rule.level,
            "subject": subject,
            "state": state,
            "time": now,
            "value": value,
        }
        self.events.appendleft(event)
        self.version += 1
        return event

    def judge_stages(self, stages: Mapping[str, Mapping[str, Any]], now: int) -> list[dict[str, Any]]:
        """Judge every rule on stages."""
        events = []
        for rule in self.rules:
            if rule.condition.measure is not None:
                subjects = stages if rule.condition.of is None else {rule.condition.of: stages[rule.condition.of]}
                events += self.judge(rule, {name: measured(stage, rule) for name, stage in subjects.items()}, now)
        return events

    def as_dict(self) -> dict[str, Any]:
        """Return what clients get."""
        states = [
            {
                "id": rule_id,
                "subject": subject,
                "state": "firing" if state.firing else "pending",
                "since": state.since,
                "value": state.value,
            }
            for (rule_id, subject), state in self.states.items()
        ]
        return {"states": states, "events": list(self.events)}
