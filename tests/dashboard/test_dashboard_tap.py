"""Following and reading back topics: gaps, failures, too much; over a broker whose every answer is scripted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import BrokerError, Fetched, PartitionRange, StorageError
from streamweaver.codecs import Json
from streamweaver.views.seen import in_order
from streamweaver_dashboard import tap as module
from streamweaver_dashboard.read_back import read_back, shares
from streamweaver_dashboard.tap import Tap

NOW = 1_750_000_000_000


class Script:
    """A broker of one partition; offset n has the time NOW + n. `fail` makes every call raise."""

    def __init__(self, end, begin=0):
        self.begin, self.end = begin, end
        self.fail = None
        self.readers = 0
        self.slow = False
        self.silent_from = None

    async def ranges(self, topic):
        self._check()
        return [PartitionRange(self.begin, self.end)]

    async def offset_at(self, topic, partition, timestamp):
        return min(max(self.begin, timestamp - NOW), self.end)

    async def reader(self, starts):
        self._check()
        self.readers += 1
        return Reading(self, dict(starts))

    def _check(self):
        if self.fail is not None:
            raise self.fail


class Reading:
    def __init__(self, script, starts):
        self.script = script
        self.at = next(iter(starts.values()), 0)
        self.closed = False

    async def poll(self, *, max_records=5_000, timeout=None):
        assert not self.closed
        self.script._check()
        lost = max(0, self.script.begin - self.at)
        start = max(self.at, self.script.begin)
        end = self.script.end if self.script.silent_from is None else self.script.silent_from
        offsets = range(start, min(start + min(max_records, 1_000), end))
        if not offsets:
            return []
        self.at = offsets.stop
        rows = [b'{"n":%d}' % n for n in offsets]
        return [
            Fetched([None] * len(rows), rows, [NOW + n for n in offsets], None, "t", 0, offsets, offsets.stop, lost)
        ]

    async def close(self):
        self.closed = True


class Ears:
    """A listener that notes everything."""

    def __init__(self):
        self.offsets = []
        self.gaps = []

    def heard(self, seen, now):
        self.offsets += list(seen.offsets)

    def missed(self, start, end, records):
        self.gaps.append((start, end, records))


async def listening(script):
    tap, ears = Tap(script, "t", Json()), Ears()
    await tap.open(NOW)
    tap.listeners.add(ears)
    return tap, ears


async def test_a_tap_begins_at_the_end_and_hears_everything_after():
    """What comes after the opening is heard once, in order, with where the tap stands."""
    script = Script(end=500)
    tap, ears = await listening(script)
    await tap.pull(NOW)
    assert ears.offsets == []
    script.end = 2_600
    await tap.pull(NOW)
    assert ears.offsets == list(range(500, 2_600))
    assert tap.positions == {0: 2_600}
    assert script.readers == 1


async def test_what_retention_removed_is_told_as_a_gap():
    """Offsets that went before they were read are counted, with the time they were of."""
    script = Script(end=10)
    tap, ears = await listening(script)
    script.begin, script.end = 40, 50
    await tap.pull(NOW)
    assert ears.offsets == list(range(40, 50))
    assert [(end, records) for _, end, records in ears.gaps] == [(NOW + 40, 30)]


async def test_a_broker_that_fails_is_tried_again_and_the_time_is_told():
    """Nothing is raised meanwhile; then the tap goes on where it stood, and tells since when it was blind."""
    script = Script(end=10)
    tap, ears = await listening(script)
    script.fail = StorageError("disk gone")
    await tap.pull(NOW + 1_000)
    assert tap.error == "disk gone"
    await tap.pull(NOW + 1_500)
    script.fail, script.end = None, 15
    await tap.pull(NOW + 1_900)
    assert ears.offsets == [], "not before a second has passed"
    await tap.pull(NOW + 2_500)
    assert ears.offsets == list(range(10, 15))
    assert ears.gaps == [(NOW + 1_000, NOW + 2_500, None)]
    assert tap.error is None


async def test_a_tap_that_is_too_far_behind_leaves_out_and_says_how_many(monkeypatch):
    """Instead of showing the past for ever it goes on near the end; shown and left out add up."""
    monkeypatch.setattr(module, "BEHIND", 20_000)
    script = Script(end=0)
    tap, ears = await listening(script)
    script.end = 100_000
    await tap.pull(NOW)
    await tap.pull(NOW)
    assert tap.positions == {0: 100_000}
    assert len(ears.offsets) + sum(records for _, _, records in ears.gaps) == 100_000
    assert ears.offsets[-1] == 99_999
    assert len(ears.offsets) < 20_000


async def test_reading_back_takes_the_newest_of_a_time():
    """From a time on, up to an offset, and of too many the newest: which is told."""
    script = Script(end=5_000)
    whole = await read_back(script, "t", Json(), since=NOW + 1_000, until={0: 3_000}, most=10_000, seconds=5)
    assert [offset for seen in whole.batches for offset in seen.offsets] == list(range(1_000, 3_000))
    assert (whole.complete, whole.gaps) == (True, [])
    part = await read_back(script, "t", Json(), since=NOW + 1_000, most=500, seconds=5)
    assert [offset for seen in part.batches for offset in seen.offsets] == list(range(4_500, 5_000))
    assert not part.complete
    assert part.gaps == [(NOW + 1_000, part.batches[0].times[0], 3_500)]
    assert part.reached_end


async def test_what_did_not_come_in_time_is_missing_at_the_end():
    """It is not taken for nothing: how much is missing since when is told."""
    script = Script(end=5_000)
    script.silent_from = 3_000
    past = await read_back(script, "t", Json(), since=NOW + 1_000, most=10_000, seconds=5)
    assert [offset for seen in past.batches for offset in seen.offsets] == list(range(1_000, 3_000))
    assert past.gaps == [(NOW + 2_999, None, 2_000)]
    assert (past.complete, past.reached_end) == (False, False)


async def test_reading_back_nothing_is_nothing():
    """An empty topic has an empty, complete past."""
    past = await read_back(Script(end=0), "t", Json(), since=0, most=10, seconds=5)
    assert (past.batches, past.complete) == ([], True)


async def test_a_topic_that_cannot_be_read_is_an_error_at_once():
    """Opening a tap on a broken broker raises, so that the panel can say why."""
    script = Script(end=0)
    script.fail = BrokerError("no such topic")
    with pytest.raises(BrokerError, match="no such topic"):
        await Tap(script, "t", Json()).open(NOW)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50)), max_size=60))
def test_merged_batches_are_in_the_order_of_time(seen, records):
    """Whatever the partitions, the merge holds every record once, by time, each partition's ties in their order."""
    batches = []
    for partition in range(3):
        times = sorted(time for p, time in records if p == partition)
        batch = seen([{"p": partition, "n": n} for n in range(len(times))], times)
        batch.partition = partition
        batches.append(batch)
    merged = in_order(batches)
    times = [time for batch in merged for time in batch.times]
    assert times == sorted(time for _, time in records)
    for partition in range(3):
        numbers = [value["n"] for batch in merged if batch.partition == partition for value in batch.values]
        assert numbers == list(range(len(numbers)))


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 1_000), max_size=8), st.integers(1, 3_000))
def test_a_past_that_is_too_much_is_shared_evenly(wanted, most):
    """Who wants little gets it all; of the others each gets the same; nothing is given away, and little too much."""
    given = shares(wanted, most)
    assert given.keys() == wanted.keys()
    assert all(given[name] <= wanted[name] for name in wanted)
    assert sum(given.values()) >= min(sum(wanted.values()), most) if most >= len(wanted) else True
    assert sum(given.values()) <= most + len(wanted)
    short = [given[name] for name in wanted if given[name] < wanted[name]]
    assert not short or max(short) - min(short) <= 1
    assert not short or min(short) + 1 >= max(given.values())
