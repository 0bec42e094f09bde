"""All topics that somebody looks at, each read once."""

import asyncio
from collections.abc import Callable

from streamweaver import Broker, Codec
from streamweaver_dashboard.tap import Listener, Tap


class Taps:
    """Opens a topic for its first listener, and closes it some time after its last."""

    def __init__(self, broker: Broker, codec: Callable[[str], Codec], clock: Callable[[], int]) -> None:
        self._broker = broker
        self._codec = codec
        self._clock = clock
        self._taps: dict[str, Tap] = {}

    def __len__(self) -> int:
        return len(self._taps)

    async def hear(self, topic: str, listener: Listener) -> Tap:
        """Have a listener hear a topic from now on; BrokerError when that cannot be."""
        while (tap := self._taps.get(topic)) is None:
            made = Tap(self._broker, topic, self._codec(topic))
            await made.open(self._clock())
            if self._taps.setdefault(topic, made) is not made:
                # Somebody else was quicker; whether that one is still there is seen by looking again.
                await made.close()
        tap.listeners.add(listener)
        return tap

    def unhear(self, topic: str, listener: Listener) -> None:
        """Let a listener go."""
        tap = self._taps.get(topic)
        if tap is not None:
            tap.listeners.discard(listener)

    async def pull(self, now: int) -> None:
        """Hand on everything that waits."""
        for tap in list(self._taps.values()):
            await tap.pull(now)

    async def drop_unheard(self) -> None:
        """Close the topics to which nobody listens any more."""
        unheard = [topic for topic, tap in self._taps.items() if not tap.listeners]
        # None may be found any more while another is being closed.
        await asyncio.gather(*[tap.close() for tap in [self._taps.pop(topic) for topic in unheard]])

    async def close(self) -> None:
        """Close all."""
        for tap in self._taps.values():
            await tap.close()
