"""Three brokers that are killed in turn while a pipeline works: leaders, coordinators and controllers change."""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import NotCoordinatorForGroupError
from aiokafka.protocol.commit import OffsetFetchRequest

from kafka_chaos import Chaos
from kafka_server import local_cluster, seed
from streamweaver import BrokerContext
from streamweaver.testing.broker import fresh, lane_of, topic
from streamweaver_brokers.kafka import Kafka

SOAK_SECONDS = float(os.environ.get("STREAMWEAVER_SOAK_SECONDS", "300"))
RATE = 500.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SOAK_SECONDS + 900)]


class Rolling:
    """Brokers that go one after the other, each time in one of two ways; the next goes when the last is back."""

    def __init__(self, brokers: list[Any], *, seconds: float, chosen: int) -> None:
        self.kills = self.restarts = 0
        self._brokers = brokers
        self._seconds = seconds
        self._random = random.Random(chosen)

    async def run(self) -> None:
        """Do so for some time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        turn = 0
        while loop.time() - began < self._seconds or turn < len(self._brokers):
            await asyncio.sleep(self._random.uniform(2, 8))
            broker = self._brokers[turn % len(self._brokers)]
            turn += 1
            if self._random.random() < 0.75:
                await asyncio.to_thread(broker.kill)
                self.kills += 1
            else:
                await asyncio.to_thread(broker.stop)
                self.restarts += 1
            await asyncio.sleep(self._random.uniform(1, 6))
            await asyncio.to_thread(broker.start)
            # Two of them must have everything before the next one goes.
            await asyncio.sleep(10)


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_a_cluster_whose_brokers_are_killed_in_turn(tmp_path: Path, delivery: str) -> None:
    """With three replicas, two in sync: each line once, in order, right state; at least once, none is lost."""
    chosen = seed()
    with local_cluster(tmp_path / "brokers") as brokers:
        rolling = Rolling(brokers, seconds=0.7 * SOAK_SECONDS, chosen=chosen)
        chaos = Chaos(
            ",".join(broker.address for broker in brokers),
            tmp_path,
            seed=chosen,
            delivery=delivery,
            session_seconds=6.0,
        )
        verdict = await chaos.run(
            lines=int(SOAK_SECONDS * RATE),
            rate=RATE,
            kills=max(2, int(SOAK_SECONDS / 30)),
            stops=1,
            settle_seconds=240,
            disturb=rolling.run,
        )
        print(f"{rolling.kills} brokers killed, {rolling.restarts} restarted; {verdict}")
    assert verdict.lost == 0, verdict
    assert verdict.is_clean or delivery == "at_least_once", verdict


async def test_only_the_coordinator_knows_what_is_committed(tmp_path: Path) -> None:
    """The others refuse for the whole group, with no partition at all, which must not be taken for a new group."""
    with local_cluster(tmp_path / "brokers") as brokers:
        kafka = Kafka(servers=[broker.address for broker in brokers])
        await kafka.open(BrokerContext(pipeline="test", data_dir=tmp_path))
        name, group = await topic(kafka), fresh("group")
        async with lane_of(kafka, group, name) as lane:
            unit = lane.begin()
            unit.mark(name, 0, 0)
            await unit.commit()
        assert await kafka.offsets(group) == {(name, 0): 0}
        admin = kafka._session.cluster._admin
        answers = [await admin._send_request(OffsetFetchRequest(group, None), node) for node in (1, 2, 3)]
        await kafka.close()
    refusals = [answer.topics for answer in answers if answer.error_code]
    assert refusals == [[], []]
    assert {answer.error_code for answer in answers} == {0, NotCoordinatorForGroupError.errno}
