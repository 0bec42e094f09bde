"""The websocket sink: a live view of topics for browsers and programs."""

import asyncio
import errno
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from streamweaver import Batch, Fatal, Seconds, SinkContext, Size, option, sink
from streamweaver_sinks.websocket.admission import is_loopback

if TYPE_CHECKING:
    from streamweaver_sinks.websocket.server import Server


def _not_open_to_all(instance: "Websocket", _attribute: Any, host: str) -> None:
    if not is_loopback(host) and instance.token is None and not instance.allow_anonymous:
        raise ValueError(
            f"{host!r} can be reached from other machines and there is no token: set `token`, "
            "or `allow_anonymous: true` if everyone may read the records"
        )


def _both_or_neither(instance: "Websocket", _attribute: Any, key: Path | None) -> None:
    if (instance.tls_certificate is None) != (key is None):
        raise ValueError("tls_certificate and tls_key belong together: set both or neither")


@sink(
    "websocket",
    delivery="best_effort",
    single=True,
    example="""\
use: websocket
from: [stock_prices, log_lines]
port: 8765
""",
)
@attrs.define(eq=False)
class Websocket:
    """Show records live to websocket clients, one channel for each topic.

    A client that connects to `ws://host:port/` gets every channel; `/<channel>` or `?channels=a,b` get some, and
    messages of the client subscribe with filters and history. Records come in frames, each record encoded once for
    all clients. Nothing waits for a slow client: its oldest frames are dropped, counted, and it is told how many.

    A client may also look at a view (`line`, `bar`, `table` ...) as the dashboard draws it: small messages, whatever
    flows.

    The server is on this machine alone unless `host` says otherwise, and then it wants a token.
    """

    host: str = option(
        default="127.0.0.1",
        help="address to listen on",
        example="0.0.0.0",  # noqa: S104 - an example
        validator=_not_open_to_all,
    )
    port: int = option(default=8765, help="port to listen on; 0 takes any free one", example=8765, ge=0, le=65535)
    token: str | None = option(
        default=None,
        secret=True,
        help="what clients must show: `Authorization: Bearer`, or a first message of type auth",
        example="${env:WEBSOCKET_TOKEN}",
        min_length=1,
    )
    allow_anonymous: bool = option(
        default=False, help="let anyone connect without a token, also from other machines", example=True
    )
    origins: list[str] = option(
        factory=list,
        help="web pages of other hosts that may connect, as browsers name them in Origin",
        example=["https://app.example.com"],
    )
    hosts: list[str] = option(
        factory=list,
        help="further names under which clients may reach the server, as behind a proxy",
        example=["live.example.com"],
    )
    tls_certificate: Path | None = option(
        default=None, help="certificate chain (PEM) for wss", example="/etc/streamweaver/server.pem"
    )
    tls_key: Path | None = option(
        default=None,
        help="private key (PEM) of the certificate",
        example="/etc/streamweaver/server.key",
        validator=_both_or_neither,
    )
    slow_client: Literal["drop_oldest", "disconnect"] = option(
        default="drop_oldest", help="what happens to a client whose queue is full", example="disconnect"
    )
    queue: int = option(default=256, help="frames that may wait for one client", example=64, ge=1)
    queue_bytes: Size = option(
        default=4 * 1024 * 1024, help="bytes that may wait for one client", example="1MiB", ge=1_048_576
    )
    history: int = option(
        default=1000, help="records of the past that a client may ask for, at most", example=200, ge=0, le=10_000
    )
    max_views: int = option(
        default=16, help="different views that clients may look at, over all; 0 for none", example=32, ge=0, le=1000
    )
    view_seconds: Seconds = option(
        default=0.1, help="time between two updates of a view", example="200ms", ge=0.05, le=10
    )
    frame_seconds: Seconds = option(
        default=0.005,
        help="time between two frames of a channel; the first record after a silence goes at once",
        example="100ms",
        ge=0,
        le=10,
    )
    heartbeat_seconds: Seconds = option(
        default=15.0, help="longest silence before a client gets a heartbeat", example="5s", gt=0
    )
    stall_seconds: Seconds = option(
        default=30.0, help="a client that takes nothing for so long is disconnected", example="10s", gt=0
    )
    handshake_seconds: Seconds = option(
        default=5.0, help="time for a client to complete its handshake", example="5s", gt=0
    )
    max_clients: int = option(default=1000, help="clients at a time", example=200, ge=1)
    max_clients_per_address: int = option(default=250, help="clients at a time from one address", example=20, ge=1)
    max_message_bytes: Size = option(
        default=4096, help="longest message that a client may send", example="4KiB", ge=256, le=1_048_576
    )

    bound_port: int | None = attrs.field(default=None, init=False, repr=False)
    """The port while the sink is open; of use when `port` is 0."""
    _server: "Server | None" = attrs.field(default=None, init=False, repr=False)

    def claims(self) -> list[str]:
        """Nobody else may listen on the port."""
        return [f"port {self.port}"] if self.port else []

    async def probe(self) -> None:
        """Look whether the port is free; Fatal if not, as it is while the pipeline runs."""
        try:
            server = await asyncio.get_running_loop().create_server(asyncio.Protocol, self.host, self.port)
        except OSError as error:
            raise Fatal(self._cannot_listen(error)) from error
        server.close()
        await server.wait_closed()

    async def open(self, context: SinkContext) -> None:
        """Start listening; Fatal when the options or the port do not allow it."""
        # Here, because commands that only look at the options do without a server's modules.
        from streamweaver_sinks.websocket.server import Access, Limits, Server

        tls = self._tls()
        if not is_loopback(self.host) and self.token is not None and tls is None:
            context.log("websocket: the token travels unencrypted; set tls_certificate and tls_key", level="warning")
        server = Server(
            context,
            Access(host=self.host, token=self.token, origins=self.origins, hosts=self.hosts),
            Limits(
                queue=self.queue,
                queue_bytes=self.queue_bytes,
                disconnect_slow=self.slow_client == "disconnect",
                max_clients=self.max_clients,
                max_clients_per_address=self.max_clients_per_address,
                max_message_bytes=self.max_message_bytes,
                history=self.history,
                frame_seconds=self.frame_seconds,
                heartbeat_seconds=self.heartbeat_seconds,
                handshake_seconds=self.handshake_seconds,
                stall_seconds=self.stall_seconds,
                views=self.max_views,
                view_seconds=self.view_seconds,
            ),
        )
        try:
            self.bound_port = await server.start(self.port, tls)
        except OSError as error:
            raise Fatal(self._cannot_listen(error)) from error
        self._server = server
        scheme = "ws" if tls is None else "wss"
        shown = f"[{self.host}]" if ":" in self.host else self.host
        context.log("websocket: listening", address=f"{scheme}://{shown}:{self.bound_port}/")

    async def write(self, batch: Batch) -> None:
        """Hand records to the clients' queues; waits for no client."""
        server = self._server
        if server is None:
            raise Fatal("websocket: written before it was opened")
        server.views.add(batch)
        channel = server.channels.get(batch.topic)
        if channel is not None and channel.subscriptions:
            channel.add(batch.records)
            server.schedule()

    async def close(self) -> None:
        """Send the clients away and free the port."""
        server, self._server, self.bound_port = self._server, None, None
        if server is not None:
            await server.stop()

    def _tls(self) -> ssl.SSLContext | None:
        if self.tls_certificate is None or self.tls_key is None:
            return None
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            tls.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:
            raise Fatal(
                f"websocket: cannot use {self.tls_certificate} with {self.tls_key}: {error.strerror or error}"
            ) from error
        return tls

    def _cannot_listen(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return (
                f"websocket: port {self.port} of {self.host} is in use: stop the other program, or set another `port`"
            )
        if error.errno == errno.EACCES:
            return f"websocket: port {self.port} may not be used by this user: set a `port` above 1023"
        return f"websocket: cannot listen on {self.host}, port {self.port}: {error.strerror or error}; check `host`"
