"""The workers' figures as they are heard and read back, over a real broker whose readers may take their time."""

import asyncio
import contextlib
import json

import pytest

from streamweaver import BrokerContext, PartitionRange, Rows, StorageError, TopicSpec, UnknownTopicError
from streamweaver.codecs import Json
from streamweaver_dashboard.election import SILENT_MS, Election
from streamweaver_dashboard.figures import status
from streamweaver_dashboard.stage_figures import StageFigures
from streamweaver_dashboard.taps import Taps

NOW = 1_750_000_000_000


class Slow:
    """A broker, and the clock by which it takes `open_ms` to open a reader."""

    def __init__(self, broker):
        self._broker = broker
        self.now = NOW
        self.open_ms = 0
        self.readers = 0
        self.meanwhile = lambda: None

    def __getattr__(self, name):
        return getattr(self._broker, name)

    def clock(self):
        return self.now

    async def reader(self, starts):
        self.now += self.open_ms
        self.readers += 1
        self.meanwhile()
        return await self._broker.reader(starts)

    async def append(self, topic, *values):
        unit = self._broker.begin()
        raws = [json.dumps(value).encode() for value in values]
        unit.append(topic, 0, Rows([b"who"] * len(raws), raws, [value["time"] for value in values]))
        await unit.commit()


@pytest.fixture
def shop(plan_of, pipeline_text, tmp_path):
    """A way to open the broker of a pipeline with an empty metrics topic, as an asynchronous context manager."""

    @contextlib.asynccontextmanager
    async def opened():
        plan = plan_of(pipeline_text)
        broker = plan.broker.build()
        await broker.open(BrokerContext(pipeline=plan.name, data_dir=tmp_path / "data"))
        try:
            await broker.create([TopicSpec(name=plan.metrics)])
            yield plan, Slow(broker)
        finally:
            await broker.close()

    return opened


def listening(plan, broker, voice):
    """Return the figures of a dashboard, and what it listens through."""
    taps = Taps(broker, lambda _: Json(), broker.clock)
    return StageFigures(plan, broker, Json(), taps, lambda *_, **__: None, broker.clock, voice), taps


@pytest.mark.parametrize(
    ("ahead_ms", "open_ms"),
    [
        pytest.param(40, 0, id="joins midway"),
        pytest.param(150, 200, id="readers take time to open"),
        pytest.param(1_500, 0, id="a publisher's clock is ahead"),
        pytest.param(-8_500, 0, id="the clock of the one that speaks is behind"),
    ],
)
async def test_a_newcomer_leaves_the_one_that_speaks_alone(shop, ahead_ms, open_ms):
    """Whoever begins to listen hears who speaks as of now, whatever the clocks of the publishers say."""
    async with shop() as (plan, broker):
        began = NOW - 60_000
        word = {"announcer": "first", "term": began, "time": NOW - 1_000 + min(0, ahead_ms)}
        await broker.append(plan.metrics, word, {"time": NOW + ahead_ms, "stages": {}})
        newcomer = Election("newcomer")
        figures, taps = listening(plan, broker, newcomer.heard)
        broker.open_ms = open_ms
        await figures.follow(True)
        await taps.close()
        assert newcomer.speaker == "first"
        assert newcomer.to_say(NOW) is None
        assert newcomer.to_say(NOW + SILENT_MS - 1) is None
        assert newcomer.to_say(broker.now + SILENT_MS) is not None


WELL = {"health": "ok", "activity": "reading", "activity_seconds": 0, "error": None}


async def test_all_that_ask_at_once_get_the_same_figures(shop):
    """Of several that ask at the same moment each gets what one of them reads, also when there were figures before."""
    async with shop() as (plan, broker):
        figures, _ = listening(plan, broker, lambda *_: None)
        for time in (NOW, NOW + 600):
            broker.now = time
            await broker.append(plan.metrics, {"time": time, "stages": dict.fromkeys(plan.stages, WELL)})
            readers = broker.readers
            told = await asyncio.gather(*(figures.current() for _ in range(3)))
            assert [(each["time"], status(each)) for each in told] == [(time, ("ok", {}))] * 3
            assert broker.readers == readers + 1


async def test_who_asks_while_others_are_read_for_sees_what_was_there(shop):
    """Figures that are known are there until newer ones have been read."""
    async with shop() as (plan, broker):
        figures, _ = listening(plan, broker, lambda *_: None)
        await broker.append(plan.metrics, {"time": NOW, "stages": dict.fromkeys(plan.stages, WELL)})
        await figures.current()
        broker.now += 600
        broker.meanwhile = lambda: seen.append(status(figures.newest())[0])
        seen = []
        await figures.current()
        assert seen == ["ok"]


async def test_a_broker_that_is_away_holds_up_nobody(shop, monkeypatch):
    """Who asks is told the last figures in time, and that the broker does not answer; then that nothing is heard."""
    monkeypatch.setattr("streamweaver_dashboard.stage_figures.READ_SECONDS", 0.05)
    async with shop() as (plan, broker):
        figures, _ = listening(plan, broker, lambda *_: None)
        await broker.append(plan.metrics, {"time": NOW, "stages": dict.fromkeys(plan.stages, WELL)})
        assert (await figures.current())["is_answered"]
        back, ranges = asyncio.Event(), broker.ranges

        async def away(topic):
            await back.wait()
            return await ranges(topic)

        broker.ranges = away
        for later, word in ((600, "ok"), (14_000, "silent")):
            broker.now = NOW + later
            async with asyncio.timeout(20):
                told = await figures.current()
            assert (status(told)[0], told["is_answered"]) == (word, False)
        stage = next(iter(plan.stages))
        assert status(told)[1][stage] == {
            "health": "unknown",
            "why": "nothing heard for 14 s, waiting for the broker",
        }
        back.set()
        await broker.append(plan.metrics, {"time": NOW + 15_000, "stages": dict.fromkeys(plan.stages, WELL)})
        broker.now = NOW + 15_000
        async with asyncio.timeout(20):
            while status(told := await figures.current())[0] != "ok":
                broker.now += 1_000
        assert told["is_answered"]


async def test_a_slow_broker_makes_nobody_silent(shop, monkeypatch):
    """Each answer comes later than a probe waits, and probes are far apart: what was answered last counts."""
    monkeypatch.setattr("streamweaver_dashboard.stage_figures.READ_SECONDS", 0.01)
    async with shop() as (plan, broker):
        figures, _ = listening(plan, broker, lambda *_: None)
        may_answer, ranges = asyncio.Event(), broker.ranges

        async def late(topic):
            await may_answer.wait()
            return await ranges(topic)

        broker.ranges = late
        said = []
        for probe in range(5):
            broker.now = NOW + probe * 30_000
            if probe < 3:
                await broker.append(plan.metrics, {"time": broker.now, "stages": dict.fromkeys(plan.stages, WELL)})
            may_answer.clear()
            said.append(status(await figures.current())[0])
            may_answer.set()
            async with asyncio.timeout(20):
                # It answers, and whoever asks then hears it.
                while not (told := await figures.current())["is_answered"]:
                    await asyncio.sleep(0.001)
            said.append(status(told)[0])
        assert said == ["starting", "ok", "ok", "ok", "ok", "ok", "ok", "silent", "silent", "silent"]


async def test_a_broker_is_asked_until_it_answers(shop, monkeypatch):
    """Also when nobody waits: an outage that is over counts for nothing at the next probe, however late its answer."""
    monkeypatch.setattr("streamweaver_dashboard.stage_figures.READ_SECONDS", 0.01)
    monkeypatch.setattr("streamweaver_dashboard.stage_figures.AGAIN_SECONDS", 0.001)
    async with shop() as (plan, broker):
        figures, _ = listening(plan, broker, lambda *_: None)
        await broker.append(plan.metrics, {"time": NOW, "stages": dict.fromkeys(plan.stages, WELL)})
        await figures.current()
        outcomes, ranges = ["hangs", "fails", "says nothing", "answers"], broker.ranges
        answered = asyncio.Event()
        monkeypatch.setattr("streamweaver_dashboard.stage_figures.TRY_SECONDS", 0.05)

        async def shaky(topic):
            match outcomes.pop(0):
                case "hangs":
                    await asyncio.Event().wait()
                case "fails":
                    raise StorageError("no answer in time")
                case "says nothing":
                    begin, end = (await ranges(topic))[0].begin, (await ranges(topic))[0].end
                    return [PartitionRange(begin, end + 1)]
                case "answers":
                    answered.set()
            return await ranges(topic)

        broker.ranges = shaky
        broker.now += 5_000
        told = await figures.current()
        assert (status(told)[0], told["is_answered"]) == ("ok", False)
        async with asyncio.timeout(20):
            await answered.wait()
            while figures._reading is not None:
                await asyncio.sleep(0.001)

        async def away(topic):
            await asyncio.Event().wait()

        broker.ranges = away
        broker.now += 30_000
        told = await figures.current()
        assert (status(told)[0], told["is_answered"]) == ("ok", False)
        broker.now += 11_000
        told = await figures.current()
        assert (status(told)[0], told["is_answered"]) == ("silent", False)
        await figures.close()


async def test_a_pipeline_that_has_never_run_is_no_broker_that_is_away(shop):
    """There is no topic of figures: an answer, after which nobody asks on."""
    async with shop() as (plan, broker):
        figures, _ = listening(plan, broker, lambda *_: None)

        async def unknown(topic):
            raise UnknownTopicError(topic)

        broker.ranges = unknown
        told = await figures.current()
        assert (status(told)[0], told["is_answered"]) == ("starting", True)


async def test_who_ends_waits_for_no_broker(shop, monkeypatch):
    """What was asked of one that is away is given up."""
    monkeypatch.setattr("streamweaver_dashboard.stage_figures.READ_SECONDS", 0.01)
    async with shop() as (plan, broker):
        figures, _ = listening(plan, broker, lambda *_: None)

        async def away(topic):
            await asyncio.Event().wait()

        broker.ranges = away
        await figures.current()
        async with asyncio.timeout(20):
            await figures.close()
            await figures.close()


async def test_a_broker_that_says_that_it_cannot_is_none_that_answers(shop):
    """A pipeline that was heard before is silent since then, also where each look finds nothing."""
    async with shop() as (plan, broker):
        figures, _ = listening(plan, broker, lambda *_: None)
        await broker.append(plan.metrics, {"time": NOW, "stages": dict.fromkeys(plan.stages, WELL)})
        await figures.current()
        broker.now += 60_000
        told = await figures.current()
        assert (status(told)[0], told["stale_seconds"], told["is_answered"]) == ("silent", 60.0, True)

        async def away(topic):
            raise StorageError("no answer in time")

        broker.ranges = away
        broker.now += 1_000
        assert not (await figures.current())["is_answered"]
