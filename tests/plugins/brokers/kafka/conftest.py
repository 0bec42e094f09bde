"""Opening kafka brokers in tests."""

import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from kafka_server import kafka_address  # noqa: F401 - a fixture
from streamweaver import BrokerContext
from streamweaver_brokers.kafka import Kafka

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test fail for what the client forgets: a connection that is being made while it is closed."""
    # Every test of the run is given, and of a file all have the same path.
    ours = {path: path.is_relative_to(HERE) for path in {item.path for item in items}}
    for item in items:
        if ours[item.path]:
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Collect what the client has forgotten, so that it fails no test of another folder either."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


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
