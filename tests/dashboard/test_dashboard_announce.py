"""Telling of alerts: into the topic of a real broker, and to a real server as the webhook."""

import asyncio
import contextlib
import json

import pytest

from streamweaver import BrokerContext, Rows, StorageError, TopicSpec
from streamweaver.codecs import Json
from streamweaver_dashboard import announce
from streamweaver_dashboard.announce import UNTOLD_MS, Announcer
from streamweaver_dashboard.election import SILENT_MS
from streamweaver_dashboard.read_back import read_back

NOW = 1_750_000_000_000
PATIENCE = 20.0
FINE = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"


def event(state="firing", time=NOW, **more):
    return {"id": "r", "name": "dear", "when": "w", "subject": "B", "state": state, "time": time, "value": 5, **more}


@pytest.fixture
def shop(plan_of, pipeline_text, tmp_path):
    """A way to open a pipeline's broker, as an asynchronous context manager; takes what is to be overridden."""

    @contextlib.asynccontextmanager
    async def opened(*overrides, text=pipeline_text):
        plan = plan_of(text, *overrides)
        broker = plan.broker.build()
        await broker.open(BrokerContext(pipeline=plan.name, data_dir=tmp_path / "data"))
        try:
            own = [TopicSpec(name=name) for name in (plan.metrics, plan.alerts, plan.dead_letters)]
            await broker.create([*(topic.spec for topic in plan.topics.values()), *own])
            yield plan, broker
        finally:
            await broker.close()

    return opened


def make(plan, broker, log=lambda *_, **__: None):
    return Announcer(plan, broker, Json(), log, "me")


def speak(announcer, now=NOW):
    """Make it the one that tells, as of now."""
    announcer.election.heard({"announcer": "me", "term": max(announcer.election.term, NOW), "time": now}, now)


def speaking(plan, broker, log=lambda *_, **__: None):
    """Return an announcer that is the one."""
    announcer = make(plan, broker, log)
    speak(announcer)
    return announcer


class Moody:
    """A broker that stores in a topic of alerts only when it is let, and otherwise says that it cannot."""

    def __init__(self, broker):
        self._broker = broker
        self.stores = asyncio.Event()
        self.refused = asyncio.Event()
        self.held = asyncio.Event()
        self.waits = False

    def __getattr__(self, name):
        return getattr(self._broker, name)

    def begin(self):
        return Unit(self, self._broker.begin())


class Unit:
    def __init__(self, broker, unit):
        self._broker = broker
        self._unit = unit
        self._topic = ""

    def append(self, topic, partition, rows):
        self._topic = topic
        self._unit.append(topic, partition, rows)

    async def commit(self):
        if self._topic.endswith(".alerts"):
            if self._broker.waits:
                self._broker.held.set()
                await self._broker.stores.wait()
            elif not self._broker.stores.is_set():
                self._broker.refused.set()
                raise StorageError("not now")
        await self._unit.commit()


class Mute:
    """A broker whose alerts nobody can read until it is let: for as long nothing comes."""

    def __init__(self, broker):
        self._broker = broker
        self.lets = False
        self.asked = asyncio.Queue()

    def __getattr__(self, name):
        return getattr(self._broker, name)

    async def reader(self, starts):
        reader = await self._broker.reader(starts)
        if not self.lets and any(topic.endswith(".alerts") for topic, _ in starts):
            self.asked.put_nowait(starts)

            async def poll(**_):
                return []

            reader.poll = poll
        return reader


async def store(plan, broker, *events):
    """Write down what another dashboard told."""
    unit = broker.begin()
    raws = [json.dumps(each).encode() for each in events]
    unit.append(plan.alerts, 0, Rows([b"r"] * len(raws), raws, [each["time"] for each in events]))
    await unit.commit()


async def stored(plan, broker, records):
    """Return the subject, state and time of what stands in the topic, once there is so much."""
    async with asyncio.timeout(PATIENCE):
        while (await broker.ranges(plan.alerts))[0].end < records:
            await asyncio.sleep(0.005)
    past = await read_back(broker, plan.alerts, Json(), since=0, most=1_000, seconds=PATIENCE)
    return [(value["subject"], value["state"], value["time"]) for seen in past.batches for value in seen.values]


@contextlib.asynccontextmanager
async def running(announcer):
    """Let an announcer do its work."""
    task = asyncio.create_task(announcer.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def hook(*answers):
    """Serve as a webhook that gives these answers in turn, the last one for ever; yields its address and what came."""
    came = asyncio.Queue()
    left = list(answers)

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        came.put_nowait(Json().decode(await reader.readexactly(length)))
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", came


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"garbage\r\n\r\n", id="no HTTP"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 500 No\r\nconnection: close\r\n\r\n", id="an error"),
        pytest.param(b"HTTP/1.1 302 Found\r\nlocation: http://[1/\r\nconnection: close\r\n\r\n", id="a false address"),
    ],
)
async def test_a_wrong_answer_of_the_webhook_is_one_that_is_tried_again(shop, monkeypatch, answer):
    """Whatever the webhook answers, the announcer goes on, and posts again a little later."""
    monkeypatch.setattr(announce, "FIRST_PAUSE_SECONDS", 0.0)
    logged = []
    async with hook(answer, FINE) as (address, came), shop(f"dashboard.webhook={address}") as (plan, broker):
        announcer = speaking(plan, broker, lambda level, event, **_: logged.append((level, event)))
        async with running(announcer), asyncio.timeout(PATIENCE):
            announcer.tell([event()], NOW)
            first, second = await came.get(), await came.get()
            announcer.tell([event("resolved")], NOW + 1)
            third = await came.get()
        assert [each["state"] for each in (first, second, third)] == ["firing", "firing", "resolved"]
        assert logged == [("warning", "webhook failed")]


async def test_what_could_not_be_stored_is_kept_and_posted_once(shop):
    """While the broker cannot store an alert it is tried again, with what came meanwhile; the webhook hears at once."""
    logged = []
    async with hook(FINE) as (address, came), shop(f"dashboard.webhook={address}") as (plan, real):
        broker = Moody(real)
        announcer = speaking(plan, broker, lambda level, event, **_: logged.append((level, event)))
        async with running(announcer), asyncio.timeout(PATIENCE):
            announcer.tell([event()], NOW)
            assert (await came.get())["state"] == "firing"
            await broker.refused.wait()
            broker.refused.clear()
            announcer.tell([], NOW + 1)
            await broker.refused.wait()
            broker.stores.set()
            announcer.tell([event("resolved", NOW + 2)], NOW + 2)
            assert await stored(plan, real, 2) == [("B", "firing", NOW), ("B", "resolved", NOW + 2)]
            assert (await came.get())["state"] == "resolved"
        assert [entry for entry in logged if entry[0] == "warning"] == [("warning", "an alert was not stored yet")]


async def test_live_pages_do_not_wait_for_what_is_told(shop, serve, monkeypatch, pipeline_text):
    """While the broker takes its time to store an alert, watchers get it, and all that comes after it."""
    monkeypatch.setattr("streamweaver_dashboard.hub.SECOND_MS", 50)
    rule = "  alerts: [{name: dear, when: price of orders > 100, by: symbol}]\n"
    async with shop(text=pipeline_text + rule) as (plan, real):
        broker = Moody(real)
        broker.waits = True
        async with serve(plan, broker) as running, running.live() as viewer:
            await viewer.watch("feed", alerts=True)
            await viewer.part("feed")
            await running.append("orders", [{"symbol": "B", "price": 150}])
            await broker.held.wait()
            await running.append("orders", [{"symbol": "B", "price": 5}])
            told = await viewer.until("alerts", lambda found: len(found["events"]) == 2)
            assert [each["state"] for each in told["events"]] == ["resolved", "firing"]
            broker.stores.set()
            assert [state for _, state, _ in await stored(plan, real, 2)] == ["firing", "resolved"]


async def test_what_waits_to_be_told_is_bounded(shop, monkeypatch):
    """Of too many events that wait the newest are kept, and what is lost is said."""
    monkeypatch.setattr(announce, "UNTOLD", 3)
    logged = []
    async with shop() as (plan, broker):
        announcer = speaking(plan, broker, lambda level, event, **_: logged.append((level, event)))
        announcer.tell([event(subject=str(number)) for number in range(5)], NOW)
        async with running(announcer):
            assert [subject for subject, *_ in await stored(plan, broker, 3)] == ["2", "3", "4"]
    assert logged == [("warning", "an alert was not stored: too many wait")] * 2


LATE = NOW + 900_000
"""When somebody takes over, long after the one before began to tell."""


@pytest.mark.parametrize(
    ("told", "before", "after", "tells"),
    [
        pytest.param(["firing"], ["firing"], [], [], id="fired later here"),
        pytest.param(["firing"], [], ["firing", "resolved"], ["resolved"], id="fired after the takeover"),
        pytest.param(["firing"], ["firing", "resolved"], [], ["resolved"], id="the end was not told"),
        pytest.param(["firing", "resolved"], ["firing", "resolved"], [], [], id="all was told"),
        pytest.param(["firing", "resolved"], ["firing", "resolved"], ["firing"], ["firing"], id="fires again"),
        pytest.param([], ["firing", "resolved"], [], ["firing", "resolved"], id="nothing was told"),
    ],
)
async def test_who_takes_over_tells_what_was_not_told(shop, told, before, after, tells):
    """By the last state that was told of a rule and a subject, however much later this dashboard judges the same."""
    async with shop() as (plan, broker):
        await store(plan, broker, *[event(state, NOW + at) for at, state in enumerate(told)])
        announcer = make(plan, broker)
        announcer.tell([event(state, LATE + at) for at, state in enumerate(before)], LATE)
        async with running(announcer):
            speak(announcer, LATE)
            # Another rule, and this one as it was written before it was changed, have nothing to do with it.
            marks = [event(time=LATE, subject="mark"), event(time=LATE, subject="mark", id="s")]
            announcer.tell([*marks, event(time=LATE, when="other")], LATE)
            await stored(plan, broker, len(told) + 3)
            announcer.tell([*[event(s, LATE) for s in after], event("resolved", LATE, subject="mark")], LATE)
            found = await stored(plan, broker, len(told) + 4 + len(tells))
    news = [state for subject, state, _ in found[len(told) :] if subject == "B"]
    assert sorted(news) == sorted(["firing", *tells])
    assert len(found) == len(told) + 4 + len(tells)


async def test_who_takes_over_tells_nothing_before_it_knows_what_was_told(shop):
    """What did not come in time is not taken for nothing; it is read again until it has come."""
    async with hook(FINE) as (address, came), shop(f"dashboard.webhook={address}") as (plan, real):
        await store(plan, real, event())
        broker = Mute(real)
        announcer = make(plan, broker)
        announcer.tell([event(time=LATE)], LATE)
        async with running(announcer), asyncio.timeout(PATIENCE):
            speak(announcer, LATE)
            for _ in range(3):
                announcer.tell([], LATE)
                await broker.asked.get()
            assert (await real.ranges(plan.alerts))[0].end == 1
            broker.lets = True
            announcer.tell([event(time=LATE, subject="mark")], LATE)
            assert [subject for subject, *_ in await stored(plan, real, 2)] == ["B", "mark"]
            assert (await came.get())["subject"] == "mark"


async def test_nothing_is_judged_before_it_is_known_what_was_fired(serve, shop, monkeypatch, pipeline_text):
    """What fired before a restart and is over now is told to be over, however often its past could not be read."""
    monkeypatch.setattr("streamweaver_dashboard.hub.SECOND_MS", 50)
    monkeypatch.setattr("streamweaver_dashboard.judge.PAUSE_SECONDS", 0.0)
    rule = "  alerts: [{name: dear, when: price of orders > 100, by: symbol}]\n"
    async with shop(text=pipeline_text + rule) as (plan, real):
        (made,) = plan.dashboard.rules
        await store(plan, real, event(id=made.id, when=made.when))
        broker = Mute(real)
        async with serve(plan, broker) as running, running.live() as viewer, asyncio.timeout(PATIENCE):
            await viewer.watch("feed", alerts=True)
            await viewer.part("feed")
            await running.append("orders", [{"symbol": "B", "price": 5}])
            for _ in range(3):
                await broker.asked.get()
            broker.lets = True
            told = await viewer.until("alerts", lambda found: len(found["events"]) == 2)
            assert [each["state"] for each in told["events"]] == ["resolved", "firing"]


async def test_what_is_given_up_holds_up_nothing_else(shop, monkeypatch):
    """There is a pause before another try, and none after the last one."""
    monkeypatch.setattr(announce, "TRIES", 1)
    monkeypatch.setattr(announce, "FIRST_PAUSE_SECONDS", 1_000.0)
    wrong = b"HTTP/1.1 500 No\r\nconnection: close\r\n\r\n"
    async with hook(wrong, FINE) as (address, came), shop(f"dashboard.webhook={address}") as (plan, broker):
        announcer = speaking(plan, broker)
        async with running(announcer), asyncio.timeout(PATIENCE):
            announcer.tell([event(), event(subject="next")], NOW)
            assert [(await came.get())["subject"] for _ in range(2)] == ["B", "next"]


async def test_what_another_dashboard_tells_is_forgotten_and_what_nobody_tells_is_kept(shop):
    """While another one speaks events are kept for a while only; while nobody does they wait."""
    async with shop() as (plan, broker):
        announcer = make(plan, broker)

        def hear(now):
            announcer.election.heard({"announcer": "other", "term": NOW, "time": now}, now)

        hear(NOW)
        announcer.tell([event(subject="told")], NOW)
        later = NOW + UNTOLD_MS + 1
        hear(later)
        announcer.tell([event(time=later, subject="kept")], later)
        much_later = later + SILENT_MS + 10 * UNTOLD_MS
        announcer.tell([], much_later)
        announcer.election.heard({"announcer": "me", "term": much_later, "time": much_later}, much_later)
        announcer.tell([event(time=much_later, subject="new")], much_later)
        async with running(announcer):
            assert [subject for subject, *_ in await stored(plan, broker, 2)] == ["kept", "new"]
