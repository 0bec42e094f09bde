"""Connections: logins, tokens and certificates against a real broker, and one clear line for whatever is wrong."""

import asyncio
import json
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from tools.kafka.local import free_port

from kafka_server import local_kafka
from streamweaver import BrokerContext, BrokerError
from streamweaver.testing.broker import PATIENCE, all_of, append, lane_of, rows, topic
from streamweaver_brokers.kafka import Kafka
from streamweaver_brokers.kafka.client import SETTINGS, check_settings

PASSWORD = "alice's secret"
KEY_PASSWORD = "the key's secret"


@attrs.frozen
class Secured:
    """A broker with TLS, SCRAM, tokens and client certificates, and the certificate that it is to be known by."""

    folder: Path
    address: str
    """Where it wants a login over TLS."""
    mutual_address: str
    """Where it wants a certificate of ours."""
    plain_port: int

    @property
    def ca_file(self) -> Path:
        """The certificate that it is to be known by."""
        return self.folder / "server.pem"

    def made(self, **options: Any) -> Kafka:
        """Return a broker plugin that fits, but for what `options` change."""
        right = {
            "servers": [self.address],
            "security": "SASL_SSL",
            "username": "alice",
            "password": PASSWORD,
            "ca_file": self.ca_file,
            "request_seconds": 2.0,
        }
        return Kafka(**{**right, **options})

    def mutual(self, **options: Any) -> Kafka:
        """Return a broker plugin that shows a certificate, but for what `options` change."""
        right = {
            "servers": [self.mutual_address],
            "security": "SSL",
            "certificate_file": self.folder / "client.pem",
            "key_file": self.folder / "client.key",
            "key_password": KEY_PASSWORD,
        }
        return self.made(username=None, password=None, **{**right, **options})

    def token(self, seconds: float) -> Path:
        """Write an OAuth token for that long; the broker takes those without a signature."""
        parts = {"alg": "none"}, {"sub": "alice", "iat": time.time() - 3_600, "exp": time.time() + seconds}
        encoded = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        path = self.folder / f"token{seconds}"
        path.write_text(".".join([*encoded, ""]) + "\n")
        return path


def _certificate(folder: Path, name: str, *more: str) -> None:
    files = ("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))
    kind = ("req", "-x509", "-newkey", "rsa:2048", "-days", "30", "-subj", f"/CN={name}")
    subprocess.run(["openssl", *kind, *files, *more], check=True, capture_output=True)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Start a broker that wants SASL_SSL or client certificates; its user exists from the first start on."""
    folder = tmp_path_factory.mktemp("secured")
    _certificate(folder, "server", "-nodes", "-addext", "subjectAltName=IP:127.0.0.1")
    _certificate(folder, "client", "-passout", f"pass:{KEY_PASSWORD}")
    _certificate(folder, "stranger", "-nodes")
    store = folder / "store.pem"
    store.write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
    port, mutual_port = free_port(), free_port()
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    users = " ".join(f'user_{name}="{PASSWORD}"' for name in ("bob", "worker", "viewer"))
    plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
    oauth = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
    mechanisms = {"scram-sha-256": scram, "scram-sha-512": scram, "plain": plain, "oauthbearer": oauth}
    kafka = local_kafka(
        folder / "kafka",
        settings={
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(folder / "client.pem"),
            # Whoever has not been given rights has them all, but for these two.
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:alice;User:bob;User:CN=client",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL",
            "listener.name.mutual.ssl.client.auth": "required",
            **{f"listener.name.secure.{name}.sasl.jaas.config": module for name, module in mechanisms.items()},
        },
    )
    properties = kafka._properties
    more = f",SECURE://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual_port}"
    properties["listeners"] += more
    properties["advertised.listeners"] += more
    properties["inter.broker.listener.name"] = "PLAINTEXT"
    kafka.format_arguments = [
        *("--add-scram", f'SCRAM-SHA-256=[name="alice",password="{PASSWORD}"]'),
        *("--add-scram", f'SCRAM-SHA-512=[name="alice",password="{PASSWORD}"]'),
    ]
    try:
        kafka.start()
        yield Secured(folder, f"127.0.0.1:{port}", f"127.0.0.1:{mutual_port}", kafka.port)
    finally:
        kafka.kill()


async def refusal(broker: Kafka, tmp_path: Path) -> str:
    """Return the text of the error that opening ends with."""
    with pytest.raises(BrokerError) as caught:
        await broker.open(BrokerContext(pipeline="test", data_dir=tmp_path))
    text = str(caught.value)
    assert "\n" not in text
    assert PASSWORD not in text
    return text


@pytest.mark.parametrize("how", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER", "certificate"])
async def test_everything_goes_through_a_secured_connection(secured: Secured, tmp_path: Path, how: str) -> None:
    """Topics, appends, groups, transactions and readers all log in, or show their certificate."""
    if how == "certificate":
        broker = secured.mutual()
    elif how == "OAUTHBEARER":
        broker = secured.made(mechanism=how, username=None, password=None, token_file=secured.token(600))
    else:
        broker = secured.made(mechanism=how, username="bob" if how == "PLAIN" else "alice")
    await broker.open(BrokerContext(pipeline="test", data_dir=tmp_path))
    try:
        name = await topic(broker)
        await append(broker, name, 0, rows([b"in"]))
        async with lane_of(broker, f"{name}.group", name) as lane:
            (fetched,) = await lane.poll(timeout=20)
            unit = lane.begin()
            unit.append(name, 0, rows([b"out"]))
            unit.mark(name, 0, fetched.next_offset)
            await unit.commit()
        assert [value for _, value, _, _ in await all_of(broker, name, 0, 2)] == [b"in", b"out"]
    finally:
        await broker.close()


async def test_an_expired_token_is_one_clear_line(secured: Secured, tmp_path: Path) -> None:
    """The broker's refusal of a token names the file to look at; a missing one is named, too."""
    options: dict[str, Any] = {"mechanism": "OAUTHBEARER", "username": None, "password": None}
    text = await refusal(secured.made(**options, token_file=secured.token(-60)), tmp_path)
    assert "token" in text
    assert secured.address in text
    assert "missing" in await refusal(secured.made(**options, token_file=tmp_path / "missing"), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"certificate_file": None, "key_file": None, "key_password": None}, id="none"),
        pytest.param(
            {"certificate_file": "stranger.pem", "key_file": "stranger.key", "key_password": None}, id="other"
        ),
    ],
)
async def test_a_broker_that_does_not_know_us_is_one_clear_line(
    secured: Secured, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Without a certificate, or with a stranger's, it says that the broker wants one that it trusts."""
    files = {name: secured.folder / value if value else None for name, value in options.items()}
    text = await refusal(secured.mutual(**files), tmp_path)
    assert "certificate_file" in text
    assert secured.mutual_address in text


async def test_a_wrong_key_password_is_one_clear_line(secured: Secured, tmp_path: Path) -> None:
    """A key that cannot be opened is named, without the password."""
    text = await refusal(secured.mutual(key_password="not it at all"), tmp_path)
    assert "client.key" in text
    assert "not it at all" not in text


async def test_a_wrong_password_is_one_clear_line(secured: Secured, tmp_path: Path) -> None:
    """The broker's refusal is told as such, without the password."""
    text = await refusal(secured.made(password="wrong"), tmp_path)
    assert "refuses username and password" in text
    assert secured.address in text


async def test_an_untrusted_certificate_is_one_clear_line(secured: Secured, tmp_path: Path) -> None:
    """A server whose certificate we do not know is not talked to."""
    text = await refusal(secured.made(ca_file=None), tmp_path)
    assert "certificate" in text
    assert "ca_file" in text


async def test_a_certificate_file_that_is_none_is_named(secured: Secured, tmp_path: Path) -> None:
    """A missing file and one without certificates are told before anything is connected."""
    assert "missing.pem" in await refusal(secured.made(ca_file=tmp_path / "missing.pem"), tmp_path)
    (tmp_path / "empty.pem").write_text("nothing")
    assert "PEM" in await refusal(secured.made(ca_file=tmp_path / "empty.pem"), tmp_path)
    assert "key_file" in await refusal(secured.made(certificate_file=tmp_path / "missing.pem"), tmp_path)


async def test_the_wrong_port_is_one_clear_line(secured: Secured, tmp_path: Path) -> None:
    """TLS against a port that does not speak it, and a port where nobody listens."""
    text = await refusal(secured.made(servers=[f"127.0.0.1:{secured.plain_port}"]), tmp_path)
    assert str(secured.plain_port) in text
    closed = free_port()
    text = await refusal(secured.made(servers=[f"127.0.0.1:{closed}"]), tmp_path)
    assert f"127.0.0.1:{closed}" in text
    assert "is it started" in text


async def test_options_that_do_not_go_together_are_told(tmp_path: Path) -> None:
    """What a mechanism or a compression needs is asked for by name."""
    basis: dict[str, Any] = {"servers": ["127.0.0.1:1"], "security": "SASL_PLAINTEXT"}
    assert "needs username and password" in await refusal(Kafka(**basis, username="alice"), tmp_path)
    assert "token_file" in await refusal(Kafka(**basis, mechanism="OAUTHBEARER"), tmp_path)


def test_secrets_do_not_show() -> None:
    """Neither password is in the plugin's `repr`."""
    shown = repr(Kafka(servers=["a:1"], password="hush", key_password="hush too"))
    assert "hush" not in shown


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"acks": "0"}, "expected one of metadata_max_age_ms"),
        ({"linger_ms": "5"}, "linger_ms: got '5', expected int"),
        ({"check_crcs": 1}, "expected bool"),
        ({"fetch_min_bytes": -1}, "no less than 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], words: str) -> None:
    """What decides guarantees cannot be set, and the rest has its type."""
    with pytest.raises(ValueError, match=words):
        check_settings(settings)
    with pytest.raises(ValueError, match=words):
        Kafka(servers=["a:1"], settings=settings)


def test_every_setting_may_be_given() -> None:
    """All that are listed are accepted."""
    check_settings(SETTINGS)


# -- rights ---------------------------------------------------------------------------------------

KINDS = {"topics": 2, "consumer groups": 3, "transactional ids": 5}
RIGHTS = {"READ": 3, "WRITE": 4, "CREATE": 5, "DESCRIBE": 8, "DESCRIBE_CONFIGS": 10}
"""As the protocol numbers them."""

LITERAL, PREFIXED, ALLOW = 3, 4, 3

PIPELINE = """
name: shop
delivery: {delivery}
broker:
  use: kafka
  servers: ["{address}"]
  security: SASL_SSL
  mechanism: PLAIN
  username: {user}
  password: "{password}"
  ca_file: {ca_file}
topics: {{orders: {{}}}}
producers:
  file: {{use: ndjson_file, path: {folder}/orders.ndjson, to: orders, key: id}}
flows:
  prices:
    from: orders
    steps: [{{use: convert, types: {{price: float}}}}, {{use: moving_average, field: price, by: id, size: 2}}]
    to: shop.prices
sinks:
  out: {{use: file, from: shop.prices, path: {folder}/out.ndjson}}
"""


async def grant(secured: Secured, user: str, kind: str, rights: Iterable[str]) -> None:
    """Give a user rights on what the pipeline names, and on all names that begin with its own and a dot."""
    admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{secured.plain_port}")
    await admin.start()
    try:
        for right in rights:
            names = [("shop.", PREFIXED), *([("orders", LITERAL)] if kind == "topics" else [])]
            for name, pattern in names:
                wanted = CreateAclsRequest(KINDS[kind], name, pattern, f"User:{user}", "*", RIGHTS[right], ALLOW)
                answer = await admin._send_request(wanted)
                assert [code for code, _ in answer.creation_responses] == [0]
    finally:
        await admin.close()


def documented() -> dict[str, list[str]]:
    """Return the rights that the manual lists for a pipeline, without those for `alter_topics`."""
    manual = Path(__file__).parents[4] / "docs/operate/security.md"
    rows = [line.strip("| ").split(" | ") for line in manual.read_text().splitlines() if line.startswith("| ")]
    found = {row[0]: row[1].partition(";")[0].split(", ") for row in rows if row[0] in KINDS}
    assert found.keys() == KINDS.keys()
    return found


async def said(*arguments: object) -> tuple[int, str, str]:
    """Run the program; returns the exit status, and what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("streamweaver")), *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_rights_in_the_manual_are_enough(secured: Secured, tmp_path: Path) -> None:
    """With a pipeline's it does all that it does, with either guarantee; with a viewer's all can be seen."""
    lines = [*({"id": f"k{n % 3}", "price": str(n)} for n in range(20)), {"id": "bad", "price": "cheap"}]
    (tmp_path / "orders.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def file(user: str, delivery: str) -> Path:
        path = tmp_path / f"{user}-{delivery}.yaml"
        given = {"address": secured.address, "password": PASSWORD, "ca_file": secured.ca_file, "folder": tmp_path}
        path.write_text(PIPELINE.format(user=user, delivery=delivery, **given))
        return path

    up = ("pipeline", "up", "--until-idle", "--json", "--data", tmp_path / "data")
    status, _, err = await said(*up, file("worker", "exactly_once"))
    assert status == 1
    assert "grant it" in err
    for kind, rights in documented().items():
        await grant(secured, "worker", kind, rights)
    await grant(secured, "viewer", "topics", ["READ", "DESCRIBE", "DESCRIBE_CONFIGS"])
    await grant(secured, "viewer", "consumer groups", ["DESCRIBE"])
    for delivery, count in (("exactly_once", 20), ("at_least_once", 0)):
        status, out, err = await said(*up, file("worker", delivery))
        assert status == 0, err
        assert json.loads(out)["stages"]["out"]["out"] == count
    assert len((tmp_path / "out.ndjson").read_text().splitlines()) == 20
    seen = file("viewer", "exactly_once")
    shown = await asyncio.gather(
        said("pipeline", "status", seen, "--json"),
        said("topic", "list", seen),
        said("topic", "tail", seen, "shop.prices", "--json"),
        said("dlq", "list", seen, "--json"),
        said("dlq", "replay", seen, "--all"),
    )
    # It is not running, which `status` says by its exit status, too.
    assert [status for status, _, _ in shown] == [1, 0, 0, 0, 1], shown
    assert json.loads(shown[0][1])["stages"].keys() == {"file", "prices", "out"}
    assert [len(out.splitlines()) for _, out, _ in shown[2:4]] == [20, 1]
    assert "grant it" in shown[-1][2]
