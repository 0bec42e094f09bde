"""Logging in and out, and who one is."""

import importlib.metadata

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamweaver_dashboard import describe
from streamweaver_dashboard.access import COOKIE, SESSION_SECONDS, Access
from streamweaver_dashboard.answer import Answering, as_json, body_of
from streamweaver_dashboard.gate import address_of


class _LogIn(msgspec.Struct, forbid_unknown_fields=True):
    token: str


class Session:
    """`/api/session`."""

    def __init__(self, access: Access, pipeline: str) -> None:
        self._access = access
        self._pipeline = pipeline

    def routes(self, answer: Answering) -> list[Route]:
        """Return what is answered here."""
        return [Route("/api/session", answer(self.session), methods=["GET", "POST", "DELETE"])]

    async def session(self, request: Request) -> Response:
        """Tell who one is; log in; log out."""
        if request.method == "POST":
            token = (await body_of(request, _LogIn)).token
            name, role = self._access.log_in(token, address_of(request.scope))
            response = self._who(role)
            response.set_cookie(
                COOKIE,
                name,
                max_age=SESSION_SECONDS,
                httponly=True,
                samesite="strict",
                secure=self._access.is_tls,
            )
            return response
        if request.method == "DELETE":
            self._access.log_out(request.headers)
            response = self._who(None if self._access.has_login else request.scope["role"])
            response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=self._access.is_tls)
            return response
        return self._who(request.scope["role"])

    def _who(self, role: str | None) -> Response:
        return as_json(
            {
                "protocol": describe.PROTOCOL,
                "role": role,
                "login": self._access.has_login,
                "version": importlib.metadata.version("streamweaver"),
                "pipeline": self._pipeline if role else None,
            }
        )
