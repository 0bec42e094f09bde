"""Looking at a pipeline that runs elsewhere."""

import asyncio
from pathlib import Path

import pytest

from streamweaver.config import parse
from streamweaver.contracts import BrokerContext
from streamweaver.errors import RunError
from streamweaver.graph.build import build
from streamweaver.hooks import Observers, Surroundings, observer
from streamweaver.registry import Registry
from streamweaver.runtime.view import view

FILE = "name: demo\nproducers:\n  stocks: {use: stock_trades, to: trades}\n"


def quiet(*_: object, **__: object) -> None:
    """Log nothing."""


class Shows:
    """An observer that shows pipelines."""

    def __init__(self) -> None:
        self.roles: list[bool] = []
        self.topics: dict[str, object] = {}
        self.shown = asyncio.Event()

    @observer
    def pipeline_viewed(self, surroundings: Surroundings) -> None:
        async def show() -> None:
            self.topics = dict(await surroundings.broker.topics())
            self.shown.set()
            await asyncio.Event().wait()

        surroundings.beside("shows", show())


class Fails:
    """An observer that cannot."""

    @observer
    def pipeline_viewed(self, surroundings: Surroundings) -> None:
        async def fail() -> None:
            raise OSError("port taken")

        surroundings.beside("fails", fail())


async def viewed(tmp_path: Path, *observers: object) -> None:
    plan, _ = build(parse(FILE, "demo.yaml"), Registry())
    broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline="demo", data_dir=tmp_path))
    connected = Observers(quiet)
    for each in observers:
        connected.connect(each)
    try:
        await broker.create([topic.spec for topic in plan.topics.values()])
        # A tool beside the runner: the lock of the folder is not asked for.
        await view(plan, data_dir=tmp_path, log=quiet, observers=connected)
    finally:
        await broker.close()


async def test_an_observer_is_given_an_open_broker_until_cancelled(tmp_path: Path) -> None:
    """It reads beside the running pipeline, and ends with the view."""
    shows = Shows()
    task = asyncio.create_task(viewed(tmp_path, shows))
    async with asyncio.timeout(10):
        await shows.shown.wait()
    assert list(shows.topics) == ["trades"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_without_anyone_to_show_it_that_is_said(tmp_path: Path) -> None:
    """No observer, no view."""
    with pytest.raises(RunError, match="no installed observer shows pipelines"):
        await viewed(tmp_path)


async def test_a_view_that_fails_says_why(tmp_path: Path) -> None:
    """What ended the observer is the error of the command."""
    with pytest.raises(RunError, match="fails: port taken"):
        await viewed(tmp_path, Fails())
