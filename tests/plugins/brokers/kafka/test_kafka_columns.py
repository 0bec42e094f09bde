"""Rows that are appended: what this broker refuses, the embedded one refuses alike."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streamweaver import BrokerContext, BrokerError, Rows
from streamweaver.testing.broker import append, fresh, lane_of, read, rows, topic
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.kafka import Kafka

UNEQUAL = [
    Rows([b"k"], [b"1", b"2"], [1, 2]),
    Rows([None, None], [b"1", b"2"], [1]),
    Rows([None, None], [b"1"], [1, 2]),
    Rows([None, None], [b"1", b"2"], [1, 2], [()]),
    Rows([b"k"], [], [1]),
]


@pytest_asyncio.fixture(params=["embedded", "kafka"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """An open broker of each kind."""
    opened: Any
    if request.param == "embedded":
        opened = Embedded(durability="process")
    else:
        opened = Kafka(servers=[request.getfixturevalue("kafka_address")])
    await opened.open(BrokerContext(pipeline="test", data_dir=tmp_path))
    yield opened
    await opened.close()


async def test_columns_of_different_lengths_are_refused(broker: Any) -> None:
    """Nothing of rows whose columns do not match is stored, by no kind of unit; the unit and its others are well."""
    name, group = await topic(broker), fresh("group")
    async with lane_of(broker, group, name) as lane:
        for unit in (broker.begin(), lane.begin()):
            unit.append(name, 0, rows([b"before"]))
            for unequal in UNEQUAL:
                with pytest.raises(BrokerError, match=f"topic {name}: got columns of different lengths, expected"):
                    unit.append(name, 0, unequal)
            await unit.commit()
    await append(broker, name, 0, rows([b"end"]))
    reader = await broker.reader({(name, 0): 0})
    assert [value for fetched in await read(reader, 3) for value in fetched.values] == [b"before", b"before", b"end"]
    await reader.close()
