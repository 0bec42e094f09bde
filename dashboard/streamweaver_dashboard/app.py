"""The HTTP side: routes and their answers."""

import asyncio
import functools
import importlib.metadata
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from streamweaver import Broker, BrokerError, UnknownTopicError
from streamweaver.graph.plan import Plan
from streamweaver.views.column import to_json
from streamweaver.views.filter import Filter, parse_text, parse_where
from streamweaver_dashboard import describe, page, prometheus
from streamweaver_dashboard.access import COOKIE, SESSION_SECONDS, Access, RefusedError
from streamweaver_dashboard.browse import Ask, browse, parse_next
from streamweaver_dashboard.figures import status
from streamweaver_dashboard.gate import App, Gate, address_of, error_body
from streamweaver_dashboard.hub import Hub, Log, now_ms
from streamweaver_dashboard.letters import Deed, Letters, Which
from streamweaver_dashboard.live import Live
from streamweaver_dashboard.past import panel_history, stage_history

BODY_BYTES = 1_048_576
HEAVY_AT_ONCE = 4
HEAVY_WAIT_SECONDS = 5.0

Handler = Callable[[Request], Awaitable[Response]]


class Dashboard:
    """The answers of one dashboard."""

    def __init__(self, plan: Plan, broker: Broker, hub: Hub, access: Access, *, role: str, log: Log) -> None:
        self._log = log
        self._plan = plan
        self._broker = broker
        self._hub = hub
        self._access = access
        self._role = role
        self._letters = Letters(plan, broker)
        self._heavy = asyncio.Semaphore(HEAVY_AT_ONCE)
        self._files = page.load()
        self.live = Live(hub, access)

    def app(self) -> App:
        """Return the application."""
        answer = functools.partial(_answer, self._log)
        routes = [
            Route("/healthz", answer(self.healthz)),
            Route("/readyz", answer(self.readyz)),
            Route("/metrics", answer(self.metrics)),
            Route("/api/session", answer(self.session), methods=["GET", "POST", "DELETE"]),
            Route("/api/pipeline", answer(self.pipeline)),
            Route("/api/alerts", answer(self.alerts)),
            Route("/api/stages/{name}", answer(self.stage)),
            Route("/api/topics/{name}", answer(self.topic)),
            Route("/api/topics/{name}/records", answer(self.records)),
            Route("/api/panels/{name}/history", answer(self.panel_history)),
            Route("/api/dead-letters", answer(self.letters)),
            Route("/api/dead-letters/replay", answer(self.deal), methods=["POST"]),
            Route("/api/dead-letters/discard", answer(self.deal), methods=["POST"]),
            Route("/api/dead-letters/{name}", answer(self.letter)),
            Route("/{path:path}", answer(self.file)),
            WebSocketRoute("/live", self.live),
        ]
        return Gate(Starlette(routes=routes), self._access)

    # -- the page ---------------------------------------------------------------------------------

    async def file(self, request: Request) -> Response:
        """Serve the page's files."""
        path = request.url.path
        if not self._files and path == "/":
            return Response(page.MISSING, media_type="text/html")
        found = self._files.get("/index.html" if path == "/" else path)
        if found is None:
            raise RefusedError(404, "unknown_path", f"there is nothing at {path[:200]}")
        headers = {"etag": found.tag, "vary": "accept-encoding"}
        hashed = path.startswith("/assets/")
        headers["cache-control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=headers)
        body = found.body
        if found.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["content-encoding"] = found.gzipped, "gzip"
        return Response(body, headers={**headers, "content-type": found.kind})

    # -- health -----------------------------------------------------------------------------------

    async def healthz(self, request: Request) -> Response:
        """Say whether a stage has failed or is stuck."""
        word, bad = status(await self._hub.current_figures())
        return self._health(request, word, bad, well=word != "failing")

    async def readyz(self, request: Request) -> Response:
        """Say whether every stage has been heard of."""
        word, bad = status(await self._hub.current_figures())
        return self._health(request, word, bad, well=word == "ok")

    @staticmethod
    def _health(request: Request, word: str, bad: dict[str, dict[str, str]], *, well: bool) -> Response:
        told = {"status": word} | ({"stages": bad} if request.scope["role"] else {})
        return _json(told, status_code=200 if well else 503)

    async def metrics(self, _request: Request) -> Response:
        """Answer a scrape."""
        merged = await self._hub.current_figures()
        text = prometheus.text(self._plan.name, merged, self._hub.figures.workers, len(self._hub.clients))
        return Response(text, media_type="text/plain; version=0.0.4")

    # -- log-in -----------------------------------------------------------------------------------

    async def session(self, request: Request) -> Response:
        """Tell who one is; log in; log out."""
        if request.method == "POST":
            token = (await _body(request, _LogIn)).token
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
        return _json(
            {
                "protocol": describe.PROTOCOL,
                "role": role,
                "login": self._access.has_login,
                "version": importlib.metadata.version("streamweaver"),
                "pipeline": self._plan.name if role else None,
            }
        )

    # -- the pipeline -----------------------------------------------------------------------------

    async def pipeline(self, _request: Request) -> Response:
        """Describe the pipeline."""
        described = describe.pipeline(self._plan)
        topics = await self._hub.topics.described()
        return _json({**described, "topics": topics, "role": self._role, "time": now_ms()})

    async def alerts(self, _request: Request) -> Response:
        """Tell the states of the rules, and what fired."""
        return _json(self._hub.alerts.as_dict())

    async def stage(self, request: Request) -> Response:
        """Describe a stage, with its last minutes."""
        name = request.path_params["name"]
        planned = self._plan.stages.get(name)
        if planned is None:
            raise RefusedError(
                404, "unknown_stage", f"no stage {name[:100]!r}: there are {', '.join(self._plan.stages)}"
            )
        minutes = _number(request, "minutes", 10, 1, 60)
        committed = await self._broker.offsets(self._plan.group(name))
        inputs = [
            {
                "topic": topic,
                "partition": partition,
                "begin": held.begin,
                "end": held.end,
                "committed": committed.get((topic, partition)),
            }
            for topic in planned.inputs
            for partition, held in enumerate(await self._broker.ranges(topic))
        ]
        figures = (await self._hub.current_figures())["stages"][name]
        codec = self._hub.topics.codec(self._plan.metrics)
        async with self._turn():
            history = await stage_history(self._broker, codec, self._plan.metrics, name, minutes)
        stage = describe.stage(self._plan, planned)
        now = None if figures["health"] == "unknown" else figures
        return _json({"stage": stage, "now": now, "inputs": inputs, "history": history})

    # -- topics -----------------------------------------------------------------------------------

    async def topic(self, request: Request) -> Response:
        """Describe a topic."""
        name = request.path_params["name"]
        described = await self._hub.topics.describe(name)
        partitions = [
            {"partition": partition, "begin": held.begin, "end": held.end, "records": held.end - held.begin}
            for partition, held in enumerate(await self._broker.ranges(name))
        ]
        stages = self._plan.stages.values()
        return _json(
            {
                "topic": described,
                "records": sum(partition["records"] for partition in partitions),
                "time": now_ms(),
                "partitions": partitions,
                "readers": [stage.name for stage in stages if name in stage.inputs],
                "writers": [stage.name for stage in stages if stage.output == name],
            }
        )

    async def records(self, request: Request) -> Response:
        """Return a page of records."""
        name = request.path_params["name"]
        codec = self._hub.topics.codec(name)
        query = request.query_params
        start = query.get("from", "end")
        if start not in ("start", "end"):
            raise ValueError("from: expected start or end")
        ask = Ask(
            limit=round(_number(request, "limit", 50, 1, 500)),
            partition=_whole(request, "partition"),
            offset=_whole(request, "offset"),
            time=_whole(request, "time"),
            start="start" if start == "start" else "end",
            next=parse_next(query["next"]) if "next" in query else None,
            filter=_filter(request),
        )
        async with self._turn():
            return _json(await browse(self._broker, name, codec, ask))

    async def panel_history(self, request: Request) -> Response:
        """Return a panel over past time."""
        name = request.path_params["name"]
        panel = next((panel for panel in self._plan.dashboard.panels if panel.id == name), None)
        if panel is None:
            raise RefusedError(404, "unknown_panel", f"no panel {name[:100]!r}")
        start, end = _whole(request, "start"), _whole(request, "end")
        if start is None or end is None:
            raise ValueError("start, end: expected two times in ms")
        async with self._turn():
            codec = self._hub.topics.codec(panel.topic)
            part = await panel_history(self._broker, codec, panel, start, end)
        return Response(part, media_type="application/json")

    def _turn(self) -> "_Turn":
        return _Turn(self._heavy)

    # -- dead letters -----------------------------------------------------------------------------

    async def letters(self, request: Request) -> Response:
        """Return a page of dead letters."""
        query = request.query_params
        state = query.get("state", "waiting")
        if state not in ("waiting", "all"):
            raise ValueError("state: expected waiting or all")
        which = Which(
            **{name: query.get(name) for name in ("stage", "step", "error", "reason", "topic")},
            since=_whole(request, "since"),
            until=_whole(request, "until"),
        )
        limit = round(_number(request, "limit", 100, 1, 500))
        async with self._turn():
            return _json(
                await self._letters.page(which, everything=state == "all", limit=limit, before=query.get("before"))
            )

    async def letter(self, request: Request) -> Response:
        """Return one dead letter."""
        name = request.path_params["name"]
        found = await self._letters.one(name)
        if found is None:
            raise RefusedError(404, "unknown_letter", f"no dead letter {name[:100]!r}")
        return _json(found)

    async def deal(self, request: Request) -> Response:
        """Replay or discard."""
        action = "replay" if request.url.path.endswith("/replay") else "discard"
        deed = await _body(request, Deed)
        return _json(await self._letters.deal(action, deed))


class _LogIn(msgspec.Struct, forbid_unknown_fields=True):
    token: str


class _Turn:
    """A place among the few requests that may cost much at a time."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places

    async def __aenter__(self) -> None:
        try:
            async with asyncio.timeout(HEAVY_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise RefusedError(503, "too_busy", "too many requests at a time: try again", 2) from None

    async def __aexit__(self, *_: object) -> None:
        self._places.release()


# -- asking and answering -------------------------------------------------------------------------


def _answer(log: Log, handler: Handler) -> Handler:
    """Turn errors into the form that every error of the API has."""

    async def answering(request: Request) -> Response:
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

    return answering


def _json(value: Any, status_code: int = 200) -> Response:
    return Response(to_json(value), status_code=status_code, media_type="application/json")


def _error(status_code: int, code: str, message: str) -> Response:
    return Response(error_body(code, message[:1_000]), status_code=status_code, media_type="application/json")


async def _body(request: Request, kind: type[Any]) -> Any:
    """Read a JSON body, never more than is allowed."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(400, "bad_request", "expected Content-Type: application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise RefusedError(413, "too_large", f"expected a body of at most {BODY_BYTES} bytes")
    return msgspec.json.decode(body, type=kind)


def _number(request: Request, name: str, default: float, least: float, most: float) -> float:
    text = request.query_params.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ValueError(f"{name}: expected a number from {least:g} to {most:g}")
    return value


def _whole(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ValueError(f"{name}: expected a whole number")
    return int(text)


def _filter(request: Request) -> Filter:
    query = request.query_params
    where = parse_where(msgspec.json.decode(query["where"])) if query.get("where") else {}
    return Filter(where, parse_text(query.get("text", "")))
