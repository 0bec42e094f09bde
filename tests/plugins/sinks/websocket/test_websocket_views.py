"""Views over the websocket sink: the same figures as the dashboard's, for any client."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest
from websockets.asyncio.client import ClientConnection, connect

from streamweaver import Batch, Record
from streamweaver.testing import FakeContext
from streamweaver.views import PanelConfig, make_panel, make_view, seen_of
from streamweaver_sinks.websocket import Websocket

NOW = 1_750_000_000_000
PATIENCE = 20


@attrs.define
class Looking:
    """A client that looks at views."""

    connection: ClientConnection
    parts: list[dict[str, Any]] = attrs.field(factory=list)
    heard: list[dict[str, Any]] = attrs.field(factory=list)

    async def say(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def hear(self, kind: str) -> dict[str, Any]:
        """Return the next message of a type; parts of views are put aside, all others kept in `heard`."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message: dict[str, Any] = json.loads(await self.connection.recv())
                self.parts += message.get("views", [])
                self.heard.append(message)
                if message["type"] == kind:
                    return message

    async def view(self, name: str, channel: str = "prices", **wish: Any) -> dict[str, Any]:
        """Ask for a view; returns what is shown."""
        await self.say(type="view", id=name, channel=channel, **wish)
        return await self.hear("viewing")

    async def part(self, name: str, wanted: Callable[[dict[str, Any]], bool] = lambda part: True) -> dict[str, Any]:
        """Return the next part of a view that is wanted."""
        while True:
            while self.parts:
                part = self.parts.pop(0)
                if part["id"] == name and wanted(part):
                    return part
            await self.hear("views")


class ReadingContext(FakeContext):
    """A context whose history is read by a function of the test's."""

    read: Callable[[], Awaitable[list[Record]]]

    async def history(self, topic: str, limit: int) -> list[Record]:
        return await self.read()


Open = Callable[..., Awaitable[tuple[Websocket, Any]]]


@pytest.fixture
async def start() -> AsyncIterator[Open]:
    """Open sinks on free ports; closed at the end, when no task may be left."""
    opened: list[Websocket] = []

    async def opening(context: FakeContext | None = None, **options: Any) -> tuple[Websocket, Any]:
        context = context or FakeContext()
        context.topics, context.clock.now_ms = ["prices", "posts"], NOW
        sink = Websocket(**{"port": 0, "view_seconds": 0.05, **options})
        opened.append(sink)
        await sink.open(context)
        return sink, context

    yield opening
    for sink in opened:
        await sink.close()
    async with asyncio.timeout(PATIENCE):
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.002)


def client_of(sink: Websocket) -> Any:
    return connect(f"ws://127.0.0.1:{sink.bound_port}/?channels=")


def trades(*rows: tuple[str, float], at: int = NOW) -> list[Record]:
    return [
        Record({"symbol": symbol, "price": price}, key=symbol.encode(), timestamp=at + number, origin=number)
        for number, (symbol, price) in enumerate(rows)
    ]


async def write(sink: Websocket, records: list[Record], first: int = 0) -> None:
    await sink.write(Batch(records, "prices", 0, first, first + len(records) - 1))


ROWS = trades(("A", 1.5), ("B", 2), ("A", 3))

WISHES: dict[str, dict[str, Any]] = {
    "line": {"y": "price", "by": "symbol", "span_seconds": 60},
    "bar": {"by": "symbol"},
    "feed": {"top": 100},
    "number": {"y": "price", "show": "sum"},
    "table": {"by": "symbol"},
    "heatmap": {"by": "symbol", "split": "price"},
    "gauge": {"y": "price", "show": "last", "min": 0, "max": 10},
}


@pytest.mark.parametrize("kind", WISHES)
async def test_a_view_is_the_dashboards(start: Open, kind: str) -> None:
    """Every kind of view shows exactly what the dashboard's arithmetic makes of the same records."""
    sink, context = await start()
    async with client_of(sink) as connection:
        client = Looking(connection)
        told = await client.view("mine", kind=kind, **WISHES[kind])
        assert (told["id"], told["channel"], told["view"]["kind"]) == ("mine", "prices", kind)
        first = await client.part("mine")
        assert first["snapshot"] is True
        await write(sink, ROWS)
        # A view is taken a few times a second by the context's clock, which the test moves.
        context.clock.advance(0.3)
        last = await client.part("mine")
        assert last["seq"] == first["seq"] + 1
        wish = {"span" if name == "span_seconds" else name: value for name, value in WISHES[kind].items()}
        view = make_view(make_panel(PanelConfig(kind=kind, **wish), "prices", set()), 50)
        view.take(NOW)
        view.add(seen_of(Batch(ROWS, "prices", 0, 0, 2), NOW), NOW)
        update = view.take(context.now())
        assert update is not None
        assert last["snapshot"] is update.whole
        assert last["data"] == json.loads(json.dumps(update.data, default=lambda raw: json.loads(bytes(raw))))


async def test_a_view_begins_with_the_past_and_counts_nothing_twice(start: Open) -> None:
    """The history comes first; a record of it that then comes live is not counted again, a new one is."""
    past = trades(("A", 1), ("A", 2), ("B", 3), at=NOW - 1_000)
    sink, context = await start(FakeContext(past={"prices": past}))
    async with client_of(sink) as connection:
        client = Looking(connection)
        await client.view("bars", kind="bar", by="symbol")
        assert (await client.part("bars"))["data"]["values"] == [[2, 1]]
        # The sink is behind the topic: the end of the history comes live only now.
        await write(sink, [*past[1:], *trades(("B", 4), ("B", 5))])
        context.clock.advance(0.3)
        assert (await client.part("bars"))["data"]["values"] == [[3, 2]]


async def test_the_past_has_no_offsets(start: Open) -> None:
    """Where the history's records stand in the topic is not known, not even of a single one."""
    sink, _ = await start(FakeContext(past={"prices": trades(("A", 1), at=NOW - 1_000)}))
    async with client_of(sink) as connection:
        client = Looking(connection)
        await client.view("feed", kind="feed", top=100)
        assert (await client.part("feed"))["data"]["records"]["offset"] == [-1]


async def test_what_comes_while_the_history_is_read_is_not_lost(start: Open) -> None:
    """Records that come in between are shown once, whether the history has them or not."""
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def read() -> list[Record]:
        reading.set()
        await go_on.wait()
        return trades(("A", 1), ("A", 2), at=NOW - 1_000)

    context = ReadingContext()
    context.read = read
    sink, _ = await start(context)
    async with client_of(sink) as connection:
        client = Looking(connection)
        await client.view("bars", kind="bar", by="symbol")
        await reading.wait()
        await write(sink, [*trades(("A", 1), ("A", 2), at=NOW - 1_000)[1:], *trades(("B", 3))])
        go_on.set()
        assert (await client.part("bars"))["data"]["values"] == [[2, 1]]


async def test_equal_wishes_are_computed_once(start: Open) -> None:
    """Clients that ask for the same share one view, and it ends with the last of them."""
    sink, _ = await start()
    views = sink._server.views  # type: ignore[union-attr]
    async with client_of(sink) as one, client_of(sink) as other:
        first, second = Looking(one), Looking(other)
        await first.view("a", kind="bar", by="symbol")
        await second.view("b", kind="bar", by="symbol", span_seconds=60)
        await second.view("c", kind="bar", by="price")
        assert len(views._views) == 2
        await second.say(type="unview", id="b")
        await second.hear("unviewed")
        assert len(views._views) == 2
        await first.say(type="unview", id="a")
        await first.hear("unviewed")
        assert len(views._views) == 1
    async with asyncio.timeout(PATIENCE):
        while views._views:
            await asyncio.sleep(0.002)


async def test_a_client_that_does_not_read_has_one_message_waiting(start: Open) -> None:
    """What a slow client missed comes as one snapshot; nothing is piled up for it, and nobody waits."""
    sink, context = await start()
    async with client_of(sink) as connection:
        client = Looking(connection)
        await client.view("last", kind="table", by="symbol")
        await client.part("last")
        [held] = sink._server.clients  # type: ignore[union-attr]
        sends = asyncio.Event()
        send, held.connection.send = held.connection.send, lambda *_, **__: sends.wait()  # type: ignore[method-assign,assignment]
        for number in range(200):
            await write(sink, trades(("A", number), at=NOW + number))
            context.clock.advance(0.3)
            await asyncio.sleep(0)
        held.connection.send = send  # type: ignore[method-assign]
        sends.set()
        last = await client.part("last", lambda part: part["data"]["values"][1] == [199])
        assert last["seq"] - 1 <= 201
        assert held.outbox.views is None
        assert not held.outbox.frames


async def test_no_message_is_too_large_for_a_client(start: Open) -> None:
    """A view of more than a message may have is answered with an error; the client stays and gets the others."""
    past = [Record({"text": '"' * 5_000}, timestamp=NOW - 1) for _ in range(200)]
    sink, _ = await start(FakeContext(past={"prices": past}))
    async with client_of(sink) as connection:
        client = Looking(connection)
        await client.view("large", kind="feed", limit=200)
        assert "ask for fewer fields" in (await client.part("large"))["error"]
        await client.view("fewer", kind="feed", limit=20)
        assert len((await client.part("fewer"))["data"]["records"]["value"]) == 20


async def test_a_view_replaces_what_came_unasked(start: Open) -> None:
    """A client that connects to `/` gets records until it asks for a view."""
    sink, context = await start()
    async with connect(f"ws://127.0.0.1:{sink.bound_port}/") as connection:
        client = Looking(connection)
        await client.view("rate", kind="number", y="price", show="last")
        await write(sink, ROWS)
        context.clock.advance(0.3)
        await client.part("rate", lambda part: part["data"]["value"] == 3)
        assert not any(message["type"] == "records" for message in client.heard)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"channel": "nothing", "kind": "feed"}, "no channel 'nothing'"),
        ({"kind": "pie"}, "kind"),
        ({"kind": "line"}, "a line needs y"),
        ({"kind": "bar"}, "a bar needs by"),
        ({"kind": "feed", "limit": 500}, "limit"),
        ({"kind": "feed", "span_seconds": 0.5}, "span_seconds"),
        ({"kind": "feed", "where": {str(n): n for n in range(9)}}, "where"),
        ({"kind": "line", "y": "a b"}, "y"),
        ({"kind": "feed", "colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_wish_is_told(start: Open, wish: dict[str, Any], why: str) -> None:
    """What is no view, or costs too much, is answered with an error that says why; the connection stays."""
    sink, _ = await start()
    async with client_of(sink) as connection:
        client = Looking(connection)
        await client.say(type="view", id="x", **{"channel": "prices", **wish})
        assert why in (await client.hear("error"))["message"]
        await client.view("x", kind="feed")


async def test_views_are_limited(start: Open) -> None:
    """A client has at most eight views, and all clients together as many different ones as `max_views` says."""
    sink, _ = await start(max_views=9)
    async with client_of(sink) as one, client_of(sink) as other:
        first, second = Looking(one), Looking(other)
        for number in range(8):
            await first.view(f"v{number}", kind="feed", limit=number + 1)
        await first.say(type="view", id="v8", channel="prices", kind="feed")
        assert "more than 8" in (await first.hear("error"))["message"]
        await first.view("v7", kind="feed", limit=100)
        await second.view("a", kind="feed", limit=50)
        await second.say(type="view", id="b", channel="prices", kind="feed", limit=51)
        assert "max_views" in (await second.hear("error"))["message"]
        await second.view("b", kind="feed", limit=1)


async def test_a_view_is_replaced_at_the_limit(start: Open) -> None:
    """Where all views are taken a client may still change one that only it looks at, not one that others see too."""
    sink, _ = await start(max_views=1)
    async with client_of(sink) as one, client_of(sink) as other:
        first, second = Looking(one), Looking(other)
        await first.view("a", kind="feed", limit=1)
        assert (await first.view("a", kind="feed", limit=2))["view"]["limit"] == 2
        await second.view("b", kind="feed", limit=2)
        await first.say(type="view", id="a", channel="prices", kind="feed", limit=3)
        assert "max_views" in (await first.hear("error"))["message"]


async def test_no_views_is_told_as_such(start: Open) -> None:
    """Where `max_views` is 0 the error says that there are none, not that others have them."""
    sink, _ = await start(max_views=0)
    async with client_of(sink) as connection:
        client = Looking(connection)
        await client.say(type="view", id="a", channel="prices", kind="feed")
        assert "max_views is 0" in (await client.hear("error"))["message"]


async def test_a_history_that_nobody_waits_for_is_read_no_further(start: Open) -> None:
    """With the last who looks at a view the reading of its past ends; another's goes on."""
    reading, ended = asyncio.Event(), asyncio.Event()

    async def read() -> list[Record]:
        reading.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    context = ReadingContext()
    context.read = read
    sink, _ = await start(context)
    async with client_of(sink) as one, client_of(sink) as other:
        first, second = Looking(one), Looking(other)
        await first.view("a", kind="feed")
        await second.view("b", kind="feed")
        async with asyncio.timeout(PATIENCE):
            await reading.wait()
            await first.say(type="unview", id="a")
            await first.hear("unviewed")
            assert not ended.is_set()
            await second.say(type="unview", id="b")
            await second.hear("unviewed")
            await ended.wait()
    # Cancelled, not run out of time.
    assert not any("no history" in str(line) for line in context.logged)


async def test_a_history_that_cannot_be_read_is_no_harm(start: Open) -> None:
    """Without its past a view begins with what comes."""

    async def read() -> list[Record]:
        raise OSError("the disk is gone")

    context = ReadingContext()
    context.read = read
    sink, _ = await start(context)
    async with client_of(sink) as connection:
        client = Looking(connection)
        await client.view("feed", kind="feed", top=100)
        await client.part("feed")
        await write(sink, ROWS)
        part = await client.part("feed")
        assert part["data"]["records"]["offset"] == [0, 1, 2]
    assert any("no history" in str(line) for line in context.logged)
