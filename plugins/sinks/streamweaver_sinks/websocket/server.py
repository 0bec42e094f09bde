"""The server of the websocket sink: connections, their limits, and one sending task for each client."""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, cast

import attrs
from websockets.asyncio.server import Server as LibraryServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from streamweaver import SinkContext
from streamweaver_sinks.websocket import admission, protocol
from streamweaver_sinks.websocket.channel import Channel, Subscription
from streamweaver_sinks.websocket.outbox import Outbox

AUTH_SECONDS = 5.0
HISTORY_SECONDS = 5.0
HISTORY_READS = 4
"""How many histories are read at a time, over all clients."""

UNSEEN_MS = 10_000
"""For how long after joining live records are compared with the history."""

MISTAKES = 5
"""How many messages of one client may be wrong: each gets an error, one more closes the connection."""

MESSAGES_PER_SECOND = 10.0
MESSAGES_AT_ONCE = 30

CLIENT_COST_SECONDS = 0.0002
"""Frames come less often the more clients there are, by this much for each, so that sending cannot fill the core."""

SEND_BUFFER_BYTES = 256 * 1024
"""What the system keeps for a client that does not read; it is not counted in the queue."""


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


@attrs.frozen(kw_only=True)
class Access:
    """Who may connect."""

    host: str
    token: str | None
    origins: Sequence[str]
    hosts: Sequence[str]


@attrs.define(eq=False)
class Client:
    """One connected client."""

    connection: ServerConnection
    outbox: Outbox
    task: "asyncio.Task[Any]"
    implicit: bool = False
    mistakes: int = 0
    credit: float = MESSAGES_AT_ONCE
    credited: float = 0.0
    sent: float = 0.0


class Server:
    """Accepts clients and sends them the channels' records. Everything in it runs on the event loop."""

    def __init__(self, context: SinkContext, access: Access, limits: Limits) -> None:
        self.context = context
        self.access = access
        self.limits = limits
        self.channels = {name: Channel(name, self._count_dropped, context.now) for name in context.topics}
        self.clients: set[Client] = set()
        self._connections: set[_Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._admitted: dict[ServerConnection, tuple[admission.Wish, bool]] = {}
        self._server: LibraryServer | None = None
        self._loop = asyncio.get_running_loop()
        self._flush: asyncio.TimerHandle | None = None
        self._flushed = 0.0
        self._heart: asyncio.Task[None] | None = None
        self._reads = asyncio.Semaphore(HISTORY_READS)
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
            logger=_library_logger(self.context),
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
                    self._cut_off(client)

    def _cut_off(self, client: Client) -> None:
        """Drop the connection of a client that is too slow to be told anything."""
        self.context.count("disconnected")
        client.outbox.overflowed = False
        client.connection.transport.abort()

    # -- the handshake ----------------------------------------------------------------------------

    def _connect(self, *arguments: Any, **options: Any) -> "_Connection":
        return _Connection(self, *arguments, **options)

    def opened(self, connection: "_Connection") -> bool:
        """Note a new connection, before its handshake; False when there are so many that it is cut off at once."""
        self._connections.add(connection)
        self._by_address[connection.address] += 1
        return not self._closing and len(self._connections) <= self.limits.max_clients * 2 + 16

    def closed(self, connection: "_Connection") -> None:
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
            address = cast(_Connection, connection).address
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

    # -- a client's life --------------------------------------------------------------------------

    async def _serve_client(self, connection: ServerConnection) -> None:
        wish, allowed = self._admitted.pop(connection)
        outbox = Outbox(self.limits.queue, self.limits.queue_bytes)
        task = asyncio.current_task()
        assert task is not None
        client = Client(connection, outbox, task)
        client.credited = client.sent = self._loop.time()
        sender = None
        try:
            if not allowed and not await self._authenticate(client):
                return
            self.clients.add(client)
            self.context.gauge("clients", len(self.clients))
            names = list(self.channels)
            hello = protocol.say("hello", protocol=protocol.VERSION, channels=names, subscribed=wish.channels)
            await connection.send(hello, text=True)
            sender = self._loop.create_task(self._send(client))
            for name in wish.channels:
                await self._join(client, self.channels[name], protocol.Subscribe(name, history=wish.history))
            client.implicit = wish.implicit
            async for message in connection:
                await self._hear(client, message)
        except ConnectionClosed:
            pass
        finally:
            self.clients.discard(client)
            self.context.gauge("clients", len(self.clients))
            for channel in self.channels.values():
                channel.subscriptions.pop(client, None)
            if sender is not None:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
            outbox.clear()

    async def _authenticate(self, client: Client) -> bool:
        """Wait for the token as the first message."""
        connection, token = client.connection, self.access.token
        shown: Any = None
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                shown = protocol.parse(_as_text(await connection.recv()))
        except (TimeoutError, ValueError):
            pass
        if isinstance(shown, protocol.Auth) and token is not None and admission.same_token(shown.token, token):
            return True
        self.context.count("refused")
        await connection.close(CloseCode.POLICY_VIOLATION, "authentication failed")
        return False

    async def _hear(self, client: Client, message: str | bytes) -> None:
        """Do what a message of a client asks for."""
        connection = client.connection
        now = self._loop.time()
        client.credit = min(MESSAGES_AT_ONCE, client.credit + (now - client.credited) * MESSAGES_PER_SECOND)
        client.credited = now
        if client.credit < 1:
            await connection.close(CloseCode.POLICY_VIOLATION, "too many messages")
            return
        client.credit -= 1
        try:
            wanted = protocol.parse(_as_text(message))
            match wanted:
                case protocol.Subscribe():
                    channel = self._channel(wanted.channel)
                    if client.implicit:
                        self._leave_all(client)
                    answer = protocol.say("subscribed", channel=channel.name)
                    await connection.send(answer, text=True)
                    await self._join(client, channel, wanted)
                case protocol.Unsubscribe():
                    client.implicit = False
                    self._channel(wanted.channel).subscriptions.pop(client, None)
                    await connection.send(protocol.say("unsubscribed", channel=wanted.channel), text=True)
                case protocol.Ping():
                    await connection.send(protocol.say("pong", id=wanted.id), text=True)
                case protocol.Auth():
                    raise ValueError("auth: expected only as the first message, of a server with a token")
        except ValueError as wrong:
            client.mistakes += 1
            if client.mistakes > MISTAKES:
                await connection.close(CloseCode.POLICY_VIOLATION, "too many wrong messages")
                return
            await connection.send(protocol.say("error", message=str(wrong)[:500]), text=True)

    def _channel(self, name: str) -> Channel:
        channel = self.channels.get(name)
        if channel is None:
            raise ValueError(f"no channel {name[:100]!r}: there are {', '.join(self.channels)}")
        return channel

    def _leave_all(self, client: Client) -> None:
        client.implicit = False
        for channel in self.channels.values():
            channel.subscriptions.pop(client, None)

    async def _join(self, client: Client, channel: Channel, wanted: protocol.Subscribe) -> None:
        subscription = Subscription(client.outbox, protocol.matcher(wanted.where))
        limit = min(wanted.history, self.limits.history)
        # What waits belongs to those who were there before.
        channel.flush()
        channel.subscriptions[client] = subscription
        if not limit:
            return
        subscription.start_joining()
        history = []
        try:
            async with asyncio.timeout(HISTORY_SECONDS), self._reads:
                history = await self.context.history(channel.name, limit)
        except Exception as error:  # a view without its past is better than none
            self.context.log("no history for a client", level="warning", channel=channel.name, error=repr(error))
        channel.send_history(subscription, history, self.context.now() + UNSEEN_MS)

    async def _send(self, client: Client) -> None:
        """Send what is in the client's outbox, as fast as the client takes it."""
        connection, outbox, stall = client.connection, client.outbox, self.limits.stall_seconds
        try:
            while True:
                message = outbox.take()
                if message is None:
                    await outbox.waiting.wait()
                    continue
                async with asyncio.timeout(stall):
                    await connection.send(message, text=True)
                client.sent = self._loop.time()
        except TimeoutError:
            self._cut_off(client)
        except ConnectionClosed:
            pass

    async def _heartbeats(self) -> None:
        """Let no client wait longer than `heartbeat_seconds` for some message."""
        half = self.limits.heartbeat_seconds / 2
        while True:
            await asyncio.sleep(half)
            now = self._loop.time()
            for client in self.clients:
                if now - client.sent >= half * 0.9:
                    client.outbox.beat()


class _Connection(ServerConnection):
    """The library's connection, with limits that hold before the handshake and for clients that never read."""

    def __init__(self, owner: Server, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._owner = owner
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        super().connection_made(transport)
        if not self._owner.opened(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.closed(self)
        super().connection_lost(exc)

    # The library answers pings without regard to the write buffer: a client that pings and never reads would fill
    # the memory. So nothing is read from a client that does not read.

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.recv_messages.paused:
            self.transport.resume_reading()


def _as_text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise ValueError("got a binary message, expected JSON text")  # noqa: TRY004 - the client's mistake
    return message


class _ToContext(logging.Handler):
    """Hands the library's complaints to the stage's log."""

    def __init__(self, log: Callable[..., None]) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log(f"websocket: {record.getMessage()}", level="warning", error=repr(error))


def _library_logger(context: SinkContext) -> logging.Logger:
    """Make a logger of our own, outside the hierarchy: at debug level the library would log headers with tokens."""
    logger = logging.Logger("websocket", logging.ERROR)
    logger.addHandler(_ToContext(context.log))
    return logger
