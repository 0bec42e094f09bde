"""What the dashboard's tests share: batches made of values, and a whole dashboard on a real socket and broker."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from websockets.asyncio.client import ClientConnection, connect

from made_records import make_seen
from streamweaver import BrokerContext, Rows, TopicSpec
from streamweaver.config import apply, parse
from streamweaver.graph.build import build
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Surroundings
from streamweaver.registry import Registry
from streamweaver_dashboard.hub import now_ms
from streamweaver_dashboard.port import listen
from streamweaver_dashboard.run import run

PATIENCE = 20.0
"""Seconds after which something that must happen is taken to have failed."""

PIPELINE = """
name: shop
topics:
  orders: {partitions: 2}
producers:
  source: {use: stock_trades, to: orders, rate: 1}
flows:
  priced:
    from: orders
    steps: [{use: stamp, field: at}]
    to: sold
sinks:
  live: {use: websocket, from: sold, token: "canary-secret-token", port: 0}
dashboard:
  port: 0
  tick: 50ms
  panels:
    - {title: Prices, from: orders, kind: line, y: price, by: symbol, span: 1m}
    - {title: Feed, from: orders, kind: feed, top: 100, limit: 5}
    - {title: Symbols, from: orders, kind: bar, by: symbol}
    - {title: Last, from: orders, kind: table, by: symbol, fields: [price]}
    - {title: Rate, from: orders, kind: number, y: price, show: last}
    - {title: Dear, from: orders, kind: feed, where: {symbol: [B]}}
"""


@pytest.fixture(scope="session")
def seen():
    return make_seen


@attrs.frozen
class Answer:
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.define
class Running:
    """A dashboard that serves, and the broker behind it."""

    plan: Plan
    broker: Any
    port: int
    logged: list[tuple[str, str, dict[str, Any]]]

    async def append(self, topic: str, values: Sequence[Any], *, partition: int = 0, times: Sequence[int] = ()) -> None:
        """Write records; bytes as they are."""
        raws = [value if isinstance(value, bytes) or value is None else json.dumps(value).encode() for value in values]
        unit = self.broker.begin()
        unit.append(topic, partition, Rows([None] * len(raws), raws, list(times) or [now_ms()] * len(raws)))
        await unit.commit()

    async def fetch(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        headers: dict[str, str] | None = None,
        csrf: bool = True,
    ) -> Answer:
        """Send a request over a socket of its own."""
        sent = {"X-StreamWeaver": "1"} if csrf and method != "GET" else {}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}

        def send() -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                connection.putrequest(method, path, skip_host="Host" in sent, skip_accept_encoding=True)
                for name, value in sent.items():
                    connection.putheader(name, value)
                if data is not None:
                    connection.putheader("Content-Length", str(len(data)))
                connection.endheaders(data)
                response = connection.getresponse()
                return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            finally:
                connection.close()

        return await asyncio.to_thread(send)

    @contextlib.asynccontextmanager
    async def live(self, **options: Any) -> AsyncIterator["Viewer"]:
        """Connect as a page does."""
        async with connect(
            f"ws://127.0.0.1:{self.port}/live", compression=None, max_size=None, **options
        ) as connection:
            hello = json.loads(await connection.recv())
            yield Viewer(connection, hello)


@attrs.define
class Viewer:
    """A client of the live WebSocket."""

    connection: ClientConnection
    hello: dict[str, Any]
    pending: list[dict[str, Any]] = attrs.field(factory=list)

    async def say(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def watch(self, *panels: str, **wish: Any) -> None:
        await self.say(type="watch", panels=dict.fromkeys(panels), **wish)

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return json.loads(await self.connection.recv())

    async def part(self, panel: str, wanted: Any = lambda part: True) -> dict[str, Any]:
        """Return the next part of a panel that is wanted."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self.pending:
                    part = self.pending.pop(0)
                    if part["id"] == panel and wanted(part):
                        return part
                self.pending = (await self.hear()).get("panels", [])

    async def until(self, key: str, wanted: Any = lambda value: True) -> Any:
        """Return what the next frame that has it says of something."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.hear()
                if key in message and wanted(message[key]):
                    return message[key]

    async def closed(self) -> int:
        """Wait for the end; returns the code."""
        async with asyncio.timeout(PATIENCE):
            await self.connection.wait_closed()
        return self.connection.close_code


def make_plan(text: str, *overrides: str) -> Plan:
    plan, _ = build(apply(parse(text, "test.yaml"), *overrides), Registry())
    return plan


def specs(plan: Plan) -> list[TopicSpec]:
    """Return what the engine would create."""
    names = (plan.dead_letters, plan.settled_letters, plan.metrics, plan.alerts)
    own = [TopicSpec(name=name) for name in names]
    replays = [TopicSpec(name=plan.replay(s.name), partitions=2) for s in plan.stages.values() if s.inputs]
    return [*(topic.spec for topic in plan.topics.values()), *own, *replays]


@contextlib.asynccontextmanager
async def serving(plan: Plan, broker: Any, *, alone: bool = False) -> AsyncIterator[Running]:
    """Run a dashboard over an open broker."""
    logged: list[tuple[str, str, dict[str, Any]]] = []
    listening = asyncio.get_running_loop().create_future()

    def log(level: str, event: str, /, **fields: Any) -> None:
        logged.append((level, event, fields))
        if event == "dashboard" and not listening.done():
            listening.set_result(fields["address"])

    surroundings = Surroundings(plan=plan, broker=broker, log=log, beside=lambda *_: None)
    task = asyncio.create_task(run(surroundings, listen(plan.dashboard), alone=alone))
    try:
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
        if task.done():
            task.result()
        port = int((await listening).rsplit(":", 1)[1].strip("/"))
        yield Running(plan, broker, port, logged)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def dashboard(tmp_path: Path):
    """A way to run a dashboard, as an asynchronous context manager."""

    @contextlib.asynccontextmanager
    async def running(*overrides: str, text: str = PIPELINE) -> AsyncIterator[Running]:
        plan = make_plan(text, *overrides)
        broker = plan.broker.build()
        await broker.open(BrokerContext(pipeline=plan.name, data_dir=tmp_path / "data"))
        try:
            await broker.create(specs(plan))
            async with serving(plan, broker) as served:
                yield served
        finally:
            await broker.close()

    return running


@pytest.fixture(scope="session")
def serve():
    return serving


@pytest.fixture(scope="session")
def plan_of():
    return make_plan


@pytest.fixture(scope="session")
def pipeline_text():
    return PIPELINE
