"""Opening kafka brokers in tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kafka_server import kafka_address  # noqa: F401 - a fixture
from streamweaver import BrokerContext
from streamweaver_brokers.kafka import Kafka

Launch = Callable[..., Awaitable[Kafka]]


@pytest_asyncio.fixture
async def launch(kafka_address: str, tmp_path: Path) -> AsyncIterator[Launch]:  # noqa: F811
    """Opens brokers; those that are still open are closed at the end."""
    brokers: list[Kafka] = []

    async def opened(context: dict[str, Any] | None = None, **options: Any) -> Kafka:
        broker = Kafka(**{"servers": [kafka_address], **options})
        await broker.open(BrokerContext(**{"pipeline": "test", "data_dir": tmp_path, **(context or {})}))
        brokers.append(broker)
        return broker

    yield opened
    for broker in brokers:
        await broker.close()


@pytest.fixture
def delivery() -> str:
    """The guarantee that brokers are asked for."""
    return "exactly_once"
