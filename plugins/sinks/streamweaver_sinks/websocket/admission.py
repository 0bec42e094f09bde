"""Who may connect, and what their address asks for: pure checks of a handshake."""

import hmac
import ipaddress
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

import attrs


class Refused(Exception):
    """The handshake is refused with this status and text."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(f"{status}: {text}")


@attrs.frozen
class Wish:
    """What a client asks for by its address."""

    channels: tuple[str, ...]
    history: int = 0
    implicit: bool = False
    """Whether it named nothing and so gets everything, until it subscribes to something."""


def is_loopback(host: str) -> bool:
    """Say whether an address to bind to can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_target(target: str, channels: Sequence[str]) -> Wish:
    """Read the path and query of a handshake; Refused when they name what there is not."""
    try:
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), max_num_fields=8)
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, "the address cannot be read") from None
    if query.keys() & {"token", "access_token", "auth"}:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "a token in the address ends up in logs: send `Authorization: Bearer`, or a first message of type auth",
        )
    if unknown := sorted(query.keys() - {"channels", "history"}):
        raise Refused(HTTPStatus.BAD_REQUEST, f"unknown parameter {unknown[0][:100]!r}: expected channels or history")
    try:
        history = int(query.get("history", ["0"])[-1])
    except ValueError:
        history = -1
    if history < 0:
        raise Refused(HTTPStatus.BAD_REQUEST, "history: expected a count of records")
    path = unquote(parts.path).strip("/")
    if path:
        named = [path]
    elif "channels" in query:
        named = [name for text in query["channels"] for name in text.split(",") if name]
    else:
        return Wish(tuple(channels), history, implicit=True)
    for name in named:
        if name not in channels:
            raise Refused(HTTPStatus.NOT_FOUND, f"no channel {name[:100]!r}: there are {', '.join(channels)}")
    return Wish(tuple(dict.fromkeys(named)), history)


def check_host(host: str | None, bound_to: str, hosts: Collection[str]) -> None:
    """Refuse a foreign Host header on a loopback server, so that no web page can reach it by rebinding its name.

    On other addresses any name is good unless `hosts` lists some.
    """
    name = _host_name(f"//{host}") if host else None
    known = {entry.lower() for entry in hosts}
    if is_loopback(bound_to):
        if name is not None and (is_loopback(name) or name in known):
            return
    elif not known or name in known:
        return
    raise Refused(HTTPStatus.FORBIDDEN, "this Host is not served here; option `hosts` lists further names")


def check_origin(origin: str | None, host: str | None, origins: Collection[str]) -> None:
    """Refuse a browser's page from a foreign host unless `origins` lists it; other clients send no Origin."""
    if origin is None or origin in origins:
        return
    if host is not None and (name := _host_name(origin)) is not None and name == _host_name(f"//{host}"):
        return
    raise Refused(HTTPStatus.FORBIDDEN, "this Origin may not connect; option `origins` lists those that may")


def check_bearer(headers: Mapping[str, str], token: str) -> bool:
    """Say whether the handshake shows the token; False when it shows none, Refused when it shows a wrong one."""
    shown = headers.get("Authorization")
    if shown is None:
        return False
    scheme, _, value = shown.partition(" ")
    if scheme.lower() != "bearer" or not same_token(value.strip(), token):
        raise Refused(HTTPStatus.UNAUTHORIZED, "wrong token")
    return True


def same_token(shown: str, token: str) -> bool:
    """Compare tokens in a time that does not depend on where they differ."""
    return hmac.compare_digest(shown.encode(errors="replace"), token.encode())


def _host_name(address: str) -> str | None:
    """Return the host of an address without its port, lower case."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
