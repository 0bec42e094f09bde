"""Connections: SASL_SSL with SCRAM against a real broker, and one clear line for whatever is wrong."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from kafka_server import load_tool, local_kafka
from streamweaver import BrokerContext, BrokerError
from streamweaver.testing.broker import all_of, append, lane_of, rows, topic
from streamweaver_brokers.kafka import Kafka
from streamweaver_brokers.kafka.client import SETTINGS, check_settings

PASSWORD = "alice's secret"


@attrs.frozen
class Secured:
    """A broker with TLS and SCRAM, and the certificate that it is to be known by."""

    address: str
    ca_file: Path
    plain_port: int


def _keytool(*arguments: str) -> None:
    subprocess.run(["keytool", *arguments, "-storepass", "changeit", "-noprompt"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Start a broker that wants SASL_SSL; its user exists from the first start on."""
    folder = tmp_path_factory.mktemp("secured")
    port = load_tool().free_port()
    store, ca_file = folder / "server.jks", folder / "ca.pem"
    kafka = local_kafka(
        folder / "kafka",
        settings={
            "ssl.keystore.location": str(store),
            "ssl.keystore.password": "changeit",
            "ssl.key.password": "changeit",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
            **{
                f"listener.name.secure.{mechanism}.sasl.jaas.config": module
                for mechanism, module in {
                    "scram-sha-256": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
                    "scram-sha-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
                    "plain": f'org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="{PASSWORD}";',
                }.items()
            },
        },
    )
    properties = kafka._properties
    properties["listeners"] += f",SECURE://127.0.0.1:{port}"
    properties["advertised.listeners"] += f",SECURE://127.0.0.1:{port}"
    properties["inter.broker.listener.name"] = "PLAINTEXT"
    _keytool(
        *("-genkeypair", "-keystore", str(store), "-alias", "server", "-keyalg", "RSA", "-validity", "30"),
        *("-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-storetype", "PKCS12"),
    )
    _keytool("-exportcert", "-keystore", str(store), "-alias", "server", "-rfc", "-file", str(ca_file))
    kafka.format_arguments = [
        *("--add-scram", f'SCRAM-SHA-256=[name="alice",password="{PASSWORD}"]'),
        *("--add-scram", f'SCRAM-SHA-512=[name="alice",password="{PASSWORD}"]'),
    ]
    try:
        kafka.start()
        yield Secured(f"127.0.0.1:{port}", ca_file, kafka.port)
    finally:
        kafka.stop()


def made(secured: Secured, **options: Any) -> Kafka:
    """Return a broker plugin that fits, but for what `options` change."""
    right = {
        "servers": [secured.address],
        "security": "SASL_SSL",
        "username": "alice",
        "password": PASSWORD,
        "ca_file": secured.ca_file,
        "request_seconds": 2.0,
    }
    return Kafka(**{**right, **options})


async def refusal(broker: Kafka, tmp_path: Path) -> str:
    """Return the text of the error that opening ends with."""
    with pytest.raises(BrokerError) as caught:
        await broker.open(BrokerContext(pipeline="test", data_dir=tmp_path))
    text = str(caught.value)
    assert "\n" not in text
    assert PASSWORD not in text
    return text


@pytest.mark.parametrize(
    "options",
    [
        {"mechanism": "SCRAM-SHA-512"},
        {"mechanism": "SCRAM-SHA-256"},
        {"mechanism": "PLAIN", "username": "bob"},
    ],
    ids=lambda options: options["mechanism"],
)
async def test_everything_goes_through_a_secured_connection(
    secured: Secured, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Topics, appends, groups, transactions and readers all log in."""
    broker = made(secured, **options)
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


async def test_a_wrong_password_is_one_clear_line(secured: Secured, tmp_path: Path) -> None:
    """The broker's refusal is told as such, without the password."""
    text = await refusal(made(secured, password="wrong"), tmp_path)
    assert "refuses username and password" in text
    assert secured.address in text


async def test_an_untrusted_certificate_is_one_clear_line(secured: Secured, tmp_path: Path) -> None:
    """A server whose certificate we do not know is not talked to."""
    text = await refusal(made(secured, ca_file=None), tmp_path)
    assert "certificate" in text
    assert "ca_file" in text


async def test_a_certificate_file_that_is_none_is_named(secured: Secured, tmp_path: Path) -> None:
    """A missing file and one without certificates are told before anything is connected."""
    assert "missing.pem" in await refusal(made(secured, ca_file=tmp_path / "missing.pem"), tmp_path)
    (tmp_path / "empty.pem").write_text("nothing")
    assert "PEM" in await refusal(made(secured, ca_file=tmp_path / "empty.pem"), tmp_path)
    assert "key_file" in await refusal(made(secured, certificate_file=tmp_path / "missing.pem"), tmp_path)


async def test_the_wrong_port_is_one_clear_line(secured: Secured, tmp_path: Path) -> None:
    """TLS against a port that does not speak it, and a port where nobody listens."""
    text = await refusal(made(secured, servers=[f"127.0.0.1:{secured.plain_port}"]), tmp_path)
    assert str(secured.plain_port) in text
    closed = load_tool().free_port()
    text = await refusal(made(secured, servers=[f"127.0.0.1:{closed}"]), tmp_path)
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
