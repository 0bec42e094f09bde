"""Everything encrypted and with log-in: who has no password, no token or no trust gets nothing."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from compose import balance
from compose.stack import OURS, Stack, until

pytestmark = pytest.mark.timeout(600)

CLIENT = """
import asyncio, json, ssl, sys
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

async def main(token):
    trusted = ssl.create_default_context(cafile="/run/secrets/ca")
    try:
        async with connect(
            "wss://websocket_server:8765/stock_prices",
            ssl=trusted,
            additional_headers={"Authorization": f"Bearer {token}"},
        ) as client:
            while json.loads(await client.recv())["type"] != "records":
                pass
            print("records")
    except InvalidStatus as refused:
        print(refused.response.status_code)

asyncio.run(main(open("/run/secrets/websocket_token").read() if sys.argv[1] == "right" else "wrong-token"))
"""

KAFKA = """
import asyncio, ssl, sys
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

async def main(how):
    options = {"plain": {}, "wrong": {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_plain_username": "streamweaver",
        "sasl_plain_password": "wrong", "ssl_context": ssl.create_default_context(cafile="/run/secrets/ca"),
    }}[how]
    client = AIOKafkaProducer(bootstrap_servers="kafka:9092", request_timeout_ms=5000, **options)
    try:
        await asyncio.wait_for(client.start(), 15)
        print("let in")
    except (KafkaError, asyncio.TimeoutError):
        print("refused")
    finally:
        await client.stop()

asyncio.run(main(sys.argv[1]))
"""


EVERYTHING = (
    "compose.cluster.yaml",
    "compose.monitoring.yaml",
    "compose.secure.yaml",
    "compose.secure-cluster.yaml",
    "compose.secure-monitoring.yaml",
)


@pytest.fixture(scope="module", params=["one broker", "three brokers and Prometheus"])
def stack(start: Callable[..., Stack], secrets: Path, request: pytest.FixtureRequest) -> Stack:
    if request.param == "one broker":
        return start("compose.secure.yaml")
    return start(*EVERYTHING, services=("prometheus",))


def fetch(stack: Stack, secrets: Path, path: str, token: str | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(f"https://localhost:{stack.port}{path}")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    trusted = ssl.create_default_context(cafile=str(secrets / "ca.pem"))
    try:
        with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_everything_is_healthy(stack: Stack) -> None:
    """Encrypted and with log-in, every service comes up healthy."""
    assert stack.is_healthy("kafka", *OURS)


def test_the_dashboard_asks_for_its_token(stack: Stack, secrets: Path) -> None:
    """With the right token figures come, without or with a wrong one 401; the certificate is the one that was made."""
    assert fetch(stack, secrets, "/api/pipeline")[0] == 401
    assert fetch(stack, secrets, "/api/pipeline", "wrong-token")[0] == 401
    token = (secrets / "dashboard_token").read_text()
    until(lambda: b"streamweaver_workers" in fetch(stack, secrets, "/metrics", token)[1], "figures")


@pytest.mark.parametrize(("token", "says"), [("right", "records"), ("wrong", "401")])
def test_the_websocket_server_asks_for_its_token(stack: Stack, token: str, says: str) -> None:
    """Through TLS that is checked, the right token gets records and a wrong one 401."""
    assert stack.execute("websocket_server", "python3", "-c", CLIENT, token).strip() == says


@pytest.mark.parametrize("how", ["plain", "wrong"])
def test_the_broker_lets_in_nobody_else(stack: Stack, how: str) -> None:
    """A client without encryption, or with a wrong password, is refused."""
    assert stack.execute("stream_consumer", "python3", "-c", KAFKA, how).strip().splitlines()[-1] == "refused"


def test_prometheus_comes_in_with_its_token(stack: Stack) -> None:
    """Where it is part of the stack, it reads the dashboard through TLS with the token from its file."""
    if not stack.containers_of("prometheus"):
        pytest.skip("no Prometheus in this stack")
    ask = (
        "import json, urllib.request as r; print(json.load(r.urlopen('http://prometheus:9090/api/v1/query?query=up')))"
    )
    until(lambda: "'1'" in stack.execute("web_dashboard", "python3", "-c", ask), "a scrape that succeeds", 60)


def test_no_secret_is_in_logs_or_settings(stack: Stack, secrets: Path) -> None:
    """What Docker shows of the containers, and what they log, holds no password and no token."""
    told = stack.compose("logs", "--no-color") + str([stack.inspect(name) for name in ("kafka", *OURS)])
    for path in secrets.iterdir():
        if path.name.endswith(("_password", "_token")):
            assert path.read_text() not in told, path.name


def test_records_are_what_they_should_be(stack: Stack, pipeline: Path, tmp_path: Path) -> None:
    """What was made is there once, in order, with right averages."""
    balance.quiet(stack)
    assert balance.check(stack, pipeline, tmp_path)["stock_prices"] > 500
