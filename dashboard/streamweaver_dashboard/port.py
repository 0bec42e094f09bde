"""The port: taking it, and saying why it cannot be had."""

import errno
import http.client
import socket

import msgspec

from streamweaver import Fatal
from streamweaver.config.dashboard import DEFAULT_PORT, DashboardConfig, DashboardPlan

PORTS_TRIED = 20
ASK_SECONDS = 0.5
"""How long whoever holds the port may take to say who it is."""


def listen(dashboard: DashboardPlan) -> socket.socket:
    """Take the port that was asked for; Fatal, with its place in the file, says why it cannot be had.

    When none was asked for, the first free one near the default will do, and in the end any.
    """
    options = dashboard.options
    if options.port is not None:
        try:
            return _bound(options.host, options.port)
        except OSError as error:
            place = f"{dashboard.place}: " if dashboard.place and dashboard.place.line else ""
            raise Fatal(f"{place}dashboard: {_why(options.host, options.port, error)}") from error
    for port in (*range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED), 0):
        try:
            return _bound(options.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Fatal(f"dashboard: {_why(options.host, port, error)}") from error
    raise AssertionError("port 0 is always free")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(1024)
    except OSError:
        found.close()
        raise
    found.setblocking(False)
    return found


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by {_holder(host, port)}; say --port with another one, 0 for any"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user; say --port with one above 1023"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}; check dashboard.host"


def _holder(host: str, port: int) -> str:
    """Say who listens there, as far as it can be asked."""
    connection = http.client.HTTPConnection(host, port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/api/session")
        told = msgspec.json.decode(connection.getresponse().read(10_000), type=dict[str, object])
    except (OSError, http.client.HTTPException, ValueError):
        return "another program"
    finally:
        connection.close()
    if "protocol" not in told:
        return "another program"
    name = told.get("pipeline")
    return f"the dashboard of pipeline {name!r}" if name else "another dashboard"


def address(options: DashboardConfig, taken: socket.socket) -> str:
    """Return what to type into a browser."""
    scheme = "http" if options.tls_certificate is None else "https"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{scheme}://{host}:{taken.getsockname()[1]}/"
