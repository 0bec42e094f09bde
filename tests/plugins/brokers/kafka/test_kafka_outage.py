"""A broker that dies, cannot be reached, does not answer, or has no space left: work goes on by itself afterwards."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from tools.kafka.local import free_port

from kafka_server import local_kafka
from real_parts import missing
from streamweaver import Broker, BrokerContext, LaneLostError, StorageError
from streamweaver.testing.broker import PATIENCE, all_of, append, fresh, rows, topic
from streamweaver_brokers.kafka import Kafka
from tcp_proxy import Proxy

DISK = "96m"


@attrs.frozen
class Victim:
    """A broker to be ill-treated, and where it is to be reached through a proxy."""

    kafka: Any
    proxied_port: int
    """Where the broker tells clients of the proxy to connect to."""
    behind_port: int
    """Where the proxy connects to."""
    folder: Path
    why_large: str
    """Why its disk is not a small one of its own; empty if it is."""


def _mount(folder: Path) -> str:
    """Make a folder a small disk; returns why that cannot be done."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Start a broker of this module's own."""
    folder = tmp_path_factory.mktemp("victim")
    behind, proxied = free_port(), free_port()
    kafka = local_kafka(
        folder / "kafka",
        settings={"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT"},
    )
    properties = kafka._properties
    properties["listeners"] += f",PROXIED://127.0.0.1:{behind}"
    properties["advertised.listeners"] += f",PROXIED://127.0.0.1:{proxied}"
    properties["inter.broker.listener.name"] = "PLAINTEXT"
    why_large = _mount(folder)
    try:
        kafka.start()
        yield Victim(kafka, proxied, behind, folder, why_large)
    finally:
        kafka.kill()
        if not why_large:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.asynccontextmanager
async def on(address: str, tmp_path: Path, **context: Any) -> AsyncIterator[Kafka]:
    """Open a plugin on a broker, with little patience."""
    broker = Kafka(servers=[address], request_seconds=1.0, session_seconds=2.0)
    await broker.open(BrokerContext(pipeline="test", data_dir=tmp_path, **context))
    try:
        yield broker
    finally:
        await broker.close()


class Copying:
    """A group that copies numbers from one topic to another, twenty to a unit, whatever happens to its lanes."""

    def __init__(self, broker: Broker, count: int) -> None:
        self.settled = -1
        self.losses = 0
        """Lanes that have been lost."""
        self._target = ""
        self._broker = broker
        self._count = count
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fill the source and begin."""
        source = await topic(self._broker)
        self._target = await topic(self._broker)
        await append(self._broker, source, 0, rows([b"%d" % number for number in range(self._count)]))
        self._member = await self._broker.join(fresh("group"), [source])
        self._task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        async for lane in self._member.lanes():
            try:
                while True:
                    for fetched in await lane.poll(max_records=20):
                        unit = lane.begin()
                        unit.append(self._target, 0, rows(fetched.values))
                        unit.mark(fetched.topic, 0, fetched.next_offset)
                        await unit.commit()
                        if fetched.values:
                            self.settled = int(fetched.values[-1] or 0)
            except LaneLostError:
                self.losses += 1
            finally:
                await lane.release()

    async def until(self, number: int, seconds: float = 60.0) -> None:
        """Wait until this number is copied."""
        await self._until(lambda: self.settled >= number, seconds)

    async def until_lost(self) -> None:
        """Wait until a lane has been lost."""
        await self._until(lambda: self.losses, 60.0)

    async def _until(self, condition: Any, seconds: float) -> None:
        assert self._task is not None
        async with asyncio.timeout(seconds):
            while not condition():
                assert not self._task.done(), self._task
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Wait for the rest, and stop: each number was copied once, in order."""
        assert self._task is not None
        await self.until(self._count - 1)
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._member.leave()
        found = [value for _, value, _, _ in await all_of(self._broker, self._target, 0, self._count)]
        assert found == [b"%d" % number for number in range(self._count)]


async def test_work_goes_on_after_the_broker_was_killed(victim: Victim, tmp_path: Path) -> None:
    """A broker killed in the middle of commits: work goes on by itself when it is back; each record comes out once."""
    async with on(victim.kafka.address, tmp_path) as broker:
        other = await topic(broker)
        copying = Copying(broker, 2_000)
        await copying.start()
        await copying.until(200)
        await asyncio.to_thread(victim.kafka.kill)
        with pytest.raises(StorageError):
            await append(broker, other, 0, rows([b"nobody there"]))
        await asyncio.to_thread(victim.kafka.start)
        await copying.end()
        assert copying.losses
        await append(broker, other, 0, rows([b"there again"]))


@pytest.mark.parametrize("how", ["cut", "silence"])
async def test_work_goes_on_after_the_network_was_away(victim: Victim, tmp_path: Path, how: str) -> None:
    """Connections that break, and ones that no longer answer, in the middle of commits; each record comes out once."""
    proxy = Proxy(victim.behind_port)
    await proxy.start(victim.proxied_port)
    try:
        async with on(f"127.0.0.1:{victim.proxied_port}", tmp_path) as broker:
            copying = Copying(broker, 2_000)
            await copying.start()
            await copying.until(200)
            if how == "cut":
                await proxy.stop()
                await copying.until_lost()
                await proxy.start(victim.proxied_port)
            else:
                proxy.silence()
                await copying.until_lost()
                proxy.resume()
            await copying.end()
    finally:
        await proxy.stop()


async def test_a_stage_waits_for_brokers_that_are_away(
    victim: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage in which the list of topics is to be read anew ends no stage: commits go on, and groups are joined."""
    waiting: set[str] = set()

    # Not what is logged: one line stands for all that meet the same.
    def trouble(event: str, _: BaseException, **fields: Any) -> None:
        if event == "kafka group cannot be joined yet":
            waiting.add(fields["group"])

    proxy = Proxy(victim.behind_port)
    await proxy.start(victim.proxied_port)
    try:
        async with on(f"127.0.0.1:{victim.proxied_port}", tmp_path) as broker:
            monkeypatch.setattr(broker._session, "trouble", trouble)
            name, group, new = await topic(broker), fresh("group"), fresh("group")
            await (await broker.join(group, [name])).leave()
            await append(broker, name, 0, rows([b"1"]))
            copying = Copying(broker, 800)
            await copying.start()
            await copying.until(40)
            # While they are away everything that is known is old; and an attempt need not take long.
            monkeypatch.setattr("streamweaver_brokers.kafka.cluster.FRESH_SECONDS", 0.0)
            monkeypatch.setattr(broker._session.clients, "step_seconds", 0.2)
            await proxy.stop()
            # Of one group the state topic is there, as after a stage's restart; the other's is to be created.
            joining = [asyncio.create_task(broker.join(each, [name])) for each in (group, new)]
            async with asyncio.timeout(PATIENCE):
                while waiting != {group, new}:
                    assert not any(task.done() for task in joining), joining
                    await asyncio.sleep(0.05)
            await copying.until_lost()
            monkeypatch.undo()
            await proxy.start(victim.proxied_port)
            for task in joining:
                member = await asyncio.wait_for(task, PATIENCE)
                lane = await asyncio.wait_for(anext(member.lanes()), PATIENCE)
                assert [fetched.values for fetched in await lane.poll()] == [[b"1"]]
                await member.leave()
            await copying.end()
    finally:
        await proxy.stop()


async def test_work_goes_on_after_the_brokers_disk_was_full(victim: Victim, tmp_path: Path) -> None:
    """A broker that ends because its disk is full: what it did not take is told, and what it took comes out once."""
    if victim.why_large:
        missing(f"cannot mount a small disk: {victim.why_large}")
    ballast = victim.folder / "ballast"
    async with on(victim.kafka.address, tmp_path) as broker:
        name = await topic(broker)
        copying = Copying(broker, 2_000)
        await copying.start()
        await copying.until(200)
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        taken = 0
        with pytest.raises(StorageError):
            while True:
                await append(broker, name, 0, rows([b"x" * 100_000]))
                taken += 1
        await copying.until_lost()
        async with asyncio.timeout(PATIENCE):
            while victim.kafka.pid is not None:
                await asyncio.sleep(0.05)
        ballast.unlink()
        await asyncio.to_thread(victim.kafka.start)
        await copying.end()
        # One more may be there: the one of which nobody knows.
        assert taken <= (await broker.ranges(name))[0].end <= taken + 1
