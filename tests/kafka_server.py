"""A real Kafka broker for tests: one for all, started when the first asks for it, stopped when the last has ended.

`STREAMWEAVER_TEST_KAFKA=host:port` names a broker that runs already. Where Java or Maven is missing, tests are skipped
with the reason, or fail where `STREAMWEAVER_REQUIRE_REAL=1`.
"""

import fcntl
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from tools.kafka import local

from real_parts import missing

HASTY = {
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "group.min.session.timeout.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    # Without it nothing is written twice a second while nobody does anything.
    "metadata.max.idle.interval.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
}
"""Settings by which tests need not wait as long as people would."""


def local_kafka(data: Path, **options: Any) -> Any:
    """Make a broker on a folder and a free port; skips or fails the test where a part is missing."""
    try:
        local.jars()
    except local.MissingPartError as error:
        missing(str(error))
    settings = {**HASTY, **options.pop("settings", {})}
    kafka = local.LocalKafka(data, settings=settings, **{"port": local.free_port(), **options})
    kafka.java = local.QUICK_JAVA
    return kafka


REPLICATED = {
    "default.replication.factor": "3",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "min.insync.replicas": "2",
    "broker.session.timeout.ms": "3000",
}
"""Settings of a cluster of which one broker may be away."""


@contextmanager
def local_cluster(folder: Path) -> Iterator[list[Any]]:
    """Run three brokers, which are their own controllers; everything is kept three times, twice before it counts."""
    controllers = {node: local.free_port() for node in (1, 2, 3)}
    voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in controllers.items())
    same = {"settings": REPLICATED, "voters": voters, "cluster": "A" * 22}
    brokers = [
        local_kafka(folder / str(node), node=node, controller_port=port, **same) for node, port in controllers.items()
    ]
    try:
        # None of them answers before two are there.
        for broker in brokers:
            broker.launch(local.jars())
        for broker in brokers:
            broker.wait()
        yield brokers
    finally:
        for broker in brokers:
            broker.kill()


def seed() -> int:
    """Return the seed of this test, and print it: `STREAMWEAVER_SEED` repeats one."""
    chosen = int(os.environ.get("STREAMWEAVER_SEED") or random.randrange(2**32))
    print(f"STREAMWEAVER_SEED={chosen}")
    return chosen


LEFT_RUNNING: list[Any] = []


@pytest.fixture(scope="session")
def kafka_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker that all tests share, those of other workers of pytest-xdist as well."""
    given = os.environ.get("STREAMWEAVER_TEST_KAFKA")
    if given:
        yield given
        return
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    kafka = local_kafka(folder / "kafka")
    # Who uses it holds a lock, which ends with its process: whoever leaves last stops the broker.
    with (folder / "kafka.users").open("a") as users, (folder / "kafka.lock").open("a") as alone:
        with locked(alone):
            fcntl.flock(users, fcntl.LOCK_SH)
            kafka.start()
        yield kafka.address
        with locked(alone):
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Others still use it. Kept, or Python would complain of a process that nobody waits for.
                LEFT_RUNNING.append(kafka)
            else:
                kafka.kill()  # An end in order takes seconds, for files that nobody reads again.


@contextmanager
def locked(file: IO[str]) -> Iterator[None]:
    """Hold a file's lock, which no two can."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
