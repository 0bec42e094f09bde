"""Which brokers can be reached: tried in measure; told when one is away, and when it is back."""

import asyncio
from collections.abc import Callable
from typing import Any

import attrs
from aiokafka.client import AIOKafkaClient, ConnectionGroup

FIRST_SECONDS, MOST_SECONDS = 0.05, 1.0
"""How long a broker that was not reached is left alone; twice as long each time, up to the second."""


@attrs.define
class _Away:
    """A broker that was not reached the last time."""

    since: float
    wait: float
    next_try: float


class Reach:
    """What the clients of one process know together of the brokers' being there.

    The library's clients try again at once, or ten times a second, in each of several loops, and every stage has
    several clients: while a broker is away that is a thousand refused connections a second, and as many log lines.

    What they try when they are started is not seen here; whoever starts one waits longer each time.
    """

    def __init__(self, log: Callable[..., None]) -> None:
        self._log = log
        self._away: dict[str, _Away] = {}

    def watch(self, client: AIOKafkaClient) -> None:
        """Have a client make its connections in measure."""
        connect = client._get_conn  # noqa: SLF001

        async def in_measure(node: Any, *, group: Any = ConnectionGroup.DEFAULT, **more: Any) -> Any:
            found = client._conns.get((node, group))  # noqa: SLF001
            if found is not None and found.connected():
                return found
            broker = client.cluster.broker_metadata(node)
            if broker is None:
                # One that the client knew by its name only, or knows no more.
                return await connect(node, group=group, **more)
            server = f"{broker.host}:{broker.port}"
            if (left := self._left(server)) > 0:
                if not self.is_cut_off(client):
                    # As after a try that failed: another broker may lead by now what this one led.
                    client.force_metadata_update()
                    return None
                await asyncio.sleep(left)
            connection = await connect(node, group=group, **more)
            self._tried(server, is_there=connection is not None)
            return connection

        client._get_conn = in_measure  # noqa: SLF001

    def is_cut_off(self, client: AIOKafkaClient) -> bool:
        """Say whether a client has no connection, and none of the brokers that it knows was reached the last time."""
        if any(connection.connected() for connection in client._conns.values()):  # noqa: SLF001
            return False
        servers = {f"{broker.host}:{broker.port}" for broker in client.cluster.brokers()}
        return bool(servers) and servers <= self._away.keys()

    def _left(self, server: str) -> float:
        away = self._away.get(server)
        return 0.0 if away is None else away.next_try - asyncio.get_running_loop().time()

    def _tried(self, server: str, *, is_there: bool) -> None:
        now = asyncio.get_running_loop().time()
        away = self._away.get(server)
        if is_there:
            if away is not None:
                del self._away[server]
                self._log("info", "kafka broker is back", server=server, seconds=round(now - away.since, 1))
        elif away is None:
            self._away[server] = _Away(now, FIRST_SECONDS, now + FIRST_SECONDS)
            self._log(
                "warning",
                "kafka broker cannot be reached",
                server=server,
                hint="is it started and well, and does it take us?",
            )
        elif now >= away.next_try:
            # Not for each of the clients that waited for the same moment.
            away.wait = min(MOST_SECONDS, 2 * away.wait)
            away.next_try = now + away.wait
