"""Telling of alerts: into the topic of a real broker, and to a real server as the webhook."""

import asyncio
import contextlib

import pytest

from streamweaver import BrokerContext, TopicSpec
from streamweaver.codecs import Json
from streamweaver_dashboard import announce
from streamweaver_dashboard.announce import Announcer

NOW = 1_750_000_000_000
PATIENCE = 20.0
FINE = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


def event(state="firing", time=NOW, **more):
    return {"id": "r", "name": "dear", "when": "w", "subject": "B", "state": state, "time": time, "value": 5, **more}


@pytest.fixture
def shop(plan_of, pipeline_text, tmp_path):
    """A way to open a pipeline's broker, as an asynchronous context manager; takes what is to be overridden."""

    @contextlib.asynccontextmanager
    async def opened(*overrides):
        plan = plan_of(pipeline_text, *overrides)
        broker = plan.broker.build()
        await broker.open(BrokerContext(pipeline=plan.name, data_dir=tmp_path / "data"))
        try:
            await broker.create([TopicSpec(name=plan.metrics), TopicSpec(name=plan.alerts)])
            yield plan, broker
        finally:
            await broker.close()

    return opened


def speaking(plan, broker, log=lambda *_, **__: None):
    """Return an announcer that is the one."""
    announcer = Announcer(plan, broker, Json(), log, "me")
    announcer.election.heard({"announcer": "me", "term": NOW, "time": NOW}, NOW)
    return announcer


@contextlib.asynccontextmanager
async def running(announcer):
    """Let an announcer do its work."""
    task = asyncio.create_task(announcer.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def hook(*answers):
    """Serve as a webhook that gives these answers in turn, the last one for ever; yields its address and what came."""
    came = asyncio.Queue()
    left = list(answers)

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        came.put_nowait(Json().decode(await reader.readexactly(length)))
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", came


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"garbage\r\n\r\n", id="no HTTP"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 500 No\r\nconnection: close\r\n\r\n", id="an error"),
        pytest.param(b"HTTP/1.1 302 Found\r\nlocation: http://[1/\r\nconnection: close\r\n\r\n", id="a false address"),
    ],
)
async def test_a_wrong_answer_of_the_webhook_is_one_that_is_tried_again(shop, monkeypatch, answer):
    """Whatever the webhook answers, the announcer goes on, and posts again a little later."""
    monkeypatch.setattr(announce, "FIRST_PAUSE_SECONDS", 0.0)
    logged = []
    async with hook(answer, FINE) as (address, came), shop(f"dashboard.webhook={address}") as (plan, broker):
        announcer = speaking(plan, broker, lambda level, event, **_: logged.append((level, event)))
        async with running(announcer), asyncio.timeout(PATIENCE):
            await announcer.tell([event()], NOW)
            first, second = await came.get(), await came.get()
            await announcer.tell([event("resolved")], NOW + 1)
            third = await came.get()
        assert [each["state"] for each in (first, second, third)] == ["firing", "firing", "resolved"]
        assert logged == [("warning", "webhook failed")]
