"""Topics that come and go with those who listen, while opening and closing them takes its time."""

import asyncio

from streamweaver import Fetched, PartitionRange
from streamweaver.codecs import Json
from streamweaver_dashboard.taps import Taps

NOW = 1_750_000_000_000


class Gated:
    """A broker whose readers have one record each, and open and close when they may."""

    def __init__(self):
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.closing = asyncio.Event()
        self.open = 0

    async def ranges(self, topic):
        return [PartitionRange(0, 0)]

    async def reader(self, starts):
        await self.may_open.wait()
        self.open += 1
        return Reading(self, next(iter(starts))[0])


class Reading:
    def __init__(self, broker, topic):
        self.broker = broker
        self.topic = topic
        self.waits = True

    async def poll(self, *, max_records=5_000, timeout=None):
        if not self.waits:
            return []
        self.waits = False
        return [Fetched([None], [b"1"], [NOW], None, self.topic, 0, range(1), 1)]

    async def close(self):
        self.broker.closing.set()
        await self.broker.may_close.wait()
        self.broker.open -= 1


class Listening:
    def __init__(self):
        self.values = []

    def heard(self, seen, now):
        self.values += seen.values

    def missed(self, start, end, records):
        pass


def make_taps():
    broker = Gated()
    return broker, Taps(broker, lambda _: Json(), lambda: NOW)


async def test_who_joins_a_topic_while_others_are_closed_hears_it():
    """A topic that nobody listens to is opened anew for whoever comes while it, or another one, is being closed."""
    broker, taps = make_taps()
    gone, new = Listening(), Listening()
    for topic in ("x", "y"):
        await taps.hear(topic, gone)
        taps.unhear(topic, gone)
    broker.may_close.clear()
    dropping = asyncio.create_task(taps.drop_unheard())
    await broker.closing.wait()
    await taps.hear("y", new)
    broker.may_close.set()
    await dropping
    await taps.pull(NOW)
    assert new.values == [1]
    assert (len(taps), broker.open) == (1, 1)
    await taps.close()


async def test_two_that_come_at_once_share_a_topic_also_when_the_quicker_one_leaves():
    """Whoever was slower to open a topic closes what it opened and listens to what is there by then."""
    broker, taps = make_taps()
    one, other = Listening(), Listening()
    broker.may_open.clear()
    coming = [asyncio.create_task(taps.hear("x", each)) for each in (one, other)]
    await asyncio.sleep(0)
    broker.may_close.clear()
    broker.may_open.set()
    # The slower one closes what it opened in vain.
    await broker.closing.wait()
    await coming[0]
    taps.unhear("x", one)
    dropping = asyncio.create_task(taps.drop_unheard())
    await asyncio.sleep(0)
    broker.may_close.set()
    await asyncio.gather(dropping, *coming)
    await taps.pull(NOW)
    assert (one.values, other.values) == ([], [1])
    assert (len(taps), broker.open) == (1, 1)
    await taps.close()
