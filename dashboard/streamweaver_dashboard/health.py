"""Whether the pipeline is well: for people, for whatever restarts it, and for Prometheus."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamweaver_dashboard import prometheus
from streamweaver_dashboard.answer import Answering, as_json
from streamweaver_dashboard.figures import status
from streamweaver_dashboard.hub import Hub


class Health:
    """`/healthz`, `/readyz` and `/metrics`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def routes(self, answer: Answering) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("/healthz", answer(self.healthz)),
            Route("/readyz", answer(self.readyz)),
            Route("/metrics", answer(self.metrics)),
        ]

    async def healthz(self, request: Request) -> Response:
        """Say whether a stage has failed or is stuck, or nothing more is heard of any."""
        word, bad = status(await self._hub.figures.current())
        return self._health(request, word, bad, well=word not in ("failing", "silent"))

    async def readyz(self, request: Request) -> Response:
        """Say whether every stage has been heard of."""
        word, bad = status(await self._hub.figures.current())
        return self._health(request, word, bad, well=word == "ok")

    @staticmethod
    def _health(request: Request, word: str, bad: dict[str, dict[str, str]], *, well: bool) -> Response:
        told = {"status": word} | ({"stages": bad} if request.scope["role"] else {})
        return as_json(told, status_code=200 if well else 503)

    async def metrics(self, _request: Request) -> Response:
        """Answer a scrape."""
        merged = await self._hub.figures.current()
        text = prometheus.text(self._hub.plan.name, merged, self._hub.figures.workers, len(self._hub.clients))
        return Response(text, media_type="text/plain; version=0.0.4")
