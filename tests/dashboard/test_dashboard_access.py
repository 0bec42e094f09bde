"""Who is let in, over real sockets; and what is never told."""

import asyncio
import http.client
import json
import shutil
import socket
import ssl
import subprocess

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamweaver.config.dashboard import DashboardConfig
from streamweaver_dashboard import server as server_module
from streamweaver_dashboard.access import Access, RefusedError

TOKENS = ("dashboard.token=admin-token-1", "dashboard.reader_token=reader-token-1")


def cookie(answer):
    return answer.headers["set-cookie"].partition(";")[0]


async def log_in(running, token="admin-token-1"):
    answer = await running.fetch("/api/session", method="POST", body={"token": token})
    assert answer.status == 200
    return {"Cookie": cookie(answer)}


# -- where a request comes from -------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example.com", "evil.example.com:8700", "127.0.0.1.nip.io", "", "[::"])
async def test_a_foreign_host_is_refused(dashboard, host):
    """A page that has rebound its own name to this machine gets nothing, by HTTP or WebSocket."""
    async with dashboard() as running:
        answer = await running.fetch("/api/pipeline", headers={"Host": host})
        assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8700", 200),
        ("127.0.0.1:8700", 200),
        ("web:8700", 200),
        ("172.17.0.2:8700", 200),
        ("evil.example.com", 403),
    ],
)
async def test_without_a_token_only_named_hosts_are_served_on_any_address(dashboard, host, status):
    """Behind a published port loopback names, addresses and `hosts` are served, and still no name that was rebound."""
    settings = ("dashboard.host=0.0.0.0", "dashboard.allow_anonymous=true", 'dashboard.hosts=["web"]')
    async with dashboard(*settings) as running:
        answer = await running.fetch("/api/pipeline", headers={"Host": host})
        assert answer.status == status


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://localhost:1", "file://", "http://"])
async def test_a_foreign_origin_is_refused_before_the_upgrade(dashboard, origin):
    """A page of another site (or port) neither reads nor connects."""
    async with dashboard() as running:
        answer = await running.fetch("/api/pipeline", headers={"Origin": origin})
        assert answer.status == 403
        with pytest.raises(InvalidStatus) as refused:
            async with running.live(origin=origin):
                pass
        assert refused.value.response.status_code == 403


async def test_the_own_page_and_listed_ones_are_let_in(dashboard):
    """The page of this very address needs no entry, others need one."""
    async with dashboard('dashboard.origins=["https://app.example.com"]') as running:
        for origin in (f"http://127.0.0.1:{running.port}", "https://app.example.com"):
            async with running.live(origin=origin) as viewer:
                assert viewer.hello["pipeline"] == "shop"
            assert (await running.fetch("/api/pipeline", headers={"Origin": origin})).status == 200


async def test_a_token_in_the_address_is_refused(dashboard):
    """Addresses end up in logs, so a token there is an error, not a way in."""
    async with dashboard(*TOKENS) as running:
        answer = await running.fetch("/api/pipeline?token=admin-token-1")
        assert answer.status == 400
        assert b"admin-token-1" not in answer.body


async def test_two_of_a_header_that_counts_are_refused(dashboard):
    """Two Origins (or Authorizations) cannot be played off against each other."""
    async with dashboard() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        own = f"127.0.0.1:{running.port}".encode()
        writer.write(
            b"GET /api/pipeline HTTP/1.1\r\nHost: "
            + own
            + b"\r\nOrigin: http://"
            + own
            + b"\r\nOrigin: http://x\r\n\r\n"
        )
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()


@pytest.mark.parametrize("path", ["/api/dead-letters/replay", "/api/dead-letters/discard", "/api/session"])
async def test_a_changing_request_needs_the_header(dashboard, path):
    """A form of another site cannot send the header, so it changes nothing."""
    async with dashboard() as running:
        answer = await running.fetch(path, method="POST", body={"ids": ["0:1"]}, csrf=False)
        assert (answer.status, answer.json["error"]["code"]) == (403, "csrf")


async def test_every_answer_carries_its_headers(dashboard):
    """The page may run its own scripts only, is in no frame, and data is never cached."""
    async with dashboard() as running:
        for path in ("/", "/api/pipeline", "/api/no-such-thing", "/healthz"):
            answer = await running.fetch(path)
            policy = answer.headers["content-security-policy"]
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await running.fetch("/api/pipeline")).headers["cache-control"] == "no-store"


# -- logging in -----------------------------------------------------------------------------------


async def test_with_a_token_one_logs_in(dashboard):
    """Without log-in nothing is told; the cookie that opens everything is out of reach for scripts and other sites."""
    async with dashboard(*TOKENS) as running:
        who = (await running.fetch("/api/session")).json
        assert (who["role"], who["login"], who["pipeline"]) == (None, True, None)
        for path in ("/api/pipeline", "/api/alerts", "/metrics", "/api/topics/orders/records"):
            answer = await running.fetch(path)
            assert (answer.status, answer.json["error"]["code"]) == (401, "login")
        with pytest.raises(InvalidStatus):
            async with running.live():
                pass
        answer = await running.fetch("/api/session", method="POST", body={"token": "admin-token-1"})
        assert answer.json["role"] == "admin"
        set_cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in set_cookie
        assert "samesite=strict" in set_cookie
        session = {"Cookie": cookie(answer)}
        assert (await running.fetch("/api/pipeline", headers=session)).status == 200
        async with running.live(additional_headers=session) as viewer:
            assert viewer.hello["role"] == "admin"
        assert "admin-token-1" not in json.dumps(running.logged)


async def test_a_program_sends_its_token_in_a_header(dashboard):
    """Bearer works for scrapes and scripts, a wrong one is 401."""
    async with dashboard(*TOKENS) as running:
        good = {"Authorization": "Bearer reader-token-1"}
        assert (await running.fetch("/metrics", headers=good)).status == 200
        async with running.live(additional_headers=good) as viewer:
            assert viewer.hello["role"] == "reader"
        assert (await running.fetch("/metrics", headers={"Authorization": "Bearer nonsense"})).status == 401


async def test_a_reader_changes_nothing(dashboard):
    """The role reader reads everything and is refused every change."""
    async with dashboard(*TOKENS) as running:
        session = await log_in(running, "reader-token-1")
        assert (await running.fetch("/api/dead-letters", headers=session)).status == 200
        body = {"ids": ["0:1"], "dry_run": True}
        answer = await running.fetch("/api/dead-letters/discard", method="POST", body=body, headers=session)
        assert (answer.status, answer.json["error"]["code"]) == (403, "read_only")


async def test_read_only_holds_for_everybody(dashboard):
    """With read_only the open loopback dashboard, too, lets nobody change anything."""
    async with dashboard("dashboard.read_only=true") as running:
        assert (await running.fetch("/api/session")).json["role"] == "reader"
        answer = await running.fetch("/api/dead-letters/discard", method="POST", body={"ids": ["0:1"]})
        assert answer.status == 403


async def test_logging_out_ends_the_session_and_its_live_views(dashboard, monkeypatch):
    """After log-out the cookie opens nothing, and an open WebSocket is closed."""
    from streamweaver_dashboard import live as live_module

    monkeypatch.setattr(live_module, "SESSION_CHECK_SECONDS", 0.05)
    async with dashboard(*TOKENS) as running:
        session = await log_in(running)
        async with running.live(additional_headers=session) as viewer:
            answer = await running.fetch("/api/session", method="DELETE", headers=session)
            assert answer.json["role"] is None
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await viewer.hear()
            assert closed.value.rcvd.code == 1008
        assert (await running.fetch("/api/pipeline", headers=session)).status == 401


async def test_guessing_is_slow(dashboard):
    """After five wrong tokens in a minute even the right one has to wait, and is told how long."""
    async with dashboard(*TOKENS) as running:
        for _ in range(5):
            answer = await running.fetch("/api/session", method="POST", body={"token": "wrong-token"})
            assert answer.status == 401
        answer = await running.fetch("/api/session", method="POST", body={"token": "admin-token-1"})
        assert answer.status == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert (await running.fetch("/metrics", headers={"Authorization": "Bearer admin-token-1"})).status == 429


def test_guessing_is_forgotten_after_a_minute():
    """The limit looks at the last minute only, and a session ends after its time."""
    now = [0.0]
    access = Access(DashboardConfig(token="a-long-token"), lambda: now[0])
    for _ in range(5):
        with pytest.raises(RefusedError):
            access.log_in("x", "a")
    with pytest.raises(RefusedError) as refused:
        access.log_in("a-long-token", "a")
    assert refused.value.status == 429
    assert access.log_in("a-long-token", "another address")[1] == "admin"
    now[0] = 61.0
    name, _ = access.log_in("a-long-token", "a")
    assert access.role({"cookie": f"streamweaver_session={name}"}) == "admin"
    assert access.is_open(name)
    now[0] += 12 * 3600
    assert access.role({"cookie": f"streamweaver_session={name}"}) is None
    assert not access.is_open(name)


# -- secrets --------------------------------------------------------------------------------------


async def test_no_answer_holds_a_secret(dashboard):
    """The canary in a sink's secret option is in no answer, nor are the dashboard's own tokens."""
    async with dashboard(*TOKENS, "dashboard.webhook=http://127.0.0.1:1/webhook-secret") as running:
        session = await log_in(running)
        paths = ["/api/pipeline", "/api/stages/live", "/api/session", "/metrics", "/api/alerts", "/healthz"]
        bodies = [(await running.fetch(path, headers=session)).body for path in paths]
        everything = b"".join(bodies) + json.dumps(running.logged).encode()
        for secret in (b"canary-secret-token", b"admin-token-1", b"reader-token-1", b"webhook-secret"):
            assert secret not in everything
        stages = {stage["name"]: stage for stage in json.loads(bodies[0])["stages"]}
        options = {option["name"]: option for option in stages["live"]["plugin"]["options"]}
        assert options["token"]["value"] == "***"
        assert options["token"]["secret"]


# -- too much -------------------------------------------------------------------------------------


async def test_a_request_that_does_not_come_is_cut_off(dashboard, monkeypatch):
    """Half a request, in the head or in the body, does not hold a connection for long."""
    monkeypatch.setattr(server_module, "REQUEST_SECONDS", 0.2)
    async with dashboard() as running:
        for half in (
            b"GET / HTTP/1.1\r\nHost: 127",
            (
                b"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1\r\nX-StreamWeaver: 1\r\n"
                b"Content-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            ),
            b"",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(half)
            async with asyncio.timeout(10):
                with pytest.raises(ConnectionError):
                    await reader.read()
                    raise ConnectionResetError
            writer.close()
        assert (await running.fetch("/healthz")).status == 200


async def test_too_many_connections_are_told_so(dashboard, monkeypatch):
    """Beyond the limit a client gets 503 at once, and those who are in stay in."""
    monkeypatch.setattr("streamweaver_dashboard.run.Guard", lambda: server_module.Guard(most=5))
    async with dashboard() as running, running.live() as viewer:
        held = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(4)]
        try:
            await viewer.say(type="ping", id=1)
            assert (await viewer.hear())["id"] == 1
            answer = await running.fetch("/healthz")
            assert (answer.status, answer.json["error"]["code"]) == (503, "too_busy")
        finally:
            for raw in held:
                raw.close()
        async with asyncio.timeout(10):
            while (await running.fetch("/healthz")).status != 200:
                await asyncio.sleep(0.02)


async def test_a_large_body_is_refused(dashboard):
    """A body is read to a limit, never as a whole first."""
    async with dashboard() as running:
        answer = await running.fetch("/api/session", method="POST", body=b"[" * 1_200_000)
        assert (answer.status, answer.json["error"]["code"]) == (413, "too_large")


def test_connections_are_counted_by_address_unless_it_is_a_proxy_s():
    """One address has a share of the places; this machine's, behind which a proxy may be, has all."""
    guard = server_module.Guard(most=10, most_of_address=2)
    assert [guard.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [guard.enter("127.0.0.1") for _ in range(7)] == [True] * 7
    assert not guard.enter("127.0.0.1")
    for _ in range(3):
        guard.leave("192.0.2.1")
    assert guard.enter("192.0.2.1")


# -- TLS ------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_with_a_certificate_everything_is_encrypted(dashboard, tmp_path):
    """HTTPS and wss work with the options' certificate, and the cookie is for encrypted connections only."""
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    trusting = ssl.create_default_context(cafile=str(certificate))
    options = (f"dashboard.tls_certificate={certificate}", f"dashboard.tls_key={key}", *TOKENS)
    async with dashboard(*options) as running:

        def log_in_encrypted():
            connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=trusting, timeout=20)
            headers = {"X-StreamWeaver": "1", "Content-Type": "application/json"}
            connection.request("POST", "/api/session", json.dumps({"token": "admin-token-1"}), headers)
            response = connection.getresponse()
            response.read()
            connection.close()
            return response.status, response.getheader("set-cookie")

        status, set_cookie = await asyncio.to_thread(log_in_encrypted)
        assert status == 200
        assert "secure" in set_cookie.lower()
        session = {"Cookie": set_cookie.partition(";")[0]}
        url = f"wss://127.0.0.1:{running.port}/live"
        async with connect(url, ssl=trusting, additional_headers=session, compression=None) as connection:
            assert json.loads(await connection.recv())["type"] == "hello"
