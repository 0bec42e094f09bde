"""The embedded broker shows the behaviour that every broker must show."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from streamweaver import Broker, BrokerContext
from streamweaver.testing.broker import CHECKS, Check
from streamweaver_brokers.embedded import Embedded


@pytest.fixture(params=["full", "process"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Awaitable[Broker]]:
    """Opens a broker on the test's folder."""

    async def opened() -> Broker:
        broker = Embedded(durability=request.param)
        await broker.open(BrokerContext(pipeline="test", data_dir=tmp_path / "data"))
        return broker

    return opened


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_behaviour(check: Check, make: Callable[[], Awaitable[Broker]]) -> None:
    """The check holds."""
    await check(make)
