"""The live WebSocket over real sockets: what clients see, when they come late, are slow, or come again."""

import asyncio
import json
import socket
from collections import Counter

import pytest
from websockets.exceptions import ConnectionClosed

from streamweaver import BrokerContext, StorageError
from streamweaver_dashboard import hub as hub_module
from streamweaver_dashboard import live as live_module
from streamweaver_dashboard import live_panels
from streamweaver_dashboard import server as server_module
from streamweaver_dashboard.hub import now_ms


def order(symbol, price, **more):
    return {"symbol": symbol, "price": price, **more}


async def test_a_panel_opens_with_the_past(dashboard):
    """What was written before anyone looked is in the first snapshot, of every kind of panel."""
    async with dashboard() as running:
        await running.append("orders", [order("A", 1.5), order("A", 2.5)], partition=0)
        await running.append("orders", [order("B", 7)], partition=1)
        async with running.live() as viewer:
            await viewer.watch("prices", "feed", "symbols", "last", "rate", "dear")
            parts = {}
            while len(parts) < 6:
                parts |= {part["id"]: part for part in (await viewer.hear()).get("panels", [])}
            assert all(part["snapshot"] for part in parts.values())
            prices = parts["prices"]["data"]
            assert [series["key"] for series in prices["series"]] == ["A", "B"]
            assert [[y for y in row if y is not None] for row in prices["last"]] == [[2.5], [7]]
            assert sorted(v["price"] for v in parts["feed"]["data"]["records"]["value"]) == [1.5, 2.5, 7]
            assert parts["symbols"]["data"]["values"] == [[2, 1]]
            assert dict(zip(parts["last"]["data"]["keys"], parts["last"]["data"]["values"][0], strict=True)) == {
                "A": 2.5,
                "B": 7,
            }
            assert parts["rate"]["data"]["value"] in (2.5, 7)
            assert [v["symbol"] for v in parts["dear"]["data"]["records"]["value"]] == ["B"]


async def test_a_past_that_is_too_much_is_a_gap(dashboard, monkeypatch):
    """Of a busy partition only the newest records are read back: the time before them is told as not seen."""
    monkeypatch.setattr(live_panels, "HISTORY_RECORDS", 10)
    async with dashboard() as running:
        now = now_ms()
        await running.append("orders", [order("A", n) for n in range(30)], times=[now - 30_000 + n for n in range(30)])
        await running.append("orders", [order("B", 1)], partition=1)
        async with running.live() as viewer:
            await viewer.watch("prices")
            part = await viewer.part("prices")
            [[start, end, records]] = part["data"]["gaps"]
            assert (end, records) == (now - 30_000 + 21, 21)
            assert start < now - 55_000


async def test_what_is_written_comes_in_numbered_deltas(dashboard):
    """Each record reaches a watcher exactly once, in parts whose numbers follow on each other."""
    async with dashboard() as running, running.live() as viewer:
        await viewer.watch("feed")
        part = await viewer.part("feed")
        seq, got = part["seq"], []
        for number in range(30):
            await running.append("orders", [order("A", number)])
            if number % 3 == 0:
                part = await viewer.part("feed")
                assert (part["seq"], part["snapshot"]) == (seq + 1, False)
                seq = part["seq"]
                got += [value["price"] for value in part["data"]["records"]["value"]]
        while len(got) < 30:
            part = await viewer.part("feed")
            assert part["seq"] == seq + 1
            seq = part["seq"]
            got += [value["price"] for value in part["data"]["records"]["value"]]
        assert got == list(range(30))


async def test_a_client_that_comes_again_goes_on_where_it_was(dashboard):
    """With epoch and seq a client gets the missing deltas alone; nothing twice, no hole."""
    async with dashboard() as running, running.live() as other, running.live() as viewer:
        await other.watch("feed")
        await viewer.watch("feed")
        have = (await viewer.part("feed"))["seq"]
        await running.append("orders", [order("A", 1)])
        await other.part("feed", lambda part: not part["snapshot"])
        await viewer.connection.close()
        await running.append("orders", [order("A", 2)])
        await other.part("feed", lambda part: not part["snapshot"])
        async with running.live() as again:
            await again.say(type="watch", panels={"feed": have}, epoch=again.hello["epoch"])
            got = []
            while len(got) < 2:
                part = await again.part("feed")
                assert not part["snapshot"]
                got += [value["price"] for value in part["data"]["records"]["value"]]
            assert got == [1, 2]


async def test_a_client_of_an_earlier_start_gets_a_snapshot(dashboard):
    """A seq of another epoch, or one that is not known, counts for nothing."""
    async with dashboard() as running, running.live() as viewer:
        await viewer.say(type="watch", panels={"feed": 1}, epoch="of another server")
        assert (await viewer.part("feed"))["snapshot"]
        async with running.live() as other:
            await other.say(type="watch", panels={"feed": 9_999_999}, epoch=other.hello["epoch"])
            assert (await other.part("feed"))["snapshot"]


async def test_null_asks_for_a_snapshot(dashboard):
    """A client that lost its way says null, and gets the panel whole, while others just go on."""
    async with dashboard() as running, running.live() as viewer:
        await viewer.watch("feed")
        assert (await viewer.part("feed"))["snapshot"]
        await viewer.watch("feed")
        assert (await viewer.part("feed"))["snapshot"]


async def test_an_unknown_panel_is_not_watched(dashboard):
    """A panel that the file has no more brings nothing, and no error either."""
    async with dashboard() as running, running.live() as viewer:
        await viewer.watch("gone", "feed")
        assert (await viewer.part("feed"))["id"] == "feed"


async def test_who_watches_nothing_costs_nothing(dashboard, monkeypatch):
    """A client that watches nothing (a hidden tab) has no topic read, and no tick made."""
    ticks = []
    tick = hub_module.Hub._do_tick
    monkeypatch.setattr(hub_module.Hub, "_do_tick", lambda hub: (ticks.append(hub), tick(hub))[1])
    async with dashboard() as running, running.live() as viewer:
        await viewer.say(type="watch", panels={})
        for number in range(5):
            await running.append("orders", [order("A", number)])
            await viewer.say(type="ping", id=number)
            assert (await viewer.hear())["id"] == number
        assert ticks == []
        await viewer.watch("feed")
        await viewer.part("feed")
        assert ticks


async def test_a_panel_that_nobody_watches_is_given_up(dashboard, monkeypatch):
    """Some time after the last watcher its topic is not read any more."""
    monkeypatch.setattr(live_panels, "IDLE_MS", 100)
    monkeypatch.setattr(hub_module, "SECOND_MS", 50)
    hubs = []
    joined = hub_module.Hub.join
    monkeypatch.setattr(hub_module.Hub, "join", lambda hub, client: (hubs.append(hub), joined(hub, client))[1])
    async with dashboard() as running:
        async with running.live() as viewer:
            await viewer.watch("feed", "prices")
            await viewer.part("prices")
            assert set(hubs[0].panels.live) == {"feed", "prices"}
        async with asyncio.timeout(10):
            while hubs[0].panels.live or hubs[0]._taps:
                await asyncio.sleep(0.02)


async def test_a_panel_that_is_made_again_does_not_reuse_numbers(dashboard, monkeypatch):
    """A client with the seq of a panel that was given up meanwhile gets a snapshot, not a wrong delta."""
    monkeypatch.setattr(live_panels, "IDLE_MS", 50)
    monkeypatch.setattr(hub_module, "SECOND_MS", 50)
    hubs = []
    joined = hub_module.Hub.join
    monkeypatch.setattr(hub_module.Hub, "join", lambda hub, client: (hubs.append(hub), joined(hub, client))[1])
    async with dashboard() as running, running.live() as viewer:
        await viewer.watch("feed")
        seq = (await viewer.part("feed"))["seq"]
        await viewer.say(type="watch", panels={})
        async with asyncio.timeout(10):
            while hubs[0].panels.live:
                await asyncio.sleep(0.02)
        await viewer.say(type="watch", panels={"feed": seq}, epoch=viewer.hello["epoch"])
        part = await viewer.part("feed")
        assert part["snapshot"]
        assert part["seq"] > seq


async def test_a_tail_shows_what_matches_and_counts_the_rest(dashboard):
    """A tail filters by field and by text, samples to its rate, and says how many it did not show."""
    async with dashboard() as running, running.live() as viewer:
        tails = [
            {"id": "b", "topic": "orders", "where": {"symbol": "B"}, "rate": 5},
            {"id": "text", "topic": "orders", "text": "NEEDLE"},
            {"id": "one", "topic": "orders", "partition": 1},
            {"id": "none", "topic": "no_such_topic"},
        ]
        await viewer.say(type="watch", tails=tails)
        error = await viewer.until("tails", lambda found: any("error" in tail for tail in found))
        assert "no_such_topic" in error[0]["error"]
        await running.append("orders", [order("A", 1)] * 50 + [order("B", n) for n in range(100)])
        await running.append("orders", [order("C", 1, note="a needle in it")], partition=1)
        shown, hidden, found = Counter(), Counter(), {}
        while shown["b"] + hidden["b"] < 100 or not shown["text"] or not shown["one"]:
            for tail in await viewer.until("tails"):
                shown[tail["id"]] += len(tail["records"]["offset"])
                hidden[tail["id"]] += tail["hidden"]
                found.setdefault(tail["id"], []).extend(tail["records"]["value"])
        assert shown["b"] + hidden["b"] == 100
        assert 1 <= shown["b"] <= 10
        assert {value["symbol"] for value in found["b"]} == {"B"}
        assert [value["symbol"] for value in found["text"]] == ["C"] == [value["symbol"] for value in found["one"]]


async def test_figures_come_once_a_second(dashboard):
    """Who asks for metrics gets the stages' newest figures, and the topics' rates."""
    async with dashboard() as running, running.live() as viewer:
        await viewer.say(type="watch", metrics=True)
        first = await viewer.until("metrics")
        assert first["stages"]["priced"]["health"] == "unknown"
        stage = {"health": "ok", "in": 10, "in_per_second": 5.0, "errors": 0, "activity": "waiting for input"}
        await running.append("shop.metrics", [{"time": now_ms(), "stages": {"priced": stage}}])
        await running.append("orders", [order("A", 1)] * 10)
        told = await viewer.until("metrics", lambda found: found["stages"]["priced"]["health"] == "ok")
        assert told["stages"]["priced"]["in"] == 10
        assert told["workers"] == 1
        told = await viewer.until("metrics", lambda found: found["topics"]["orders"]["records"] == 10)
        assert told["topics"]["sold"]["records"] == 0


async def test_hostile_records_are_sent_inert_and_cut(dashboard):
    """Markup, escapes, bidi text and a line of 1 MB come as JSON text, the long one cut and told of."""
    hostile = ["<script>alert(1)</script>", "\x1b[2J\x1b]0;x\x07", "\u202etxt.exe", "\u0000"]
    async with dashboard() as running, running.live() as viewer:
        await viewer.watch("feed")
        await viewer.part("feed")
        await running.append("orders", [*[order(text, 1) for text in hostile], order("x" * 1_000_000, 2), b"\xff{no"])
        got, raws = [], []
        while len(got) < 6:
            records = (await viewer.part("feed"))["data"]["records"]
            got += records["value"]
            raws += list(records.get("raw", {}).values())
        assert [value["symbol"] for value in got[:4]] == hostile
        assert got[4:] == [None, None]
        assert [(raw["why"], len(raw["text"]) <= 4_096) for raw in raws] == [("large", True), ("undecodable", True)]


async def test_the_dashboard_runs_alone_beside_a_pipeline(dashboard, serve, plan_of, tmp_path):
    """With the broker opened as a tool, another dashboard shows what the pipeline's process writes."""
    async with dashboard() as running:
        tool = running.plan.broker.build()
        await tool.open(BrokerContext(pipeline="shop", data_dir=tmp_path / "data", role="tool"))
        try:
            async with serve(running.plan, tool, alone=True) as alone:
                assert (await alone.fetch("/api/pipeline")).json["role"] == "alone"
                async with alone.live() as viewer:
                    await viewer.watch("feed")
                    await viewer.part("feed")
                    await running.append("orders", [order("A", 42)])
                    part = await viewer.part("feed")
                    assert part["data"]["records"]["value"] == [order("A", 42)]
        finally:
            await tool.close()


async def test_the_end_of_the_server_is_told(dashboard):
    """Clients are sent away with 1001, so that they come again."""
    async with dashboard() as running:
        live = running.live()
        viewer = await live.__aenter__()
        await viewer.watch("feed")
        await viewer.part("feed")
    assert await viewer.closed() == 1001
    await live.__aexit__(None, None, None)


# -- slow clients ---------------------------------------------------------------------------------


def upgrade(port, receive_buffer=4_096):
    """Open a WebSocket by hand, on a socket that takes little and is never read; returns it after the handshake."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.connect(("127.0.0.1", port))
    raw.sendall(
        b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    return raw


def masked(message):
    """Return a text frame as a client sends it."""
    body = json.dumps(message).encode()
    assert len(body) < 65_536
    length = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + body


async def test_clients_that_never_read_hold_up_nobody(dashboard, monkeypatch):
    """With 200 clients that take nothing, one that reads gets every record; each of them costs one frame at most."""
    hubs = []
    joined = hub_module.Hub.join
    monkeypatch.setattr(hub_module.Hub, "join", lambda hub, client: (hubs.append(hub), joined(hub, client))[1])
    async with dashboard() as running:
        silent = [await asyncio.to_thread(upgrade, running.port) for _ in range(200)]
        try:
            for raw in silent:
                raw.sendall(masked({"type": "watch", "panels": {"prices": None, "feed": None}}))
            async with running.live() as viewer:
                await viewer.watch("feed")
                await viewer.part("feed")
                sent = got = 0
                filler = "x" * 2_000
                for _ in range(150):
                    await running.append("orders", [order("A", sent + n, filler=filler) for n in range(4)])
                    sent += 4
                    part = await viewer.part("feed")
                    got += len(part["data"]["records"]["offset"]) + part["data"]["hidden"]
                while got < sent:
                    part = await viewer.part("feed")
                    got += len(part["data"]["records"]["offset"]) + part["data"]["hidden"]
                assert got == sent
                slow = [client for client in hubs[0].clients if client.skipped]
                assert len(slow) >= 190
                assert all(len(client.frame or b"") < 1_100_000 for client in hubs[0].clients)
        finally:
            for raw in silent:
                raw.close()


async def test_a_slow_client_that_reads_again_is_up_to_date(dashboard, monkeypatch):
    """After a pause a client gets one frame with what it missed, and is told how many ticks that were."""
    monkeypatch.setattr(server_module, "SEND_BUFFER_BYTES", 4_096)
    monkeypatch.setattr(server_module, "HIGH_WATER_BYTES", 4_096)
    async with dashboard() as running, running.live(max_queue=1) as slow, running.live() as viewer:
        transport = slow.connection.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        for each in (slow, viewer):
            await each.watch("feed", "last")
            await each.part("feed")
        transport.pause_reading()
        filler = "x" * 3_900
        for number in range(60):
            await running.append("orders", [order("A", number, filler=filler)] * 5)
            await viewer.part("last", lambda part, number=number: part["data"]["values"] == [[number]])
        transport.resume_reading()
        skipped, last = 0, None
        async with asyncio.timeout(20):
            while last != 59:
                frame = await slow.hear()
                skipped += frame.get("skipped", 0)
                for part in frame.get("panels", []):
                    if part["id"] == "last" and part["data"]["values"][0]:
                        last = part["data"]["values"][0][0]
        assert skipped > 10


async def test_a_client_that_takes_nothing_for_long_is_cut_off(dashboard, monkeypatch):
    """The connection of a client that never reads ends by itself."""
    monkeypatch.setattr(live_module, "STALL_SECONDS", 0.5)
    hubs = []
    joined = hub_module.Hub.join
    monkeypatch.setattr(hub_module.Hub, "join", lambda hub, client: (hubs.append(hub), joined(hub, client))[1])
    async with dashboard() as running, running.live() as viewer:
        raw = await asyncio.to_thread(upgrade, running.port)
        try:
            raw.sendall(masked({"type": "watch", "panels": {"feed": None}}))
            await viewer.watch("feed")
            await viewer.part("feed")
            filler = "x" * 3_900
            async with asyncio.timeout(20):
                while len(hubs[0].clients) > 1:
                    await running.append("orders", [order("A", 1, filler=filler)] * 20)
                    await viewer.part("feed")
        finally:
            raw.close()


# -- clients that misbehave -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x" * 5_000, 1009),
        (b"binary", 1003),
    ],
)
async def test_a_message_that_may_not_be_ends_the_connection(dashboard, message, code):
    """A message too long, or binary, closes with the code that says so."""
    async with dashboard() as running, running.live() as viewer:
        await viewer.connection.send(message)
        assert await viewer.closed() == code


async def test_a_message_in_pieces_is_measured_as_a_whole(dashboard):
    """Fragments do not get around the limit."""
    async with dashboard() as running, running.live() as viewer:
        await viewer.connection.send(["x" * 1_000] * 5)
        assert await viewer.closed() == 1009


WRONG = [
    "no json",
    '{"type":"watch","panels":[]}',
    '{"type":"shout"}',
    '{"type":"watch","tails":[{"id":"a","topic":"orders","rate":9999}]}',
    '{"type":"watch","tails":[{"id":"a","topic":"orders","where":{"a":{}}}]}',
    '{"type":"watch","tails":[{"id":"a","topic":"orders"},{"id":"a","topic":"sold"}]}',
]


async def test_wrong_messages_are_answered_then_not_any_more(dashboard):
    """Five wrong messages get an error each, the sixth ends the connection."""
    async with dashboard() as running, running.live() as viewer:
        for text in WRONG[:5]:
            await viewer.connection.send(text)
            assert (await viewer.hear())["type"] == "error"
        await viewer.connection.send(WRONG[5])
        assert await viewer.closed() == 1008


async def test_too_many_messages_end_the_connection(dashboard):
    """A flood is not worked off: the connection is closed."""
    async with dashboard() as running, running.live() as viewer:
        with pytest.raises(ConnectionClosed) as closed:
            for number in range(200):
                await viewer.say(type="ping", id=number)
                await viewer.hear()
        assert closed.value.rcvd.code == 1008


async def test_a_panel_whose_topic_fails_says_so_and_comes_back(dashboard, monkeypatch):
    """While a topic cannot be read its panel tells why, the others go on; then it shows each record once."""
    broken = [True]
    read_back = live_panels.read_back

    async def failing(broker, topic, codec, **options):
        past = await read_back(broker, topic, codec, **options)
        if broken[0] and topic == "orders":
            raise StorageError("disk gone")
        return past

    monkeypatch.setattr(live_panels, "read_back", failing)
    async with dashboard() as running, running.live() as viewer:
        await running.append("orders", [order("A", 1), order("A", 2)])
        await viewer.watch("symbols")
        assert (await viewer.part("symbols"))["error"] == "disk gone"
        broken[0] = False
        part = await viewer.part("symbols", lambda part: "data" in part)
        assert part["data"]["values"] == [[2]]
