"""A pipeline moves away from Kafka, where transactions leave marks between records and open ones hide what follows."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streamweaver import Rows
from streamweaver.cli.load import load
from streamweaver.contracts import Broker, BrokerContext
from streamweaver.errors import BrokerError
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.engine import Engine, RunOptions
from streamweaver.runtime.letter_box import Filter, Letter, LetterBox
from streamweaver.runtime.move import Moved, move
from streamweaver.testing.broker import fresh

PIPELINE = """\
name: {name}
delivery: exactly_once
dashboard: {{enabled: false}}
broker: {{use: kafka, servers: ["{address}"]}}
topics:
  {name}.orders: {{partitions: 2}}
  {name}.means: {{partitions: 2}}
producers:
  file: {{use: ndjson_file, path: orders.ndjson, to: {name}.orders, key: who}}
flows:
  means:
    from: {name}.orders
    steps:
      - {{use: moving_average, field: price, by: who, size: 3}}
    to: {name}.means
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka_address: str) -> tuple[Plan, Plan]:
    """Stand in the folder of a pipeline; it on Kafka, and it on the embedded log."""
    monkeypatch.chdir(tmp_path)
    name = fresh("shop").replace("-", "_")
    text = PIPELINE.format(name=name, address=kafka_address)
    Path("shop.yaml").write_text(text)
    Path("embedded.yaml").write_text("".join(line for line in text.splitlines(True) if not line.startswith("broker")))
    return load(Path("shop.yaml")).plan, load(Path("embedded.yaml")).plan


def orders(*prices: Any) -> None:
    with Path("orders.ndjson").open("a") as file:
        file.writelines(json.dumps({"who": "w", "price": price}) + "\n" for price in prices)


async def ran(plan: Plan) -> dict[str, Any]:
    options = {"clock": SystemClock(), "log": lambda *_, **__: None, "redact": plan.redact}
    engine = Engine(
        plan, RunOptions(until_idle=True), data_dir=Path("data"), observers=Observers(lambda _: None), **options
    )
    summary = await engine.run()
    assert summary.error is None
    return summary.counts


async def moved(old: Plan, new: Plan) -> Moved:
    return await move(old, new, old_data=Path("data"), new_data=Path("data"), tell=lambda _: None)


async def opened(plan: Plan) -> Broker:
    broker: Broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline=plan.name, data_dir=Path("data")))
    return broker


async def letters(plan: Plan, broker: Broker) -> list[Letter]:
    return [letter async for letter in LetterBox(plan, broker, SystemClock()).letters()]


async def left_open(address: str, group: str, topic: str, partition: int) -> None:
    """Do what a worker does that is killed in the middle of a transaction of a lane."""
    producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id=f"{group}.{partition}")
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"never committed", partition=partition)
    await producer.client.close()
    producer._sender._sender_task.cancel()
    producer._closed = True


async def test_what_kafka_leaves_between_records_moves_nothing(shop: tuple[Plan, Plan], kafka_address: str) -> None:
    """All that is committed moves, averages go on, and the letter that was settled is the one that is settled."""
    kafka, embedded = shop
    orders(1, "bad", 2)
    await ran(kafka)
    orders("worse", 3)
    await ran(kafka)
    broker = await opened(kafka)
    box = LetterBox(kafka, broker, SystemClock())
    _, worse = await letters(kafka, broker)
    await box.discard(Filter(ids=frozenset([worse.id])))
    means = f"{kafka.name}.means"
    (partition,) = (p for p, held in enumerate(await broker.ranges(means)) if held.end)
    await left_open(kafka_address, kafka.group("means"), means, partition)
    unit = broker.begin()
    unit.append(means, partition, Rows([b"w"], [b'{"behind": true}'], [5]))
    await unit.commit()
    await broker.close()

    found = await moved(kafka, embedded)
    # Two of the five orders are dead letters; one record lies behind the transaction that was left open.
    assert (found.topics[f"{kafka.name}.orders"], found.topics[means]) == (5, 4)
    assert found.topics[kafka.settled_letters] == 1
    broker = await opened(embedded)
    first, second = await letters(embedded, broker)
    assert (first.settled, second.letter.value) == (None, worse.letter.value)
    assert second.settled is not None
    assert second.id != worse.id
    # Of five orders these are the second and the fourth, whatever marks lay between them.
    assert (first.letter.offset, second.letter.offset) == (1, 3)
    assert worse.letter.offset > 3
    await broker.close()

    orders(4)
    counts = await ran(embedded)
    assert (counts["file"]["out"], counts["means"]["in"]) == (1, 1)
    broker = await opened(embedded)
    reader = await broker.reader({(means, partition): 4})
    (rows,) = await reader.poll()
    assert json.loads(rows.values[0] or b"")["moving_average"] == 3.0
    await reader.close()
    await broker.close()


async def test_a_topic_in_which_transactions_were_undone_is_empty(shop: tuple[Plan, Plan], kafka_address: str) -> None:
    """At the new place marks of transactions are no records; records are, and so are offsets of groups."""
    kafka, embedded = shop
    orders(1)
    await ran(embedded)
    broker = await opened(kafka)
    await broker.create([topic.spec for topic in kafka.topics.values()])
    await left_open(kafka_address, kafka.group("means"), f"{kafka.name}.means", 0)
    # As whoever takes the lane over next: it is undone.
    undoing = AIOKafkaProducer(bootstrap_servers=kafka_address, transactional_id=f"{kafka.group('means')}.0")
    await undoing.start()
    await undoing.stop()
    assert (await broker.ranges(f"{kafka.name}.means"))[0].end > 0
    await broker.close()

    await moved(embedded, kafka)
    with pytest.raises(BrokerError, match=rf"topic {kafka.name}\.orders holds records, .* group .* committed offsets"):
        await moved(embedded, kafka)
    orders(2)
    counts = await ran(kafka)
    assert (counts["file"]["out"], counts["means"]["in"]) == (1, 1)
