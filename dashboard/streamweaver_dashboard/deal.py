"""Dealing with dead letters: a page of them, one with its record, replay and discard."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamweaver_dashboard.access import RefusedError
from streamweaver_dashboard.answer import Answering, Turns, as_json, body_of, number_in, whole_in
from streamweaver_dashboard.letters import Deed, Letters, Which


class Deal:
    """`/api/dead-letters`."""

    def __init__(self, letters: Letters, turns: Turns) -> None:
        self._letters = letters
        self._turns = turns

    def routes(self, answer: Answering) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("/api/dead-letters", answer(self.letters)),
            Route("/api/dead-letters/replay", answer(self.deal), methods=["POST"]),
            Route("/api/dead-letters/discard", answer(self.deal), methods=["POST"]),
            Route("/api/dead-letters/{name}", answer(self.letter)),
        ]

    async def letters(self, request: Request) -> Response:
        """Return a page of dead letters."""
        query = request.query_params
        state = query.get("state", "waiting")
        if state not in ("waiting", "all"):
            raise ValueError("state: expected waiting or all")
        which = Which(
            **{name: query.get(name) for name in ("stage", "step", "error", "reason", "topic")},
            since=whole_in(request, "since"),
            until=whole_in(request, "until"),
        )
        limit = round(number_in(request, "limit", 100, 1, 500))
        async with self._turns:
            return as_json(
                await self._letters.page(which, everything=state == "all", limit=limit, before=query.get("before"))
            )

    async def letter(self, request: Request) -> Response:
        """Return one dead letter."""
        name = request.path_params["name"]
        found = await self._letters.one(name)
        if found is None:
            raise RefusedError(404, "unknown_letter", f"no dead letter {name[:100]!r}")
        return as_json(found)

    async def deal(self, request: Request) -> Response:
        """Replay or discard."""
        action = "replay" if request.url.path.endswith("/replay") else "discard"
        deed = await body_of(request, Deed)
        return as_json(await self._letters.deal(action, deed))
