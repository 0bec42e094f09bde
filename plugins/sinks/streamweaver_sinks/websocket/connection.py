"""A connection of the library, with limits that hold before the handshake and for clients that never read."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection

from streamweaver import SinkContext

SEND_BUFFER_BYTES = 256 * 1024
"""What the system keeps for a client that does not read; it is not counted in the queue."""


class Connections(Protocol):
    """Who keeps count of the connections."""

    def opened(self, connection: "Connection") -> bool:
        """Note a new connection, before its handshake; False when there are so many that it is cut off at once."""

    def closed(self, connection: "Connection") -> None:
        """Note the end of a connection."""


class Connection(ServerConnection):
    """One connection, which its owner counts by its address."""

    def __init__(self, owner: "Connections", *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._owner = owner
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and bound what the system keeps for it."""
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        super().connection_made(transport)
        if not self._owner.opened(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self._owner.closed(self)
        super().connection_lost(exc)

    # The library answers pings without regard to the write buffer: a client that pings and never reads would fill
    # the memory. So nothing is read from a client that does not read.

    def pause_writing(self) -> None:
        """Read nothing from a client that does not read."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again, unless enough waits already."""
        super().resume_writing()
        if not self.recv_messages.paused:
            self.transport.resume_reading()


class _ToContext(logging.Handler):
    """Hands the library's complaints to the stage's log."""

    def __init__(self, log: Callable[..., None]) -> None:
        super().__init__(logging.ERROR)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log(f"websocket: {record.getMessage()}", level="warning", error=repr(error))


def library_logger(context: SinkContext) -> logging.Logger:
    """Make a logger of our own, outside the hierarchy: at debug level the library would log headers with tokens."""
    logger = logging.Logger("websocket", logging.ERROR)
    logger.addHandler(_ToContext(context.log))
    return logger
