"""Who may come in, and as what: pure checks, sessions in memory, and a limit on guessing."""

import hmac
import ipaddress
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import attrs

from streamweaver.config.dashboard import DashboardConfig, is_loopback

Role = Literal["admin", "reader"]

COOKIE = "streamweaver_session"
SESSION_SECONDS = 12 * 3600
MAX_SESSIONS = 1_000
FAILURES_OF_ONE = 5
FAILURES_OF_ALL = 30
MINUTE = 60.0
MAX_ADDRESSES = 10_000
SECRET_WORDS = frozenset({"token", "access_token", "auth", "password", "session"})


class RefusedError(Exception):
    """A request is refused, with an HTTP status and a code for programs."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        super().__init__(message)


@attrs.frozen
class Session:
    """One log-in."""

    role: Role
    ends: float


@attrs.define
class LoginLimit:
    """Counts failed log-ins of the last minute."""

    clock: Callable[[], float]
    _by_address: dict[str, deque[float]] = attrs.field(factory=dict)
    _all: deque[float] = attrs.field(factory=deque)

    def check(self, address: str) -> None:
        """Refuse an address (or everybody) with too many failures."""
        now = self.clock()
        for times, most in ((self._by_address.get(address), FAILURES_OF_ONE), (self._all, FAILURES_OF_ALL)):
            while times and now - times[0] > MINUTE:
                times.popleft()
            if times and len(times) >= most:
                wait = max(1, round(MINUTE - (now - times[0])))
                raise RefusedError(429, "too_often", f"too many failed log-ins: wait {wait} seconds", wait)

    def failed(self, address: str) -> None:
        """Note a failure."""
        now = self.clock()
        if len(self._by_address) >= MAX_ADDRESSES:
            self._by_address.clear()
        self._by_address.setdefault(address, deque()).append(now)
        self._all.append(now)


class Access:
    """The rules of one dashboard."""

    def __init__(self, options: DashboardConfig, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._limit = LoginLimit(clock)
        self._names = {name.lower() for name in options.hosts}
        self.is_local = is_loopback(options.host)
        self.has_login = options.token is not None or options.reader_token is not None
        self.is_tls = options.tls_certificate is not None

    # -- where a request comes from ---------------------------------------------------------------

    def check_place(self, headers: Mapping[str, str], query: str) -> None:
        """Refuse a foreign Host or Origin, and secrets in addresses, which end up in logs."""
        host = _host_name(f"//{headers.get('host', '')}")
        if not self._serves(host):
            raise RefusedError(403, "forbidden", "this Host is not served here; option hosts lists further names")
        origin = headers.get("origin")
        if origin is not None and origin not in self._options.origins and not _same(origin, headers["host"]):
            raise RefusedError(403, "forbidden", "this Origin is not let in; option origins lists those that are")
        if any(name.lower() in SECRET_WORDS for name, _ in parse_qsl(query, keep_blank_values=True)):
            raise RefusedError(400, "bad_request", "a token in the address ends up in logs: log in, or send a header")

    def _serves(self, host: str | None) -> bool:
        if host is None:
            return False
        if host in self._names:
            return True
        if self.is_local:
            # Any other name would let a web page in that has rebound its own name to this machine.
            return is_loopback(host)
        if not self.has_login:
            # Nobody has to log in, so the same holds here; behind a published port it is reached as loopback, too.
            return is_loopback(host) or _is_address(host)
        return not self._names or host == self._options.host.lower() or _is_address(host)

    # -- who --------------------------------------------------------------------------------------

    def role(self, headers: Mapping[str, str]) -> Role | None:
        """Return what a request may do; None when it has to log in. A wrong bearer token is refused."""
        if not self.has_login:
            return self._capped("admin")
        shown = headers.get("authorization")
        if shown is not None:
            scheme, _, token = shown.partition(" ")
            role = self._role_of(token.strip()) if scheme.lower() == "bearer" else None
            if role is None:
                raise RefusedError(401, "login", "the token is wrong")
            return role
        session = self._sessions.get(session_of(headers) or "")
        if session is None or session.ends <= self._clock():
            return None
        return session.role

    def _role_of(self, token: str) -> Role | None:
        options = self._options
        # Both are compared whatever the first says, so that time tells nothing.
        is_admin, is_reader = _equal(token, options.token), _equal(token, options.reader_token)
        return self._capped("admin") if is_admin else "reader" if is_reader else None

    def _capped(self, role: Role) -> Role:
        return "reader" if self._options.read_only else role

    def bearer(self, headers: Mapping[str, str], address: str) -> Role | None:
        """As `role`, with guessing limited."""
        if self.has_login and "authorization" in headers:
            self._limit.check(address)
        try:
            return self.role(headers)
        except RefusedError:
            self._limit.failed(address)
            raise

    def log_in(self, token: str, address: str) -> tuple[str, Role]:
        """Return a new session's id and role; refused when the token is wrong, or after too many wrong ones."""
        self._limit.check(address)
        role = self._role_of(token) if self.has_login else None
        if role is None:
            self._limit.failed(address)
            raise RefusedError(401, "login", "the token is wrong")
        now = self._clock()
        for old in [name for name, session in self._sessions.items() if session.ends <= now]:
            del self._sessions[old]
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_urlsafe(32)
        self._sessions[name] = Session(role, now + SESSION_SECONDS)
        return name, role

    def log_out(self, headers: Mapping[str, str]) -> str | None:
        """End a request's session; returns its id."""
        name = session_of(headers)
        return name if name is not None and self._sessions.pop(name, None) is not None else None

    def is_open(self, session: str | None) -> bool:
        """Whether a session that was once good still is; None stands for a client that needs none."""
        if session is None:
            return True
        found = self._sessions.get(session)
        return found is not None and found.ends > self._clock()


def session_of(headers: Mapping[str, str]) -> str | None:
    """Return the session id that a request carries."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if morsel is None else morsel.value


def _equal(shown: str, secret: str | None) -> bool:
    same = hmac.compare_digest(shown.encode(errors="replace"), (secret or "").encode())
    return same and secret is not None


def _host_name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _same(origin: str, host: str) -> bool:
    """Whether a page comes from this very host and port."""
    parts = urlsplit(origin) if "://" in origin else None
    return parts is not None and parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
