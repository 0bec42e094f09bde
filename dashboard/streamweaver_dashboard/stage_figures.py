"""The figures that the workers publish, heard while somebody wants them and read back for whoever asks once."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from streamweaver import Broker, BrokerError, Codec
from streamweaver.graph.plan import Plan
from streamweaver.views import Seen
from streamweaver_dashboard.figures import Figures
from streamweaver_dashboard.log import Log
from streamweaver_dashboard.read_back import read_back
from streamweaver_dashboard.taps import Taps

BACK_MS = 10_000
KEPT_MS = 500
"""So that asking for health over and over costs little."""
MOST_RECORDS = 500
READ_SECONDS = 0.8
"""How long whoever asks waits for a broker that may be away; what is known by then is the answer. Many a probe of a
health check waits for a second."""

Voice = Callable[[Mapping[str, Any], int], None]


class StageFigures:
    """The newest figures of all stages; listens to the metrics topic.

    What dashboards say to each other stands in the same topic, and is handed on to `voice` with the time of hearing it.
    """

    def __init__(
        self, plan: Plan, broker: Broker, codec: Codec, taps: Taps, log: Log, clock: Callable[[], int], voice: Voice
    ) -> None:
        self._topic = plan.metrics
        self._kinds = {stage.name: stage.kind for stage in plan.stages.values()}
        self._broker = broker
        self._codec = codec
        self._taps = taps
        self._log = log
        self._clock = clock
        self._voice = voice
        self._figures = Figures()
        self._is_heard = False
        self._read_at = 0
        self._reading: asyncio.Task[None] | None = None
        self._is_answered = True
        """Whether the broker answered when it was last asked for figures."""

    @property
    def workers(self) -> Mapping[str, Mapping[str, Any]]:
        """The newest figures of each worker."""
        return self._figures.workers

    # -- the tap's words --------------------------------------------------------------------------

    def heard(self, seen: Seen, now: int) -> None:
        """Take published figures."""
        self._take(self._figures, seen, now)

    def _take(self, figures: Figures, seen: Seen, now: int) -> None:
        for key, value in zip(seen.keys, seen.values, strict=True):
            if not isinstance(value, dict) or not isinstance(value.get("time"), int):
                continue
            if isinstance(value.get("stages"), dict):
                figures.take((key or b"").decode(errors="replace"), value)
            else:
                self._voice(value, now)

    def missed(self, start: int, end: int, records: int | None) -> None:
        """The next figures are whole again."""

    # -- asking -----------------------------------------------------------------------------------

    async def follow(self, wanted: bool) -> None:
        """Begin or end to hear the topic."""
        if wanted and not self._is_heard:
            try:
                await self._taps.hear(self._topic, self)
                self._figures = await self._read()
            except BrokerError:
                self._taps.unhear(self._topic, self)
                return
            self._is_heard = True
        elif not wanted and self._is_heard:
            self._taps.unhear(self._topic, self)
            self._is_heard = False

    def newest(self) -> dict[str, Any]:
        """Return all workers' figures taken together, as far as they have been heard."""
        return self._figures.merged(self._kinds, self._clock())

    async def current(self) -> dict[str, Any]:
        """Return the figures as of now (or half a second ago), also when nobody follows them.

        While the broker is away they are the last ones, and `is_answered` is False.
        """
        if not self._is_heard:
            if self._reading is None and not 0 <= self._clock() - self._read_at < KEPT_MS:
                self._reading = asyncio.create_task(self._read_anew())
            # Whoever asks meanwhile waits for the same figures; and nobody cuts off a question that others wait for.
            if (reading := self._reading) is not None:
                await asyncio.wait({reading}, timeout=READ_SECONDS)
                if reading.done():
                    reading.result()
                else:
                    self._is_answered = False
        return {**self.newest(), "is_answered": self._is_heard or self._is_answered}

    async def _read_anew(self) -> None:
        try:
            figures = await self._read()
            if not self._is_heard:
                # Since when nothing was heard is known of what was heard before.
                figures.newest = figures.newest or self._figures.newest
                self._figures = figures
            self._is_answered = True
        except BrokerError as error:
            self._is_answered = False
            self._log("debug", "no figures", error=str(error))
        finally:
            self._read_at = self._clock()
            self._reading = None

    async def close(self) -> None:
        """Ask no more."""
        if self._reading is not None:
            reading = self._reading
            reading.cancel()
            await asyncio.wait({reading})

    async def _read(self) -> Figures:
        """Read back the newest figures."""
        figures = Figures()
        since = self._clock() - BACK_MS
        past = await read_back(self._broker, self._topic, self._codec, since=since, most=MOST_RECORDS, seconds=1.0)
        for seen in past.batches:
            # Heard now: the publishers' clocks say nothing of when.
            self._take(figures, seen, self._clock())
        return figures
