"""What a broker promises: the behaviour suite that the first-party brokers pass."""

from pathlib import Path
from typing import Any

from streamweaver.contracts import Broker, BrokerContext
from streamweaver.runtime.plugin_life import call
from streamweaver.testing.broker import CHECKS, Check
from streamweaver.testing.conformance.suite import Behaviour, Behaviours, Suite

BROKER = Behaviours()


def _of(check: Check) -> Behaviour:
    async def run(suite: Suite, folder: Path) -> None:
        if suite.prepare is not None:
            await call(suite.prepare)

        async def make() -> Broker:
            broker: Any = suite.build()
            await broker.open(BrokerContext(pipeline="conformance", data_dir=folder / "data"))
            return broker  # type: ignore[no-any-return]

        await check(make)

    return Behaviour(check.__name__, (check.__doc__ or "").strip(), run, guards="at_least_once")


BROKER.extend(_of(check) for check in CHECKS)
