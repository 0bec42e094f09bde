"""Asking and answering over HTTP: what a request says, and the forms that answers and errors have."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from streamweaver import BrokerError, UnknownTopicError
from streamweaver.views.column import to_json
from streamweaver.views.filter import Filter, parse_text, parse_where
from streamweaver_dashboard.access import RefusedError
from streamweaver_dashboard.gate import error_body
from streamweaver_dashboard.log import Log

BODY_BYTES = 1_048_576
HEAVY_AT_ONCE = 4
HEAVY_WAIT_SECONDS = 5.0

Handler = Callable[[Request], Awaitable[Response]]
Answering = Callable[[Handler], Handler]
"""Makes an answer of a handler: its errors too get the form that the API has."""


class Turns:
    """The few places for requests that may cost much: `async with turns:` takes one."""

    def __init__(self, places: int = HEAVY_AT_ONCE) -> None:
        self._places = asyncio.Semaphore(places)

    async def __aenter__(self) -> None:
        try:
            async with asyncio.timeout(HEAVY_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise RefusedError(503, "too_busy", "too many requests at a time: try again", 2) from None

    async def __aexit__(self, *_: object) -> None:
        self._places.release()


# -- answers --------------------------------------------------------------------------------------


def answering(log: Log, handler: Handler) -> Handler:
    """Turn errors into the form that every error of the API has."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except RefusedError as error:
            response = _error(error.status, error.code, error.message)
            if error.retry_after is not None:
                response.headers["retry-after"] = str(error.retry_after)
            return response
        except UnknownTopicError as error:
            return _error(404, "unknown_topic", str(error))
        except BrokerError as error:
            return _error(503, "broker", str(error))
        except (ValueError, msgspec.ValidationError) as error:
            return _error(400, "bad_request", str(error))
        except (ClientDisconnect, HTTPException):
            raise
        except Exception as error:
            log("error", "a request failed", path=request.url.path, error=repr(error))
            return _error(500, "internal", f"{type(error).__name__} in the dashboard; please report it")

    return answer


def as_json(value: Any, status_code: int = 200) -> Response:
    """Answer with JSON."""
    return Response(to_json(value), status_code=status_code, media_type="application/json")


def _error(status_code: int, code: str, message: str) -> Response:
    return Response(error_body(code, message[:1_000]), status_code=status_code, media_type="application/json")


# -- questions ------------------------------------------------------------------------------------


async def body_of(request: Request, kind: type[Any]) -> Any:
    """Read a JSON body, never more than is allowed."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(400, "bad_request", "expected Content-Type: application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise RefusedError(413, "too_large", f"expected a body of at most {BODY_BYTES} bytes")
    return msgspec.json.decode(body, type=kind)


def number_in(request: Request, name: str, default: float, least: float, most: float) -> float:
    """Return a number of the query; ValueError when it is none, or out of bounds."""
    text = request.query_params.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ValueError(f"{name}: expected a number from {least:g} to {most:g}")
    return value


def whole_in(request: Request, name: str) -> int | None:
    """Return a whole number of the query, None when it is not there; ValueError when it is none."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{name}: expected a whole number")
    return int(text)


def filter_in(request: Request) -> Filter:
    """Return the filter of the query; ValueError when it is wrong."""
    query = request.query_params
    where = parse_where(msgspec.json.decode(query["where"])) if query.get("where") else {}
    return Filter(where, parse_text(query.get("text", "")))
