"""The broker against a model: whatever is done in whatever order, a few Python lists say what must be there."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamweaver import BrokerContext, Group, Lane, Rows, TopicSpec
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.embedded.check import check

PARTITIONS = st.integers(0, 1)


class LogMachine(RuleBasedStateMachine):
    """One topic of two partitions, one group that reads it, a state store, retention by size, restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.records: dict[int, list[bytes]] = {0: [], 1: []}
        self.begin = {0: 0, 1: 0}
        self.committed: dict[int, int] = {}
        self.position = {0: 0, 1: 0}
        self.state: dict[bytes, bytes] = {}
        self.number = 0
        self.runner.run(self.open())

    async def open(self) -> None:
        """Open the broker, and take the group's lane."""
        self.broker = Embedded(durability="process")
        await self.broker.open(BrokerContext(pipeline="model", data_dir=self.folder))
        assert self.broker._session is not None
        assert self.broker._session._writer._upkeep is not None
        self.broker._session._writer._upkeep._due = float("inf")  # only `trim` removes anything
        await self.broker.create([TopicSpec(name="t", partitions=2, retention_bytes=300)])
        self.member: Group = await self.broker.join("group", ["t"])
        self.lanes = self.member.lanes()
        self.lane: Lane = await anext(self.lanes)
        self.position = {part: self.committed.get(part, self.begin[part]) for part in (0, 1)}

    async def close(self) -> None:
        """Give everything back."""
        await self.lane.release()
        await self.member.leave()
        assert [lane async for lane in self.lanes] == []
        await self.broker.close()

    def values(self, count: int) -> list[bytes]:
        """Return values that nobody has seen."""
        self.number += count
        return [b"%d" % number for number in range(self.number - count, self.number)]

    @rule(counts=st.lists(st.tuples(PARTITIONS, st.integers(1, 30)), max_size=4), commit=st.booleans())
    def append(self, counts: list[tuple[int, int]], commit: bool) -> None:
        """A unit outside of the group, kept or aborted."""

        async def run() -> None:
            unit = self.broker.begin()
            for part, count in counts:
                values = self.values(count)
                unit.append("t", part, Rows([None] * count, list(values), [self.number] * count))
                if commit:
                    self.records[part] += values
            await (unit.commit() if commit else unit.abort())

        self.runner.run(run())

    @rule(most=st.integers(1, 40), end=st.sampled_from(["commit", "abort", "go on"]), key=st.sampled_from([b"a", b"b"]))
    def read(self, most: int, end: str, key: bytes) -> None:
        """Poll, then commit what was read with a state change, abort and rewind, or just read on."""

        async def run() -> None:
            fetched = await self.lane.poll(max_records=most, timeout=0)
            waiting = sum(len(self.records[part]) - max(self.position[part], self.begin[part]) for part in (0, 1))
            assert bool(fetched) == bool(waiting), "a poll hands out what waits"
            assert sum(map(len, fetched)) <= most
            unit = self.lane.begin()
            for item in fetched:
                part, first = item.partition, max(self.position[item.partition], self.begin[item.partition])
                assert list(item.offsets) == list(range(first, first + len(item)))
                assert item.values == self.records[part][first : first + len(item)]
                assert item.lost in (0, first - self.position[part])
                self.position[part] = item.next_offset
                unit.mark("t", part, item.next_offset)
            value = b"%d" % self.number
            unit.put_state("store", 0, {key: value})
            if end == "commit":
                await unit.commit()
                self.state[key] = value
                self.committed |= {item.partition: item.next_offset for item in fetched}
            else:
                await unit.abort()
            if end == "abort":
                await self.lane.rewind()
                self.position = {part: self.committed.get(part, self.begin[part]) for part in (0, 1)}

        self.runner.run(run())

    @rule()
    def trim(self) -> None:
        """Retention removes from the front, never what is not too much."""
        self.runner.run(self.broker.maintain())
        for part, held in enumerate(self.runner.run(self.broker.ranges("t"))):
            assert self.begin[part] <= held.begin <= held.end
            self.begin[part] = held.begin
            if self.records[part]:
                assert held.begin < held.end, "the newest chunk stays"

    @precondition(lambda self: self.number > 0)
    @rule()
    def reopen(self) -> None:
        """Close everything and open it again."""
        self.runner.run(self.close())
        assert check(self.folder) == []
        self.runner.run(self.open())

    @invariant()
    def everything_is_there(self) -> None:
        """Ranges, offsets, state and the records themselves are as the model says."""

        async def run() -> None:
            ranges = await self.broker.ranges("t")
            assert [(held.begin, held.end) for held in ranges] == [
                (self.begin[part], len(self.records[part])) for part in (0, 1)
            ]
            assert await self.broker.offsets("group") == {("t", part): at for part, at in self.committed.items()}
            assert dict(self.lane.state_items("store", 0)) == self.state
            reader = await self.broker.reader({("t", part): self.begin[part] for part in (0, 1)})
            found: dict[int, list[bytes | None]] = {0: [], 1: []}
            while items := await reader.poll(max_records=25, timeout=0):
                for item in items:
                    found[item.partition] += item.values
            await reader.close()
            assert found == {part: self.records[part][self.begin[part] :] for part in (0, 1)}

        self.runner.run(run())

    def teardown(self) -> None:
        """Close and remove it."""
        self.runner.run(self.close())
        self.runner.close()
        shutil.rmtree(self.folder)


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
