"""Looking at the pipeline: its stages, topics, records, panels and alerts."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamweaver import Broker
from streamweaver_dashboard import describe
from streamweaver_dashboard.access import RefusedError
from streamweaver_dashboard.answer import Answering, Turns, as_json, filter_in, number_in, whole_in
from streamweaver_dashboard.browse import Ask, browse, parse_next
from streamweaver_dashboard.hub import Hub, now_ms
from streamweaver_dashboard.past import panel_history, stage_history


class Look:
    """What can be asked, and changes nothing."""

    def __init__(self, hub: Hub, broker: Broker, turns: Turns, *, role: str) -> None:
        self._hub = hub
        self._plan = hub.plan
        self._broker = broker
        self._turns = turns
        self._role = role

    def routes(self, answer: Answering) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("/api/pipeline", answer(self.pipeline)),
            Route("/api/alerts", answer(self.alerts)),
            Route("/api/stages/{name}", answer(self.stage)),
            Route("/api/topics/{name}", answer(self.topic)),
            Route("/api/topics/{name}/records", answer(self.records)),
            Route("/api/panels/{name}/history", answer(self.panel_history)),
        ]

    async def pipeline(self, _request: Request) -> Response:
        """Describe the pipeline."""
        described = describe.pipeline(self._plan)
        topics = await self._hub.topics.described()
        return as_json({**described, "topics": topics, "role": self._role, "time": now_ms()})

    async def alerts(self, _request: Request) -> Response:
        """Tell the states of the rules, and what fired."""
        return as_json(self._hub.judge.alerts.as_dict())

    async def stage(self, request: Request) -> Response:
        """Describe a stage, with its last minutes."""
        name = request.path_params["name"]
        planned = self._plan.stages.get(name)
        if planned is None:
            raise RefusedError(
                404, "unknown_stage", f"no stage {name[:100]!r}: there are {', '.join(self._plan.stages)}"
            )
        minutes = number_in(request, "minutes", 10, 1, 60)
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
        figures = (await self._hub.figures.current())["stages"][name]
        codec = self._hub.topics.codec(self._plan.metrics)
        async with self._turns:
            history = await stage_history(self._broker, codec, self._plan.metrics, name, minutes)
        stage = describe.stage(self._plan, planned)
        now = None if figures["health"] == "unknown" else figures
        return as_json({"stage": stage, "now": now, "inputs": inputs, "history": history})

    async def topic(self, request: Request) -> Response:
        """Describe a topic."""
        name = request.path_params["name"]
        described = await self._hub.topics.describe(name)
        partitions = [
            {"partition": partition, "begin": held.begin, "end": held.end, "records": held.end - held.begin}
            for partition, held in enumerate(await self._broker.ranges(name))
        ]
        stages = self._plan.stages.values()
        return as_json(
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
            limit=round(number_in(request, "limit", 50, 1, 500)),
            partition=whole_in(request, "partition"),
            offset=whole_in(request, "offset"),
            time=whole_in(request, "time"),
            start="start" if start == "start" else "end",
            next=parse_next(query["next"]) if "next" in query else None,
            filter=filter_in(request),
        )
        async with self._turns:
            return as_json(await browse(self._broker, name, codec, ask))

    async def panel_history(self, request: Request) -> Response:
        """Return a panel over past time."""
        name = request.path_params["name"]
        panel = next((panel for panel in self._plan.dashboard.panels if panel.id == name), None)
        if panel is None:
            raise RefusedError(404, "unknown_panel", f"no panel {name[:100]!r}")
        start, end = whole_in(request, "start"), whole_in(request, "end")
        if start is None or end is None:
            raise ValueError("start, end: expected two times in ms")
        async with self._turns:
            codec = self._hub.topics.codec(panel.topic)
            part = await panel_history(self._broker, codec, panel, start, end)
        return Response(part, media_type="application/json")
