"""Which of a pipeline's dashboards tells of alerts: one at a time, as the order of the metrics topic has it. Pure.

Every dashboard judges the rules, and one writes down what fires. Who that is, is said in the metrics topic: a dashboard
that hears of nobody claims the next term, and the first claim of a term in the topic is the one that counts. The topic
has one order for all, so all agree. A dashboard counts itself in only once it has read its own claim back.
"""

from collections.abc import Mapping
from typing import Any

import attrs

RENEW_MS = 2_000
SILENT_MS = 8_000
"""One that has not been heard for so long is taken to be gone."""
LISTEN_MS = 3_000
"""How long a new one listens before its first claim: longer than the one that is there is quiet between two words."""


@attrs.define
class Election:
    """What one dashboard knows of it."""

    me: str
    speaker: str | None = None
    term: int = 0
    _heard_at: int = 0
    _said_at: int | None = None
    _listens_since: int | None = None

    def heard(self, said: Mapping[str, Any], now: int) -> None:
        """Take what a dashboard has said, in the order of the topic."""
        who, term = said.get("announcer"), said.get("term")
        if not isinstance(who, str) or type(term) is not int or term < self.term:
            return
        if term > self.term:
            self.term, self.speaker = term, who
        if who != self.speaker:
            return
        self._heard_at = now
        if said.get("leaves"):
            self.speaker = None

    def speaks(self, now: int) -> bool:
        """Say whether this dashboard is the one."""
        return self.speaker == self.me and not self._is_silent(now)

    def listens(self, now: int) -> bool:
        """Say whether another dashboard is the one."""
        return self.speaker not in (None, self.me) and not self._is_silent(now)

    def to_say(self, now: int) -> dict[str, Any] | None:
        """Return what is to be said now, if anything: that one is still there, or a claim."""
        if self._said_at is not None and 0 <= now - self._said_at < RENEW_MS:
            return None
        if self.speaker == self.me:
            term = self.term
        elif self._is_new(now):
            return None
        elif self.speaker is None or self._is_silent(now):
            # Above every term of before, also of those that are forgotten.
            term = max(self.term + 1, now)
        else:
            return None
        self._said_at = now
        return {"announcer": self.me, "term": term, "time": now}

    def last_words(self, now: int) -> dict[str, Any] | None:
        """Return what is to be said at the end, so that another need not wait."""
        if self.speaker != self.me:
            return None
        return {"announcer": self.me, "term": self.term, "time": now, "leaves": True}

    def _is_new(self, now: int) -> bool:
        """Say whether this dashboard has heard nobody yet, and may only not have listened for long enough."""
        self._listens_since = now if self._listens_since is None else min(self._listens_since, now)
        return not self.term and now - self._listens_since < LISTEN_MS

    def _is_silent(self, now: int) -> bool:
        # Heard later than now is heard just now, not long ago; a clock that was set back does not make it last.
        self._heard_at = min(self._heard_at, now)
        return now - self._heard_at >= SILENT_MS
