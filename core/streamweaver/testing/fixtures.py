"""Fixtures of pytest: a log for one test, thrown away behind it.

One line in the `conftest.py` of your tests brings them in:

    pytest_plugins = ["streamweaver.testing.fixtures"]

They are plain fixtures, for tests that are coroutines and for tests that are none.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamweaver.testing.scratch import ScratchLog

ADDRESS = "STREAMWEAVER_TEST_KAFKA"
"""The environment variable that names a Kafka for tests: `host:port`, several separated by commas."""

__all__ = ["ADDRESS", "embedded_log", "kafka_log", "kafka_servers"]


@pytest.fixture
def embedded_log(tmp_path: Path) -> ScratchLog:
    """An embedded log in a folder of the test's own."""
    return ScratchLog({"use": "embedded"}, tmp_path / "log")


@pytest.fixture(scope="session")
def kafka_servers() -> list[str]:
    """The addresses of a real Kafka; a test that wants one is skipped where `STREAMWEAVER_TEST_KAFKA` names none.

    Override it to start a broker yourself.
    """
    given = os.environ.get(ADDRESS, "")
    servers = [server.strip() for server in given.split(",") if server.strip()]
    if not servers:
        pytest.skip(f"no Kafka for tests: say {ADDRESS}=host:port")
    return servers


@pytest.fixture
def kafka_log(kafka_servers: list[str], tmp_path: Path) -> Iterator[ScratchLog]:
    """A log on a real Kafka, in topics whose names no other test has; they are removed behind the test.

    A broker that was named and does not answer is an error, not a reason to skip.
    """
    log = ScratchLog({"use": "kafka", "servers": kafka_servers}, tmp_path / "log")
    yield log
    asyncio.run(log.clear())
