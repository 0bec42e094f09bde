"""Serving: uvicorn inside of a running event loop, with limits that hold before a request is complete."""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from streamweaver.config.dashboard import DashboardConfig, is_loopback
from streamweaver_dashboard.gate import App, error_body
from streamweaver_dashboard.wish import MAX_MESSAGE

MAX_CLIENTS = 500
MAX_OF_ADDRESS = 100
REQUEST_SECONDS = 10.0
"""In which a request must be complete."""
SEND_BUFFER_BYTES = 64 * 1024
HIGH_WATER_BYTES = 64 * 1024
ABORT_SECONDS = 2.0


class Guard:
    """Counts connections, by address and over all."""

    def __init__(self, most: int = MAX_CLIENTS, most_of_address: int = MAX_OF_ADDRESS) -> None:
        self.most = most
        self.most_of_address = most_of_address
        self.by_address: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many connections there are."""
        return self.by_address.total()

    def enter(self, address: str) -> bool:
        """Note a connection; False when it is one too many."""
        self.by_address[address] += 1
        # Through a proxy on this machine come all its clients, and they have one address.
        return self.total <= self.most and (is_loopback(address) or self.by_address[address] <= self.most_of_address)

    def leave(self, address: str) -> None:
        """Note the end of a connection."""
        self.by_address[address] -= 1
        if self.by_address[address] <= 0:
            del self.by_address[address]


_BUSY_BODY = error_body("too_busy", "too many connections at once")
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 5\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BUSY_BODY), _BUSY_BODY)
)


# uvicorn makes the instances of its protocol classes, so the guard comes to them by closure.


def _http(guard: Guard) -> type[Any]:

    class Http(H11Protocol):
        """HTTP, with a limit of connections and of the time that a request may take to come."""

        address: str | None = None
        deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            peer = transport.get_extra_info("peername")
            self.address = str(peer[0]) if isinstance(peer, tuple) else ""
            if not guard.enter(self.address):
                transport.write(BUSY)
                transport.close()
                return
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
            self.deadline = self.loop.call_later(REQUEST_SECONDS, self.look)

        def look(self) -> None:
            """Cut off a client whose request has not come in time; look again later otherwise."""
            if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and self.conn.our_state is not h11.SEND_BODY:
                self.transport.abort()
                return
            self.deadline = self.loop.call_later(REQUEST_SECONDS, self.look)

        def handle_websocket_upgrade(self, event: Any) -> None:
            self.stop_looking()
            super().handle_websocket_upgrade(event)
            # From here on the other protocol is told of the connection's end.
            protocol: Any = self.transport.get_protocol()
            protocol.address, self.address = self.address, None

        def connection_lost(self, exc: Exception | None) -> None:
            self.stop_looking()
            if self.address is not None:
                guard.leave(self.address)
                self.address = None
            super().connection_lost(exc)

        def stop_looking(self) -> None:
            if self.deadline is not None:
                self.deadline.cancel()

    return Http


def _websocket(guard: Guard) -> type[Any]:
    class WebSocket(WebSocketsSansIOProtocol):
        """WebSocket; reads nothing from a client that takes nothing, since it would be answered pings without end."""

        address: str | None = None

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self.address is not None:
                guard.leave(self.address)
                self.address = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self.transport.pause_reading()

        def resume_writing(self) -> None:
            super().resume_writing()
            if not self.read_paused:
                self.transport.resume_reading()

        async def run_asgi(self) -> None:
            try:
                await super().run_asgi()
            finally:
                # A client that does not read would keep a closed connection for ever.
                self.loop.call_later(ABORT_SECONDS, self.transport.abort)

    return WebSocket


class _Uvicorn(uvicorn.Server):
    """Leaves the process's signals alone: they are the pipeline's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: App, options: DashboardConfig, taken: socket.socket, *, guard: Guard, stopping: Callable[[], Any]
) -> None:
    """Serve until cancelled; then `stopping` (async) sends the live clients away."""
    config = uvicorn.Config(
        app,
        http=_http(guard),
        ws=_websocket(guard),
        loop="none",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_certfile=options.tls_certificate,
        ssl_keyfile=options.tls_key,
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=16 * 1024,
    )
    server = _Uvicorn(config)
    task = asyncio.create_task(server.serve(sockets=[taken]))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await stopping()
        server.should_exit = True
        await asyncio.wait({task}, timeout=3)
        raise
    finally:
        taken.close()
