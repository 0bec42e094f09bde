"""The figures that the workers publish, heard while somebody wants them and read back for whoever asks once."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from streamweaver import Broker, BrokerError, Codec, UnknownTopicError
from streamweaver.graph.plan import Plan
from streamweaver.views import Seen
from streamweaver_dashboard.figures import STALE_MS, Figures
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
TRY_SECONDS = 10.0
"""A question that takes longer is asked anew: after an outage an old one may hang although the broker is back."""
AGAIN_SECONDS = 1.0
"""Until a broker that has not answered is asked again, whether somebody waits for it or not."""

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
        self._answered_at: int | None = None
        """When the broker last had answered."""
        self._asked_at: int | None = None
        """Since when it has been asked without an answer; None when it has answered."""
        self._reading: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        """Set once there is an answer, or it is known that there is none for now."""

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
                self._figures, _ = await self._read(1.0)
            except BrokerError:
                self._taps.unhear(self._topic, self)
                return
            self._is_heard = True
        elif not wanted and self._is_heard:
            self._taps.unhear(self._topic, self)
            self._is_heard, self._answered_at = False, self._clock()

    def newest(self) -> dict[str, Any]:
        """Return all workers' figures taken together, as far as they have been heard."""
        return self._figures.merged(self._kinds, self._clock())

    async def current(self) -> dict[str, Any]:
        """Return the figures as of now (or half a second ago), also when nobody follows them.

        Where the broker does not answer in time, they are as they were when it last did, and `is_answered` is False:
        that nothing was heard since says something of it, and not of the stages. When it has not answered for as long
        as makes stages unknown, they are unknown.
        """
        if not self._is_heard:
            if self._reading is None and not self._is_fresh():
                self._asked_at = self._clock()
                self._tried.clear()
                self._reading = asyncio.create_task(self._read_anew())
            # Whoever asks meanwhile waits for the same figures; and nobody cuts off a question that others wait for.
            if (reading := self._reading) is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(READ_SECONDS):
                        await self._tried.wait()
                if reading.done() and not reading.cancelled():
                    reading.result()
        is_answered = self._is_heard or self._asked_at is None
        return {**self._figures.merged(self._kinds, self._as_of()), "is_answered": is_answered}

    def _is_fresh(self) -> bool:
        return self._answered_at is not None and 0 <= self._clock() - self._answered_at < KEPT_MS

    def _as_of(self) -> int:
        """Return the moment for which it can be said whether anything is heard."""
        now = self._clock()
        if self._is_heard or self._answered_at is None or self._asked_at is None or now - self._asked_at > STALE_MS:
            return now
        return self._answered_at

    async def _read_anew(self) -> None:
        """Read until the broker has answered, so that it is known for how long it has not."""
        try:
            while not self._is_heard and not await self._try_to_read():
                self._tried.set()
                await asyncio.sleep(AGAIN_SECONDS)
            self._answered_at, self._asked_at = self._clock(), None
        finally:
            self._reading = None
            self._tried.set()

    async def _try_to_read(self) -> bool:
        """Read what there is; returns whether the broker has answered."""
        try:
            async with asyncio.timeout(TRY_SECONDS):
                figures, is_whole = await self._read(TRY_SECONDS)
        except TimeoutError:
            return False
        except UnknownTopicError:
            figures, is_whole = Figures(), True  # the pipeline has never run here
        except BrokerError as error:
            self._log("debug", "no figures", error=str(error))
            return False
        if is_whole and not self._is_heard:
            # Since when nothing was heard is known of what was heard before.
            figures.newest = figures.newest or self._figures.newest
            self._figures = figures
        return is_whole

    async def close(self) -> None:
        """Ask no more."""
        if self._reading is not None:
            reading = self._reading
            reading.cancel()
            await asyncio.wait({reading})

    async def _read(self, seconds: float) -> tuple[Figures, bool]:
        """Read back the newest figures; returns also whether it was up to the end, as far as records came in time."""
        figures = Figures()
        since = self._clock() - BACK_MS
        past = await read_back(self._broker, self._topic, self._codec, since=since, most=MOST_RECORDS, seconds=seconds)
        for seen in past.batches:
            # Heard now: the publishers' clocks say nothing of when.
            self._take(figures, seen, self._clock())
        return figures, past.reached_end
