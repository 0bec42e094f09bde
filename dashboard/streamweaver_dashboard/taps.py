"""All topics that somebody looks at, each read once."""

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
        tap = self._taps.get(topic)
        if tap is None:
            made = Tap(self._broker, topic, self._codec(topic))
            await made.open(self._clock())
            tap = self._taps.setdefault(topic, made)
            if tap is not made:
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
        for topic in [topic for topic, tap in self._taps.items() if not tap.listeners]:
            await self._taps.pop(topic).close()

    async def close(self) -> None:
        """Close all."""
        for tap in self._taps.values():
            await tap.close()
