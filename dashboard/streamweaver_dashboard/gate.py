"""What every request passes first: where it comes from, who sends it, what it may do; and what every answer carries."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from streamweaver_dashboard.access import Access, RefusedError, session_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CSRF = "x-streamweaver"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]

# Everything else needs a role. The page itself holds nothing of the pipeline.
OPEN = ("/healthz", "/readyz", "/api/session")


class Gate:
    """Wraps the application; puts `role` (None before log-in) and `session` into the scope."""

    def __init__(self, app: App, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._admit(scope)
        except RefusedError as refused:
            await refuse(scope, send, refused)
            return
        await self._app(scope, receive, _with_headers(send, scope) if scope["type"] == "http" else send)

    def _admit(self, scope: Scope) -> None:
        headers = _headers(scope)
        self._access.check_place(headers, scope["query_string"].decode("latin-1"))
        method, path = scope.get("method", "GET"), scope["path"]
        changes = method not in ("GET", "HEAD")
        if changes and CSRF not in headers:
            raise RefusedError(403, "csrf", "a changing request needs the header X-StreamWeaver")
        scope["role"] = role = self._access.bearer(headers, address_of(scope))
        scope["session"] = session_of(headers) if self._access.has_login and "authorization" not in headers else None
        needs_role = path.startswith(("/api/", "/metrics", "/live")) and path not in OPEN
        if needs_role and role is None:
            # A browser cannot read the body of a refused handshake, so its status is all that counts.
            raise RefusedError(403 if scope["type"] == "websocket" else 401, "login", "log in first")
        if changes and path != "/api/session" and role != "admin":
            raise RefusedError(403, "read_only", "this log-in may look, but not change anything")


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in found and name in ("host", "origin", "authorization", "cookie", CSRF):
            raise RefusedError(400, "bad_request", f"got several {name} headers")
        found[name] = raw_value.decode("latin-1")
    return found


def address_of(scope: Scope) -> str:
    """Return the address that a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _with_headers(send: Send, scope: Scope) -> Send:
    private = scope["path"].startswith(("/api/", "/metrics", "/healthz", "/readyz"))

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", []), *HEADERS]
            if private:
                headers.append((b"cache-control", b"no-store"))
            message["headers"] = headers
        await send(message)

    return sending


def error_body(code: str, message: str) -> bytes:
    """Return the form that every error of the API has."""
    return msgspec.json.encode({"error": {"code": code, "message": message}})


async def refuse(scope: Scope, send: Send, refused: RefusedError) -> None:
    """Answer with an error; a handshake is refused before the upgrade."""
    kind = "websocket.http" if scope["type"] == "websocket" else "http"
    body = error_body(refused.code, refused.message)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *HEADERS]
    headers.append((b"cache-control", b"no-store"))
    if refused.retry_after is not None:
        headers.append((b"retry-after", b"%d" % refused.retry_after))
    if kind == "http":
        # What is left of a body is not read.
        headers.append((b"connection", b"close"))
    await send({"type": f"{kind}.response.start", "status": refused.status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})
