"""The fixture with which authors test on a real Kafka: names of the test's own, and nothing left behind."""

import pytest

from streamweaver import Record, TransformContext, UnknownTopicError, transform
from streamweaver.testing import ScratchLog, run_async
from streamweaver.testing.fixtures import kafka_log  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def kafka_servers(kafka_address: str) -> list[str]:
    """The broker of these tests."""
    return [kafka_address]


@transform
def counted(record: Record, context: TransformContext) -> Record:
    """Count records."""
    record.value["n"] = context.state["n"] = context.state.get("n", 0) + 1
    return record


async def test_a_plugin_runs_on_kafka_and_leaves_no_topic(kafka_log: ScratchLog) -> None:  # noqa: F811
    """A second run goes on with the state of the first; afterwards the broker has none of the topics."""
    for values in ([{"n": 1}], [{"n": 1}, {"n": 2}]):
        ran = await run_async(counted, records=[{}], log=kafka_log)
        assert ran.values() == values
    with pytest.raises(LookupError, match="expected a run on the embedded log"):
        ran.state()
    await kafka_log.clear()
    async with kafka_log.opened() as broker:
        assert [name for name in await broker.topics() if name.startswith(kafka_log.prefix)] == []
        with pytest.raises(UnknownTopicError):
            await broker.ranges(kafka_log.name("input"))
    await kafka_log.clear()  # what is gone already is no error
