"""Opening and closing plugins."""

import asyncio
from typing import Any

import pytest

from streamweaver import Retriable
from streamweaver.runtime.plugin_life import call, opened


class Plugin:
    """Notes its life in `events`; fails as told."""

    def __init__(self, name: str, events: list[Any], fails: BaseException | None = None, close: Any = None) -> None:
        self.name, self.events, self.fails, self.close_fails = name, events, fails, close

    def open(self, context: Any) -> None:
        self.events.append(("open", self.name, context))
        if self.fails:
            raise self.fails

    async def close(self) -> None:
        self.events.append(("close", self.name))
        if self.close_fails:
            raise self.close_fails


async def test_all_are_opened_in_order_and_closed_in_reverse() -> None:
    """Plain and async methods; a plugin may have neither."""
    events: list[Any] = []
    async with opened([(Plugin("a", events), 1), (object(), 2), (Plugin("b", events), 3)], lambda *_, **__: None):
        events.append("running")
    assert events == [("open", "a", 1), ("open", "b", 3), "running", ("close", "b"), ("close", "a")]


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (OSError("no device"), Retriable, "cannot open Plugin: OSError: no device"),
        (SystemExit(2), Retriable, "cannot open Plugin: SystemExit: 2"),
        (Retriable("later"), Retriable, "later"),
    ],
)
async def test_one_that_cannot_open_is_closed_with_those_before_it(error: Any, raised: Any, text: str) -> None:
    """Its own errors pass; others become Retriable. Those after it were never begun."""
    events: list[Any] = []
    plugins = [Plugin("a", events), Plugin("b", events, error), Plugin("c", events)]
    with pytest.raises(raised, match=text):
        async with opened([(plugin, 0) for plugin in plugins], lambda *_, **__: None):
            pytest.fail("ran")
    assert [event[:2] for event in events] == [("open", "a"), ("open", "b"), ("close", "b"), ("close", "a")]


@pytest.mark.parametrize("error", [OSError("gone"), SystemExit(1)])
async def test_an_error_in_close_is_logged(error: BaseException) -> None:
    """The others are closed all the same."""
    events: list[Any] = []
    lines: list[Any] = []
    plugins = [Plugin("a", events), Plugin("b", events, close=error)]
    async with opened([(plugin, 0) for plugin in plugins], lambda *args, **fields: lines.append((args, fields))):
        pass
    assert events[-1] == ("close", "a")
    assert lines == [(("error", "close failed"), {"plugin": "Plugin", "error": f"{type(error).__name__}: {error}"})]


async def test_call_awaits_what_is_to_be_awaited() -> None:
    """Plain and async methods are called alike."""

    async def later(n: int) -> int:
        return n

    assert await call(later, 1) == await call(lambda n: n, 1) == 1


async def test_a_cancellation_that_nobody_asked_for_is_an_error() -> None:
    """It would otherwise end the stage's task in silence; the one that the task is asked for still ends it."""

    async def inner() -> None:
        waiting = asyncio.ensure_future(asyncio.Event().wait())
        waiting.cancel()
        await waiting

    with pytest.raises(RuntimeError, match="cancelled from inside"):
        await call(inner)
    outer = asyncio.create_task(call(asyncio.Event().wait))
    await asyncio.sleep(0)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
