"""A pipeline on Kafka under fire: workers are killed and frozen while it runs, and afterwards everything is counted.

A file grows at a steady rate; one stage follows it, another one keeps a moving average by key; three workers, each a
process of its own with all stages, share the work. Whatever happens to them, each line must come out once, in the
order of its key, with the average that an undisturbed run would have computed.
"""

import asyncio
import json
import random
import signal
import time
import uuid
from collections.abc import Callable, Coroutine
from itertools import chain, pairwise
from math import fsum
from pathlib import Path
from typing import Any

import attrs
import msgspec
from aiokafka.errors import KafkaError

from forked_program import Forked, Forker, Start
from kafka_stalls import Kill, shares, told
from streamweaver import BrokerContext, StorageError
from streamweaver_brokers.kafka import Kafka

KEYS = 40
SIZE = 20
PARTITIONS = 8

PIPELINE = """
name: {name}
delivery: {delivery}
drain_timeout: 3s
broker: {{use: kafka, servers: {servers}, session_seconds: {session}}}
topics:
  {name}.values: {{partitions: {partitions}}}
  {name}.averages: {{partitions: {partitions}}}
producers:
  lines:
    use: file_tail
    paths: [{path}]
    poll_seconds: 0.05
    to: {name}.values
    key: key
    steps:
      - use: parse_log
        format: regex
        pattern: '(?P<key>\\w+) (?P<seq>\\d+) (?P<value>\\d+)'
        types: {{seq: int, value: int}}
flows:
  averages:
    from: {name}.values
    steps: [{{use: moving_average, field: value, by: key, size: {size}}}]
    to: {name}.averages
"""


@attrs.define
class Verdict:
    """What became of the lines."""

    lines: int
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    wrong_averages: int = 0
    wrong_states: int = 0
    seen_meanwhile: int = 0
    """What a `read_committed` reader saw that ran all the time."""
    differs_meanwhile: bool = False
    returns: int = 0
    """The most often that a key's numbers went back, which they do where something is done once more."""
    kills: int = 0
    stops: int = 0
    leaves: int = 0
    seconds: float = 0.0
    longest_gap: float = 0.0
    """The longest time without any output, in seconds."""
    stalls: dict[str, str] = attrs.field(factory=dict)
    """How long partitions were without output after kills, by kind of kill."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, out of order or wrong."""
        wrong = self.lost + self.doubled + self.disordered + self.wrong_averages + self.wrong_states
        return not wrong and not self.differs_meanwhile


class Chaos:
    """One run. The seed decides who is killed when."""

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        seed: int,
        delivery: str = "exactly_once",
        static: bool = False,
        session_seconds: float = 2.0,
    ) -> None:
        """`static` gives workers names that outlive them, and has those that are killed started again at once."""
        self.random = random.Random(seed)
        self.name = f"chaos{uuid.uuid4().hex[:8]}"
        self.address = address
        self._folder = folder
        self._path = folder / "lines.txt"
        self._static = static
        self._session_seconds = session_seconds
        self._file = folder / "pipeline.yaml"
        self._file.write_text(
            PIPELINE.format(
                name=self.name,
                delivery=delivery,
                servers=json.dumps(address.split(",")),
                path=self._path,
                partitions=PARTITIONS,
                size=SIZE,
                session=session_seconds,
            )
        )
        self._path.touch()
        self._forker = Forker()
        self._workers: dict[int, Forked] = {}
        self._values: dict[str, list[int]] = {}
        self._written = 0
        self.outputs: list[tuple[int, dict[str, Any]]] = []
        """(partition, value) in the order in which the reader that ran all the time saw them."""
        self.arrivals: dict[int, list[float]] = {}
        """When something came of each partition."""
        self._kills: list[Kill] = []
        self._events: list[float] = []

    # -- workers ----------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        """Start a worker."""
        static = ["--set", f"broker.instance=worker-{number}"] if self._static else []
        named = ["--set", f"broker.client_id={self._client(number)}"]
        data = ["--data", str(self._folder / f"data-{number}")]
        start = Start(["pipeline", "up", str(self._file), *data, *named, *static], self._folder)
        log = self._folder / f"worker-{number}.log"
        self._workers[number] = self._forker.start_into(start, log, log)

    def _client(self, number: int) -> str:
        return f"{self.name}-{number}"

    def kill(self, number: int) -> None:
        """Kill a worker at once."""
        self._workers[number].kill()
        self._workers[number].wait()

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a worker."""
        self._workers[number].send_signal(what)

    def ended(self) -> list[int]:
        """Return the workers that ended by themselves, which none should."""
        return [number for number, worker in self._workers.items() if worker.poll() is not None]

    def end(self) -> None:
        """Kill all workers."""
        for worker in self._workers.values():
            worker.kill()
            worker.wait()

    # -- the run ----------------------------------------------------------------------------------

    async def run(
        self,
        *,
        lines: int,
        rate: float,
        kills: int,
        stops: int = 0,
        leaves: int = 0,
        workers: int = 3,
        settle_seconds: float = 90.0,
        disturb: Callable[[], Any] | None = None,
    ) -> Verdict:
        """Write `lines` lines while workers are killed, frozen, and asked to leave; wait for the output and judge it.

        `disturb` runs beside it, and may do something to the brokers.
        """
        verdict = Verdict(lines)
        started = time.monotonic()
        broker = Kafka(servers=self.address.split(","))
        await broker.open(BrokerContext(pipeline="judge", data_dir=self._folder))
        beside: list[asyncio.Task[Any]] = []

        def start_beside(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            beside.append(asyncio.create_task(work))
            return beside[-1]

        try:
            for number in range(workers):
                self.start(number)
            await self._until_ready(broker)
            watching = start_beside(self._watch(broker))
            source = random.Random(self.random.random())
            await self._until_flowing(source)
            writing = start_beside(self._write(source, lines, rate))
            more = start_beside(disturb()) if disturb is not None else None
            events = ["kill"] * kills + ["stop"] * stops + ["leave"] * leaves
            await self._harass(broker, verdict, events, lines / rate)
            await writing
            if more is not None:
                await more
            deadline = time.monotonic() + settle_seconds
            while len(self.outputs) < lines and time.monotonic() < deadline and not watching.done():
                await asyncio.sleep(0.2)
            # Whatever is doubled would come now.
            await asyncio.sleep(2.0)
            watching.cancel()
            await asyncio.wait({watching})
            verdict.seconds = time.monotonic() - started
            self.end()
            await self._judge(broker, verdict)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self.end()
            await broker.close()
        return verdict

    async def _until_ready(self, broker: Kafka) -> None:
        async with asyncio.timeout(60):
            while not {f"{self.name}.values", f"{self.name}.averages"} <= (await broker.topics()).keys():
                await asyncio.sleep(0.2)

    async def _until_flowing(self, source: random.Random) -> None:
        """Write some lines and wait until all are out: before that, nothing is at work that could be disturbed."""
        self._put(source, 3 * KEYS)
        async with asyncio.timeout(90):
            while len(self.outputs) < self._written:
                await asyncio.sleep(0.05)

    def _put(self, source: random.Random, lines: int) -> None:
        with self._path.open("a") as file:
            for _ in range(lines):
                key, value = f"k{source.randrange(KEYS)}", source.randrange(1_000_000)
                values = self._values.setdefault(key, [])
                file.write(f"{key} {len(values)} {value}\n")
                values.append(value)
        self._written += lines

    async def _write(self, source: random.Random, lines: int, rate: float) -> None:
        started, first = time.monotonic(), self._written
        while self._written < lines:
            due = min(lines, first + int((time.monotonic() - started) * rate))
            if due > self._written:
                self._put(source, due - self._written)
            await asyncio.sleep(0.02)

    async def _harass(self, broker: Kafka, verdict: Verdict, events: list[str], seconds: float) -> None:
        """Do this to workers, in random order at random moments, as long as the lines are written."""
        self.random.shuffle(events)
        pause = 0.7 * seconds / len(events)
        await asyncio.sleep(1.0)
        for event in events:
            await asyncio.sleep(self.random.uniform(0.2, 1.8) * pause)
            number = self.random.choice(list(self._workers))
            assert not self.ended(), f"workers {self.ended()} ended by themselves: {self._folder}"
            self._events.append(time.monotonic())
            if event == "kill":
                later = not self._static and self.random.random() < 0.5
                own, produced = await self._share(broker, number)
                self.kill(number)
                verdict.kills += 1
                if own:
                    self._kills.append(Kill(time.monotonic(), frozenset(own), produced, not later))
                if later:
                    await asyncio.sleep(self.random.uniform(0.0, 1.5 * self._session_seconds))
                self.start(number)
            elif event == "leave":
                self.signal(number, signal.SIGTERM)
                # One that has only just been started may not yet listen to signals, and dies of this one.
                ended = await asyncio.to_thread(self._workers[number].wait, 30)
                assert ended in {0, 3, -signal.SIGTERM}, self._folder
                verdict.leaves += 1
                self.start(number)
            else:
                self.signal(number, signal.SIGSTOP)
                await asyncio.sleep(self.random.uniform(1.3, 1.7) * self._session_seconds)
                self.signal(number, signal.SIGCONT)
                verdict.stops += 1

    async def _share(self, broker: Kafka, number: int) -> tuple[set[int], bool]:
        """Return the partitions that a worker has, nothing if nobody can tell now, and whether it has the producer."""
        admin, me = broker._session.cluster._admin, self._client(number)
        try:
            async with asyncio.timeout(1.0):
                own = (await shares(admin, f"{self.name}.averages")).get(me, set())
                return own, bool((await shares(admin, f"{self.name}.lines")).get(me))
        except (KafkaError, TimeoutError):
            return set(), False  # brokers are killed as well

    async def _watch(self, broker: Kafka) -> None:
        reader = await broker.reader({(f"{self.name}.averages", part): 0 for part in range(PARTITIONS)})
        while True:
            try:
                found = await reader.poll()
            except StorageError:
                continue  # the brokers are ill-treated as well; it goes on where it stands
            for rows in found:
                self.outputs += [(rows.partition, msgspec.json.decode(value)) for value in rows.values if value]
                if rows.values:
                    self.arrivals.setdefault(rows.partition, []).append(time.monotonic())

    # -- the verdict ------------------------------------------------------------------------------

    async def _judge(self, broker: Kafka, verdict: Verdict) -> None:
        final = await self._all(broker, f"{self.name}.averages")
        outputs = [value for part in sorted(final) for _, value in final[part]]
        verdict.seen_meanwhile = len(self.outputs)
        by_part: dict[int, list[Any]] = {}
        for part, value in self.outputs:
            by_part.setdefault(part, []).append(value)
        verdict.differs_meanwhile = by_part != {part: [v for _, v in rows] for part, rows in final.items() if rows}
        by_key: dict[str, list[dict[str, Any]]] = {}
        for value in outputs:
            by_key.setdefault(value["key"], []).append(value)
        for key, values in self._values.items():
            found = by_key.get(key, [])
            numbers = [value["seq"] for value in found]
            verdict.lost += len(set(range(len(values))) - set(numbers))
            verdict.doubled += len(numbers) - len(set(numbers))
            went_back = sum(later <= earlier for earlier, later in pairwise(numbers))
            verdict.disordered += went_back
            verdict.returns = max(verdict.returns, went_back)
            for value in found:
                window = values[max(0, value["seq"] + 1 - SIZE) : value["seq"] + 1]
                verdict.wrong_averages += value["moving_average"] != fsum(window) / len(window)
        states = await self._states(broker)
        for key, values in self._values.items():
            verdict.wrong_states += states.get(key) != [float(value) for value in values[-SIZE:]]
        verdict.stalls = told(self._kills, self._events, self.arrivals)
        gaps = [later - earlier for earlier, later in pairwise(sorted(chain(*self.arrivals.values())))]
        verdict.longest_gap = round(max(gaps, default=0.0), 1)

    async def _states(self, broker: Kafka) -> dict[str, list[float]]:
        """Return the last window of each key, as the changelog has it."""
        states: dict[str, list[float]] = {}
        for rows in (await self._all(broker, f"{self.name}.averages.state", decode=False)).values():
            for key, value in rows:
                name, _, own = key.partition(b"\0")
                assert name.decode().endswith(".moving_average")
                states[msgspec.msgpack.decode(own)] = [float(v) for v in msgspec.msgpack.decode(value)]
        return states

    async def _all(self, broker: Kafka, topic: str, *, decode: bool = True) -> dict[int, list[tuple[bytes, Any]]]:
        found: dict[int, list[tuple[bytes, Any]]] = {}
        # A killed worker's open transaction hides what comes after it until it is undone.
        async with asyncio.timeout(90):
            for part in range(len(await broker.ranges(topic))):
                found[part] = []
                held = (await broker.ranges(topic))[part]
                reader = await broker.reader({(topic, part): held.begin})
                at = held.begin
                while at < held.end:
                    for rows in await reader.poll():
                        at = rows.next_offset
                        values = [msgspec.json.decode(v) if decode and v else v for v in rows.values]
                        found[part] += [(key or b"", v) for key, v in zip(rows.keys, values, strict=True)]
                await reader.close()
        return found
