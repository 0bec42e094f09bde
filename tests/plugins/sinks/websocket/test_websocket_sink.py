"""The websocket sink over real sockets: what clients see, and what bad ones cannot do."""

import asyncio
import base64
import json
import logging
import os
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamweaver import Batch, Fatal, Record
from streamweaver.testing import FakeContext
from streamweaver_sinks.websocket import Websocket

TOKEN = "canary-s3cret"

Start = Callable[..., Awaitable[tuple[Websocket, Any]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Open sinks on free ports; closed at the end, when no task may be left."""
    opened: list[Websocket] = []

    async def opening(context: Any = None, **options: Any) -> tuple[Websocket, Any]:
        sink = Websocket(**{"port": 0, **options})
        context = context or FakeContext(topics=["prices", "posts"])
        opened.append(sink)
        await sink.open(context)
        return sink, context

    yield opening
    for sink in opened:
        await sink.close()
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that must come true."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def url(sink: Websocket, target: str = "/") -> str:
    return f"ws://127.0.0.1:{sink.bound_port}{target}"


def server(sink: Websocket) -> Any:
    return sink._server


async def subscribed(sink: Websocket, channel: str = "prices", clients: int = 1) -> None:
    await until(lambda: len(server(sink).channels[channel].subscriptions) == clients)


async def write(sink: Websocket, *values: Any, topic: str = "prices") -> None:
    await sink.write(Batch([Record(value, key=b"k", timestamp=7) for value in values], topic))


async def hear(client: ClientConnection) -> Any:
    async with asyncio.timeout(10):
        return json.loads(await client.recv())


async def closed(client: ClientConnection) -> int | None:
    """Wait for the end of a connection and return its close code."""
    async with asyncio.timeout(10):
        try:
            while True:
                await client.recv()
        except ConnectionClosed:
            return client.close_code


async def raw_client(sink: Websocket, *, headers: str = "", receive_buffer: int | None = None) -> socket.socket:
    """Shake hands by hand, and read no further than that."""
    raw = socket.socket()
    if receive_buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", sink.bound_port))
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{sink.bound_port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
    await loop.sock_sendall(raw, request.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await loop.sock_recv(raw, 1)
    assert b" 101 " in answer
    return raw


# -- what clients get -----------------------------------------------------------------------------


async def test_a_plain_client_gets_every_channel(start: Start) -> None:
    """Connecting to `/` is enough: a greeting, then frames of records."""
    sink, context = await start()
    async with connect(url(sink)) as client:
        assert await hear(client) == {
            "type": "hello",
            "protocol": 1,
            "channels": ["prices", "posts"],
            "subscribed": ["prices", "posts"],
        }
        await subscribed(sink, "posts")
        await write(sink, {"a": 1}, None)
        assert await hear(client) == {
            "type": "records",
            "channel": "prices",
            "records": [{"key": "k", "timestamp": 7, "value": {"a": 1}}, {"key": "k", "timestamp": 7, "value": None}],
            "dropped": 0,
        }
        await write(sink, "post", topic="posts")
        assert (await hear(client))["channel"] == "posts"
        assert context.gauges == {"clients": 1}
    await until(lambda: context.gauges == {"clients": 0})
    assert context.counts == {}


@pytest.mark.parametrize("target", ["/posts", "/?channels=posts"])
async def test_the_address_may_name_channels(start: Start, target: str) -> None:
    """A client gets the channels that its address names, and no others."""
    sink, _ = await start()
    async with connect(url(sink, target)) as client:
        assert (await hear(client))["subscribed"] == ["posts"]
        await subscribed(sink, "posts")
        await write(sink, 1)
        await write(sink, 2, topic="posts")
        assert (await hear(client))["records"][0]["value"] == 2


async def test_subscribing_ends_the_default_and_filters(start: Start) -> None:
    """The first `subscribe` replaces "everything"; `where` lets through what matches; `unsubscribe` ends it."""
    sink, _ = await start()
    async with connect(url(sink)) as client:
        await hear(client)
        await client.send('{"type":"subscribe","channel":"prices","where":{"symbol":["A","B"]}}')
        assert await hear(client) == {"type": "subscribed", "channel": "prices"}
        await subscribed(sink, "posts", 0)
        await subscribed(sink)
        await write(sink, {"symbol": "C"}, {"symbol": "A"})
        assert [r["value"] for r in (await hear(client))["records"]] == [{"symbol": "A"}]
        await client.send('{"type":"unsubscribe","channel":"prices"}')
        assert await hear(client) == {"type": "unsubscribed", "channel": "prices"}
        await write(sink, {"symbol": "A"})
        await client.send('{"type":"ping","id":3}')
        assert await hear(client) == {"type": "pong", "id": 3}


async def test_history_comes_first_and_live_records_once(start: Start) -> None:
    """What is written while the history is read is neither lost nor repeated."""

    class Slow(FakeContext):
        async def history(self, topic: str, limit: int) -> list[Record]:
            await write(sink, "in history", "live")
            return [Record("old", key=b"k", timestamp=7), Record("in history", key=b"k", timestamp=7)][-limit:]

    sink, _ = await start(Slow(topics=["prices"]))
    async with connect(url(sink, "/prices?history=5")) as client:
        await hear(client)
        first = await hear(client)
        assert first["history"] is True
        assert [r["value"] for r in first["records"]] == ["old", "in history"]
        assert [r["value"] for r in (await hear(client))["records"]] == ["live"]


async def test_a_failing_history_is_an_empty_one(start: Start) -> None:
    """A broker that cannot tell the past costs the past, not the view."""

    class Broken(FakeContext):
        async def history(self, topic: str, limit: int) -> list[Record]:
            raise OSError("no disk")

    sink, context = await start(Broken(topics=["prices"]))
    async with connect(url(sink, "/?history=5")) as client:
        await hear(client)
        assert (await hear(client))["records"] == []
        await write(sink, 1)
        assert (await hear(client))["records"][0]["value"] == 1
    assert context.logged[-1][1] == "no history for a client"


async def test_history_is_bounded_by_the_option(start: Start) -> None:
    """A client gets no more of the past than `history` allows."""
    context = FakeContext(topics=["prices"], past={"prices": [Record(n) for n in range(50)]})
    sink, _ = await start(context, history=3)
    async with connect(url(sink, "/?history=40")) as client:
        await hear(client)
        assert [r["value"] for r in (await hear(client))["records"]] == [47, 48, 49]


async def test_records_that_come_fast_share_a_frame(start: Start) -> None:
    """Writes within `frame_seconds` are one frame."""
    sink, _ = await start(frame_seconds=0.3)
    async with connect(url(sink)) as client:
        await hear(client)
        await subscribed(sink, "posts")
        await write(sink, 0)
        assert len((await hear(client))["records"]) == 1
        for n in range(10):
            await write(sink, n)
        assert len((await hear(client))["records"]) == 10


async def test_a_silent_server_sends_heartbeats(start: Start) -> None:
    """A client that gets no records hears at least every `heartbeat_seconds`."""
    sink, _ = await start(heartbeat_seconds=0.1)
    async with connect(url(sink)) as client:
        await hear(client)
        assert await hear(client) == {"type": "heartbeat", "dropped": {}}


# -- wrong and hostile clients --------------------------------------------------------------------


async def test_a_wrong_message_gets_an_error_and_many_end_the_connection(start: Start) -> None:
    """Each of the first mistakes is explained; going on with it closes with 1008."""
    sink, _ = await start()
    async with connect(url(sink, "/?channels=")) as client:
        await hear(client)
        for wrong in ("{", b"\x00", '{"type":"subscribe","channel":"x"}', '{"type":"auth","token":"x"}', "[]"):
            await client.send(wrong)
            assert (await hear(client))["type"] == "error"
        await client.send("{")
        assert await closed(client) == 1008


async def test_a_message_that_is_too_long_closes_with_1009(start: Start) -> None:
    """Messages over max_message_bytes are not read."""
    sink, _ = await start()
    async with connect(url(sink, "/?channels=")) as client:
        await client.send("x" * 5000)
        assert await closed(client) == 1009


async def test_too_many_messages_close_with_1008(start: Start) -> None:
    """A client that floods the server with right messages is sent away."""
    sink, _ = await start()
    async with connect(url(sink, "/?channels=")) as client:
        for _ in range(100):
            await client.send('{"type":"ping"}')
        assert await closed(client) == 1008


async def test_two_hundred_clients_that_never_read_delay_nobody(start: Start) -> None:
    """One that reads gets every record at once; memory stays bounded; write never waits."""
    sink, context = await start(max_clients=250, queue=64, queue_bytes=1_048_576)
    deaf = [await raw_client(sink, receive_buffer=2048) for _ in range(200)]
    process = psutil.Process()
    delays: list[float] = []
    slowest_write = 0.0
    async with connect(url(sink, "/prices"), max_queue=None) as client:
        await hear(client)
        await subscribed(sink, clients=201)
        before = process.memory_info().rss

        async def read() -> None:
            async for message in client:
                now = time.monotonic()
                content = json.loads(message)
                assert content["dropped"] == 0
                delays.extend(now - record["value"]["sent"] for record in content["records"])

        reader = asyncio.create_task(read())
        pad = "x" * 2000
        for n in range(150):
            sent = time.monotonic()
            await write(sink, *({"sent": sent, "n": n, "pad": pad} for _ in range(20)))
            slowest_write = max(slowest_write, time.monotonic() - sent)
            await until(lambda n=n: len(delays) >= (n - 5) * 20)  # type: ignore[misc]
        await until(lambda: len(delays) == 3000)
        reader.cancel()
        for deaf_client in server(sink).clients:
            assert deaf_client.outbox.size <= 1_048_576
            assert deaf_client.connection.transport.get_write_buffer_size() < 600_000
        grown = process.memory_info().rss - before
    delays.sort()
    print(f"p50 {delays[1500] * 1e3:.1f} ms, p99 {delays[2970] * 1e3:.1f} ms, write {slowest_write * 1e3:.1f} ms")
    print(f"memory {grown / 1e6:.0f} MB")
    assert delays[2970] < 1.0
    assert slowest_write < 0.5
    assert grown < 200_000_000
    assert context.counts["dropped"] > 10_000
    began = time.monotonic()
    await sink.close()
    assert time.monotonic() - began < 5
    for raw in deaf:
        raw.close()


async def test_a_slow_client_is_told_what_it_missed(start: Start) -> None:
    """When a client reads again, received and dropped records make up all that were sent."""
    sink, context = await start(queue=4, frame_seconds=0)
    async with connect(url(sink, "/prices"), max_queue=1, max_size=None) as client:
        await hear(client)
        await subscribed(sink)
        sent = 0
        while not context.counts.get("dropped") or sent < 100:
            await write(sink, "x" * 50_000)
            sent += 1
            await asyncio.sleep(0)
        got = missed = 0
        await write(sink, "last")
        last = None
        while last != "last":
            content = await hear(client)
            got += len(content["records"])
            missed += content["dropped"]
            last = content["records"][-1]["value"]
        assert got + missed == sent + 1
        assert missed == context.counts["dropped"] > 0


async def test_the_policy_disconnect_ends_a_slow_client(start: Start) -> None:
    """With `slow_client: disconnect` a full queue ends the connection."""
    sink, context = await start(queue=2, slow_client="disconnect")
    raw = await raw_client(sink, receive_buffer=2048)
    await subscribed(sink)
    while not context.counts.get("disconnected"):
        await write(sink, "x" * 100_000)
        await asyncio.sleep(0.001)
    await until(lambda: not server(sink).clients)
    raw.close()


async def test_a_client_that_takes_nothing_is_disconnected(start: Start) -> None:
    """After `stall_seconds` without progress the connection is cut."""
    sink, context = await start(stall_seconds=0.2)
    raw = await raw_client(sink, receive_buffer=2048)
    await subscribed(sink)
    while not context.counts.get("disconnected"):
        await write(sink, "x" * 100_000)
        await asyncio.sleep(0.001)
    await until(lambda: not server(sink).clients)
    raw.close()


async def test_pings_of_a_client_that_never_reads_do_not_pile_up(start: Start) -> None:
    """The answers to a flood of pings are bounded, because no more is read."""
    sink, _ = await start()
    raw = await raw_client(sink, receive_buffer=2048)
    await until(lambda: len(server(sink).clients) == 1)
    connection = next(iter(server(sink).clients)).connection
    ping = b"\x89\xfd" + bytes(4) + b"p" * 125
    loop = asyncio.get_running_loop()
    flood = loop.create_task(loop.sock_sendall(raw, ping * 400_000))
    await until(lambda: connection.paused)
    assert connection.transport.get_write_buffer_size() < 1_000_000
    assert not connection.transport.is_reading()
    flood.cancel()
    await asyncio.gather(flood, return_exceptions=True)
    raw.close()


# -- admission ------------------------------------------------------------------------------------


async def refused(sink: Websocket, target: str = "/", **options: Any) -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url(sink, target), **options):
            pass
    return caught.value.response.status_code


async def test_foreign_pages_and_names_are_refused_before_the_upgrade(start: Start) -> None:
    """Origin, Host, channel and token in the address are checked in the handshake."""
    sink, context = await start()
    assert await refused(sink, origin="https://evil.example") == 403
    assert await refused(sink, origin="null") == 403
    assert await refused(sink, additional_headers={"Host": "evil.example"}) in (400, 403)
    assert await refused(sink, "/nothing") == 404
    assert await refused(sink, "/?token=x") == 400
    assert context.counts == {"refused": 5}
    async with connect(url(sink), origin="http://127.0.0.1:8000") as client:  # type: ignore[arg-type]
        assert (await hear(client))["type"] == "hello"


async def test_a_rebound_name_is_refused(start: Start) -> None:
    """A Host header of another name does not reach a server on the loopback."""
    sink, _ = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.bound_port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 403 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_the_token_may_come_in_a_header_or_in_the_first_message(start: Start) -> None:
    """Both ways give the same greeting; before it nothing is told."""
    sink, _ = await start(token=TOKEN)
    async with connect(url(sink), additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        assert (await hear(client))["type"] == "hello"
    async with connect(url(sink)) as client:
        await client.send(json.dumps({"type": "auth", "token": TOKEN}))
        assert (await hear(client))["type"] == "hello"


@pytest.mark.parametrize("first", [{"type": "auth", "token": "wrong"}, {"type": "ping"}, [], b"\x00"])
async def test_without_the_token_the_connection_is_closed_with_1008(start: Start, first: Any) -> None:
    """Anything but the token as the first message ends it."""
    sink, context = await start(token=TOKEN)
    async with connect(url(sink)) as client:
        await client.send(first if isinstance(first, bytes) else json.dumps(first))
        assert await closed(client) == 1008
    assert context.counts == {"refused": 1}


async def test_a_wrong_header_is_401_and_silence_ends_in_time(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong bearer is refused at once, a silent client after its time."""
    monkeypatch.setattr("streamweaver_sinks.websocket.session.AUTH_SECONDS", 0.05)
    sink, _ = await start(token=TOKEN)
    assert await refused(sink, additional_headers={"Authorization": "Bearer wrong"}) == 401
    async with connect(url(sink)) as client:
        assert await closed(client) == 1008


async def test_the_token_is_never_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Not by us nor by the library, not even at debug level; nor is it in the sink's repr."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets.client").setLevel(logging.WARNING)
    sink, context = await start(token=TOKEN)
    async with connect(url(sink), additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        await hear(client)
    await refused(sink, additional_headers={"Authorization": f"Bearer {TOKEN}x"})
    await refused(sink, f"/?token={TOKEN}")
    await sink.close()
    for text in (caplog.text, repr(context.logged), repr(sink)):
        assert TOKEN not in text


async def test_clients_are_limited_in_all_and_by_address(start: Start) -> None:
    """Beyond the limits the handshake is refused, and a place that gets free is given again."""
    sink, _ = await start(max_clients=1)
    async with connect(url(sink)):
        assert await refused(sink) == 503
    await until(lambda: not server(sink)._connections)
    async with connect(url(sink)) as client:
        assert (await hear(client))["type"] == "hello"
    sink, _ = await start(max_clients_per_address=1)
    async with connect(url(sink)):
        assert await refused(sink) == 429


async def test_half_open_handshakes_end_in_time(start: Start) -> None:
    """A client that sends half a request, or none, is cut off."""
    sink, _ = await start(handshake_seconds=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.bound_port)
    writer.write(b"GET / HTTP/1.1\r\nHost: ")
    async with asyncio.timeout(10):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    await until(lambda: not server(sink)._connections)


# -- life -----------------------------------------------------------------------------------------


async def test_close_says_going_away_and_frees_the_port(start: Start) -> None:
    """Clients see 1001, a half-open handshake does not hold it up, and the same port can be opened again."""
    sink, context = await start()
    port = sink.bound_port
    half = socket.create_connection(("127.0.0.1", port))
    await until(lambda: len(server(sink)._connections) == 1)
    async with connect(url(sink)) as client:
        await hear(client)
        closing = asyncio.create_task(sink.close())
        assert await closed(client) == 1001
        await closing
    half.close()
    assert sink.bound_port is None
    sink.port = port or 0
    await sink.open(context)
    assert sink.bound_port == port
    async with connect(url(sink)) as client:
        assert (await hear(client))["type"] == "hello"
    await sink.close()
    await sink.close()


async def test_a_port_in_use_is_fatal_and_named(start: Start) -> None:
    """The text names the port and the option to change."""
    sink, _ = await start()
    other = Websocket(port=sink.bound_port or 0)
    context: Any = FakeContext()
    with pytest.raises(Fatal, match=rf"port {sink.bound_port} of 127\.0\.0\.1 is in use: .*`port`"):
        await other.open(context)
    await other.close()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"host": "0.0.0.0"}, "there is no token"),
        ({"host": "::"}, "there is no token"),
        ({"tls_key": Path("x")}, "belong together"),
        ({"tls_certificate": Path("x")}, "belong together"),
    ],
)
def test_contradictory_options_are_refused_when_the_file_is_read(options: dict[str, Any], why: str) -> None:
    """An open door or half a certificate is found before anything runs."""
    with pytest.raises(ValueError, match=why):
        Websocket(**options)


async def test_other_addresses_are_possible_with_a_token_or_on_purpose(start: Start) -> None:
    """With a token but without TLS there is a warning; with allow_anonymous anyone may come."""
    _, context = await start(host="0.0.0.0", token=TOKEN)
    assert context.logged[0][1] == "websocket: the token travels unencrypted; set tls_certificate and tls_key"
    sink, context = await start(host="0.0.0.0", allow_anonymous=True)
    async with connect(url(sink)) as client:
        assert (await hear(client))["type"] == "hello"


async def test_tls(start: Start, tmp_path: Path) -> None:
    """With a certificate the server speaks wss; a certificate that cannot be read is fatal."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    done = subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    assert done.returncode == 0
    sink, _ = await start(tls_certificate=certificate, tls_key=key)
    trust = ssl.create_default_context(cafile=str(certificate))
    async with connect(url(sink).replace("ws:", "wss:"), ssl=trust) as client:
        await hear(client)
        await subscribed(sink)
        await write(sink, 1)
        assert (await hear(client))["records"][0]["value"] == 1
    with pytest.raises(Fatal, match="cannot use"):
        await start(tls_certificate=tmp_path / "missing.pem", tls_key=key)
    with pytest.raises(Fatal, match="cannot use"):
        await start(tls_certificate=key, tls_key=key)


async def test_written_before_opened_is_an_error() -> None:
    """The verb needs `open` first; `close` does not."""
    sink = Websocket()
    with pytest.raises(Fatal):
        await write(sink, 1)
    await sink.close()


async def test_a_probe_says_whether_the_port_is_free() -> None:
    """It does not keep the port; two sinks on one port claim the same, and a sink on any free port claims none."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Fatal, match=f"port {port} of 127.0.0.1 is in use"):
            await Websocket(port=port).probe()
    await Websocket(port=port).probe()
    await Websocket(port=port).probe()
    assert Websocket(port=port).claims() == [f"port {port}"]
    assert Websocket(port=0).claims() == []
