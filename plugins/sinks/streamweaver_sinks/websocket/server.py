"""The server of the websocket sink: who is let in, how many, and when frames go out."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

import attrs
from websockets.asyncio.server import Server as LibraryServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from streamweaver import SinkContext
from streamweaver_sinks.websocket import admission
from streamweaver_sinks.websocket.channel import Channel
from streamweaver_sinks.websocket.connection import Connection, library_logger
from streamweaver_sinks.websocket.outbox import Outbox
from streamweaver_sinks.websocket.session import Client, Offer
from streamweaver_sinks.websocket.views import Views

HISTORY_READS = 4
"""How many histories are read at a time, over all clients."""

CLIENT_COST_SECONDS = 0.0002
"""Frames come less often the more clients there are, by this much for each, so that sending cannot fill the core."""


@attrs.frozen(kw_only=True)
class Limits:
    """What clients may cost."""

    queue: int
    queue_bytes: int
    disconnect_slow: bool
    max_clients: int
    max_clients_per_address: int
    max_message_bytes: int
    history: int
    frame_seconds: float
    heartbeat_seconds: float
    handshake_seconds: float
    stall_seconds: float
    views: int
    view_seconds: float


@attrs.frozen(kw_only=True)
class Access:
    """Who may connect."""

    host: str
    token: str | None
    origins: Sequence[str]
    hosts: Sequence[str]


class Server:
    """Accepts clients and sends them the channels' records. Everything in it runs on the event loop."""

    def __init__(self, context: SinkContext, access: Access, limits: Limits) -> None:
        self.context = context
        self.access = access
        self.limits = limits
        self.channels = {name: Channel(name, self._count_dropped, context.now) for name in context.topics}
        self.clients: set[Client] = set()
        self._connections: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._admitted: dict[ServerConnection, tuple[admission.Wish, bool]] = {}
        self._server: LibraryServer | None = None
        self._loop = asyncio.get_running_loop()
        self._flush: asyncio.TimerHandle | None = None
        self._flushed = 0.0
        self._heart: asyncio.Task[None] | None = None
        reads = asyncio.Semaphore(HISTORY_READS)
        self.views = Views(context, limits.view_seconds, limits.views, reads)
        self._offer = Offer(
            context=context,
            channels=self.channels,
            views=self.views,
            token=access.token,
            history=limits.history,
            stall_seconds=limits.stall_seconds,
            reads=reads,
        )
        self._closing = False

    # -- life -------------------------------------------------------------------------------------

    async def start(self, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; returns the port. OSError when it cannot be had."""
        limits = self.limits
        self._server = await serve(
            self._serve_client,
            self.access.host,
            port,
            ssl=tls,
            process_request=self._admit,
            create_connection=cast(type[ServerConnection], self._connect),
            compression=None,
            server_header="streamweaver",
            open_timeout=limits.handshake_seconds,
            close_timeout=2,
            max_size=limits.max_message_bytes,
            logger=library_logger(self.context),
        )
        self._heart = self._loop.create_task(self._heartbeats())
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def stop(self) -> None:
        """Tell the clients that the server goes away, end every task, free the port. May be called again."""
        self._closing = True
        if self._flush is not None:
            self._flush.cancel()
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)
        await self.views.stop()
        if self._server is None:
            return
        self._server.close(close_connections=False)
        farewells = [self._loop.create_task(c.connection.close(CloseCode.GOING_AWAY, "closing")) for c in self.clients]
        if farewells:
            # A client that does not read cannot be told: it is cut off.
            await asyncio.wait(farewells, timeout=1.0)
        for connection in list(self._connections):
            connection.transport.abort()
        tasks = [client.task for client in self.clients]
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=1.0)
            for task in unfinished:
                task.cancel()
        await asyncio.gather(*farewells, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    # -- records ----------------------------------------------------------------------------------

    def schedule(self) -> None:
        """See to it that what the channels hold goes out soon: at once after a silence, else with the next frame."""
        if self._flush is None and self.clients:
            pause = max(self.limits.frame_seconds, CLIENT_COST_SECONDS * len(self.clients))
            self._flush = self._loop.call_at(max(self._flushed + pause, self._loop.time()), self._flush_all)

    def _flush_all(self) -> None:
        self._flush = None
        self._flushed = self._loop.time()
        for channel in self.channels.values():
            channel.flush()

    def _count_dropped(self, records: int) -> None:
        self.context.count("dropped", records)
        if self.limits.disconnect_slow:
            for client in self.clients:
                if client.outbox.overflowed:
                    client.cut_off()

    # -- the handshake ----------------------------------------------------------------------------

    def _connect(self, *arguments: Any, **options: Any) -> Connection:
        return Connection(self, *arguments, **options)

    def opened(self, connection: Connection) -> bool:
        """Note a new connection, before its handshake; False when there are so many that it is cut off at once."""
        self._connections.add(connection)
        self._by_address[connection.address] += 1
        return not self._closing and len(self._connections) <= self.limits.max_clients * 2 + 16

    def closed(self, connection: Connection) -> None:
        """Note the end of a connection."""
        self._connections.discard(connection)
        self._admitted.pop(connection, None)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Check a handshake; a response refuses it."""
        headers, access = request.headers, self.access
        try:
            if len(self._connections) > self.limits.max_clients:
                raise admission.Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many clients")
            address = cast(Connection, connection).address
            if self._by_address[address] > self.limits.max_clients_per_address:
                raise admission.Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many clients from this address")
            for name in ("Host", "Origin", "Authorization"):
                if len(headers.get_all(name)) > 1:
                    raise admission.Refused(HTTPStatus.BAD_REQUEST, f"several {name} headers")
            host = headers.get("Host")
            admission.check_host(host, access.host, access.hosts)
            admission.check_origin(headers.get("Origin"), host, access.origins)
            wish = admission.read_target(request.path, tuple(self.channels))
            allowed = access.token is None or admission.check_bearer(headers, access.token)
        except admission.Refused as refused:
            self.context.count("refused")
            return connection.respond(refused.status, refused.text + "\n")
        self._admitted[connection] = (wish, allowed)
        return None

    # -- clients ----------------------------------------------------------------------------------

    async def _serve_client(self, connection: ServerConnection) -> None:
        wish, allowed = self._admitted.pop(connection)
        task = asyncio.current_task()
        assert task is not None
        client = Client(connection, Outbox(self.limits.queue, self.limits.queue_bytes), task, self._offer)
        try:
            if not allowed and not await client.authenticate():
                return
            self.clients.add(client)
            self.context.gauge("clients", len(self.clients))
            await client.serve(wish)
        except ConnectionClosed:
            pass
        finally:
            self.clients.discard(client)
            self.context.gauge("clients", len(self.clients))

    async def _heartbeats(self) -> None:
        """Let no client wait longer than `heartbeat_seconds` for some message."""
        half = self.limits.heartbeat_seconds / 2
        while True:
            await asyncio.sleep(half)
            now = self._loop.time()
            for client in self.clients:
                if now - client.sent >= half * 0.9:
                    client.outbox.beat()
