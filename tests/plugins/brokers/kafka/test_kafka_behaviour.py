"""The kafka broker shows the behaviour that every broker must show, on a real Kafka, with and without transactions."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from streamweaver import Broker, BrokerContext, Delivery
from streamweaver.testing.broker import CHECKS, Check
from streamweaver_brokers.kafka import Kafka


@pytest.fixture(params=["exactly_once", "at_least_once"])
def make(request: pytest.FixtureRequest, kafka_address: str, tmp_path: Path) -> Callable[[], Awaitable[Broker]]:
    """Opens a broker."""
    delivery: Delivery = request.param

    async def opened() -> Broker:
        broker = Kafka(servers=[kafka_address])
        await broker.open(BrokerContext(pipeline="test", data_dir=tmp_path, delivery=delivery))
        return broker

    return opened


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_behaviour(check: Check, make: Callable[[], Awaitable[Broker]]) -> None:
    """The check holds."""
    await check(make)
