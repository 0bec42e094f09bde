"""The kafka broker keeps the promises of a broker, asked as anybody would ask: by `plugin test`."""

import json

import pytest
from click.testing import CliRunner

from kafka_server import kafka_address  # noqa: F401 - a fixture
from streamweaver.cli.main import cli


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_kit_finds_nothing_wrong(kafka_address: str) -> None:  # noqa: F811
    """On a real Kafka every behaviour passes; one by one they are tested in `test_kafka_behaviour`."""
    options = f"{{servers: ['{kafka_address}']}}"
    said = CliRunner().invoke(cli, ["plugin", "test", "kafka", "--options", options, "--json"])
    found = json.loads(said.stdout.splitlines()[-1])
    assert [row for row in found["behaviours"] if row["outcome"] == "failed"] == []
    assert sum(row["outcome"] == "passed" for row in found["behaviours"]) > 30
    assert found["guarantee"] == "exactly_once"
