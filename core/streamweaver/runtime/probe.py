"""Asking the broker, now and then: how much waits for each stage, and whether it answers at all."""

import asyncio
import time
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from streamweaver.contracts import Broker
from streamweaver.errors import StorageError
from streamweaver.runtime.lag import Lag, measure
from streamweaver.runtime.scope import Scope

AWAY_SECONDS = 3.0
"""A broker that has not answered for so long is away: its stages wait for it, and what it said last is not told."""

QUESTION_SECONDS = 5.0
"""A question that takes longer is asked anew: after an outage an old one may hang although the broker is back."""

LOOK_SECONDS = 2.0
"""More silence than this is not counted between two looks: in the rest of the time it was us who did not run."""

Lags: TypeAlias = Mapping[str, Lag]
"""Each reading stage's lag, by its name."""


@attrs.frozen
class BrokerState:
    """What is known of the broker, and from it."""

    lags: Lags | None = None
    """As of now or a moment ago; None when the broker has not said so lately."""
    last: Lags = attrs.field(factory=dict)
    """What it said last, however long ago."""
    silence: float = 0.0
    """Seconds for which it has not answered."""

    @property
    def is_away(self) -> bool:
        """Whether what needs it waits for it."""
        return self.silence >= AWAY_SECONDS


class BrokerProbe:
    """Asks one question at a time, and keeps what was answered last.

    Nobody waits for an answer longer than he likes: one that comes late is kept, and the next question begins with it.
    """

    def __init__(self, broker: Broker, scopes: Mapping[str, Scope], topic: str) -> None:
        self._broker = broker
        self._scopes = scopes
        self._topic = topic
        self._asking: asyncio.Task[Lags] | None = None
        self._is_late = False
        """Whether somebody has waited in vain for what is being asked."""
        self._last: Lags = {}
        self._answered_at: float | None = None
        self._has_answered = False
        """Whether it has since the last look."""
        self._looked_at: float | None = None
        self._silence = 0.0
        self.error: BaseException | None = None
        """Why the last question was not answered."""

    async def look(self, seconds: float) -> BrokerState:
        """Return what is known once the broker has answered, or after so many seconds without."""
        asking = self._asking or self._begin()
        await asyncio.wait({asking}, timeout=seconds)
        if not asking.done():
            self._is_late = True
        now = time.monotonic()
        if self._has_answered or self._looked_at is None:
            self._silence = 0.0
        else:
            self._silence += min(now - self._looked_at, LOOK_SECONDS)
        self._looked_at, self._has_answered = now, False
        is_young = self._answered_at is not None and now - self._answered_at < AWAY_SECONDS
        return BrokerState(self._last if is_young else None, self._last, self._silence)

    async def close(self) -> None:
        """Ask no more; whoever looks again begins anew."""
        if (asking := self._asking) is not None:
            self._is_late = False
            asking.cancel()
            await asyncio.wait({asking})

    def _begin(self) -> asyncio.Task[Lags]:
        self._is_late = False
        self._asking = asyncio.create_task(self._ask())
        self._asking.add_done_callback(self._take)
        return self._asking

    def _take(self, asking: asyncio.Task[Lags]) -> None:
        self._asking = None
        if asking.cancelled():
            return
        self.error = asking.exception()
        if self.error is None:
            self._last, self._answered_at, self._has_answered = asking.result(), time.monotonic(), True
        if self._is_late:
            self._begin()

    async def _ask(self) -> Lags:
        """Ask for every stage at once, and in any case something, to know that the broker is there."""
        reading = {name: scope for name, scope in self._scopes.items() if scope.stage.inputs}
        questions = [measure(scope, self._broker) for scope in reading.values()]
        try:
            async with asyncio.timeout(QUESTION_SECONDS):
                if not questions:
                    await self._broker.ranges(self._topic)
                # Each comes to its end, so that none is left behind when another one fails.
                answers = await asyncio.gather(*questions, return_exceptions=True)
        except TimeoutError:
            raise StorageError(f"the broker has not answered for {QUESTION_SECONDS:.0f} s") from None
        lags: dict[str, Lag] = {}
        for name, answer in zip(reading, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            lags[name] = answer
        return lags
