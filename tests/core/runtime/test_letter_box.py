"""The letter box: what is seen, what is replayed where, and that nothing is done twice."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from core.runtime.runtime_kit import ManualClock, open_readers
from streamweaver.config import parse
from streamweaver.contracts import Broker, BrokerContext, Rows, TopicSpec
from streamweaver.errors import BrokerError, ConflictError, StorageError
from streamweaver.graph.build import build
from streamweaver.graph.plan import Plan
from streamweaver.record import Record
from streamweaver.registry import Registry
from streamweaver.runtime import letter_box
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.codec import Encoder
from streamweaver.runtime.dead_letter import DeadLetter, original_place, to_rows
from streamweaver.runtime.edit import parse_edit
from streamweaver.runtime.letter_box import Filter, LetterBox, UnreadableError, parse_id

FILE = """\
name: shop
topics: {orders: {partitions: 4}, priced: {partitions: 4}}
producers:
  file: {use: ndjson_file, path: orders.ndjson, to: orders, key: id}
flows:
  prices: {from: orders, steps: [{use: convert, types: {price: float}}], to: priced}
sinks:
  out: {use: console, from: [priced, orders]}
"""

EVERYTHING = Filter()


@pytest.fixture
def plan() -> Plan:
    return build(parse(FILE, "shop.yaml"), Registry())[0]


@pytest.fixture
async def broker(plan: Plan, tmp_path: Path) -> AsyncIterator[Broker]:
    """The runner's broker, with every topic that the engine would have made."""
    opened: Broker = plan.broker.build()
    await opened.open(BrokerContext(pipeline="shop", data_dir=tmp_path))
    replays = [TopicSpec(name=plan.replay(stage), partitions=4) for stage in ("prices", "out")]
    topics = [topic.spec for topic in plan.topics.values()]
    own = [TopicSpec(name=plan.dead_letters), TopicSpec(name=plan.settled_letters)]
    await opened.create([*topics, *replays, *own])
    yield opened
    await opened.close()


def letter(**changes: Any) -> DeadLetter:
    fields: dict[str, Any] = {
        "stage": "prices", "step": "convert", "error": "ValueError", "reason": "price: got \"x\"", "tries": 1,
        "failed_at": 1_000, "topic": "orders", "partition": 3, "offset": 17, "timestamp": 900,
        "key": b"k", "value": b'{"id":"k","price":"x"}', "headers": (("trace", b"1"),),
    }  # fmt: skip
    return DeadLetter(**{**fields, **changes})


async def post(plan: Plan, broker: Broker, *letters: DeadLetter) -> LetterBox:
    unit = broker.begin()
    unit.append(plan.dead_letters, 0, to_rows(list(letters)))
    await unit.commit()
    return LetterBox(plan, broker, SystemClock())


async def held(broker: Broker, topic: str) -> list[tuple[int, Any]]:
    """Return (partition, (key, value, timestamp, headers)) of each record of a topic."""
    found = []
    for partition, range_ in enumerate(await broker.ranges(topic)):
        if range_.end > range_.begin:
            reader = await broker.reader({(topic, partition): range_.begin})
            for rows in await reader.poll():
                headers = rows.headers or [()] * len(rows)
                columns = zip(rows.keys, rows.values, rows.timestamps, headers, strict=True)
                found += [(partition, row) for row in columns]
            await reader.close()
    return found


async def test_letters_come_with_their_place_as_id(plan: Plan, broker: Broker) -> None:
    """Oldest first, nothing dealt with yet."""
    box = await post(plan, broker, letter(), letter(offset=18))
    found = [one async for one in box.letters()]
    assert [(one.id, one.letter.offset, one.settled) for one in found] == [("0:0", 17, None), ("0:1", 18, None)]
    assert found[0].letter == letter()


async def test_records_that_are_no_letters_are_passed_over(plan: Plan, broker: Broker) -> None:
    """Somebody else's record in the topic is counted, not an error."""
    unit = broker.begin()
    unit.append(plan.dead_letters, 0, Rows([None], [b"?"], [1]))
    await unit.commit()
    box = await post(plan, broker, letter())
    assert [one.id async for one in box.letters()] == ["0:1"]
    assert box.unreadable == 1
    assert await box.letter("0:0") is None


@pytest.mark.parametrize("dry_run", [True, False])
async def test_ids_of_no_letter_are_absent(plan: Plan, broker: Broker, dry_run: bool) -> None:
    """They are told in order; what a filter leaves out, and what was dealt with before, is there all the same."""
    box = await post(plan, broker, letter(), letter(stage="other"), letter())
    await box.discard(Filter(ids=frozenset({"0:2"})))
    ids = frozenset({"0:0", "0:1", "0:2", "0:10", "0:9", "7:0"})
    outcome = await box.discard(Filter(ids=ids, stage="prices"), dry_run=dry_run)
    assert (outcome.done, outcome.before, outcome.absent) == (["0:0"], ["0:2"], ["0:9", "0:10", "7:0"])


async def test_one_letter_by_its_id(plan: Plan, broker: Broker) -> None:
    """None for an id that there is not."""
    box = await post(plan, broker, letter(), letter(offset=18))
    found = await box.letter("0:1")
    assert found is not None
    assert found.letter.offset == 18
    assert await box.letter("0:2") is None
    assert await box.letter("7:0") is None


def test_what_is_no_id() -> None:
    """The message shows one."""
    assert parse_id("0:17") == (0, 17)
    with pytest.raises(ValueError, match="such as 0:17"):
        parse_id("17")


async def test_a_flows_letter_goes_to_its_replay_topic(plan: Plan, broker: Broker) -> None:
    """In the partition it came from, with key, value, time and headers as they were, and where it came from."""
    box = await post(plan, broker, letter())
    assert (await box.replay(EVERYTHING)).done == ["0:0"]
    [(partition, (key, value, timestamp, headers))] = await held(broker, plan.replay("prices"))
    assert (partition, key, value, timestamp) == (3, b"k", letter().value, 900)
    assert original_place(headers) == ("orders", 17, (("trace", b"1"),))


async def test_a_producers_letter_goes_to_its_topic_by_its_key(plan: Plan, broker: Broker) -> None:
    """Keyed and placed as the producer would have done it."""
    box = await post(plan, broker, letter(stage="file", step="encode", offset=-1, partition=0, key=None))
    assert (await box.replay(EVERYTHING, [parse_edit("id=other")])).done == ["0:0"]
    [(partition, (key, value, _, headers))] = await held(broker, "orders")
    codec = plan.topics["orders"].codec
    assert codec.decode(value) == {"id": "other", "price": "x"}
    assert (key, headers) == (b"other", (("trace", b"1"),))
    place = Encoder(codec, 4, "id").encode([Record({"id": "other"})], 0, 0)
    assert [partition] == list(place)


async def test_nothing_is_replayed_twice(plan: Plan, broker: Broker) -> None:
    """What was replayed or discarded is counted and left alone, also by another box."""
    box = await post(plan, broker, letter(), letter(offset=18))
    await box.replay(Filter(ids=frozenset({"0:0"})))
    await box.discard(Filter(ids=frozenset({"0:1"})))
    outcome = await LetterBox(plan, broker, SystemClock()).replay(EVERYTHING)
    assert (outcome.done, sorted(outcome.before), outcome.refused) == ([], ["0:0", "0:1"], {})
    assert len(await held(broker, plan.replay("prices"))) == 1
    assert [one.settled.deed for one in [one async for one in box.letters()] if one.settled] == [
        "replayed",
        "discarded",
    ]


async def test_a_replay_that_breaks_off_is_resumed(plan: Plan, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails in the middle, the next replay does the rest, and no record comes twice."""
    monkeypatch.setattr(letter_box, "UNIT_LETTERS", 2)
    box = await post(plan, broker, *(letter(offset=n) for n in range(5)))
    units = iter([True, False])
    begin = broker.begin

    def failing() -> Any:
        if not next(units, True):
            raise StorageError("the disk is full")
        return begin()

    monkeypatch.setattr(type(broker), "begin", lambda self: failing())
    with pytest.raises(StorageError):
        await box.replay(EVERYTHING)
    outcome = await box.replay(EVERYTHING)
    assert (len(outcome.done), len(outcome.before)) == (3, 2)
    offsets = [original_place(row[3])[1] for _, row in await held(broker, plan.replay("prices"))]
    assert offsets == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("letters_a_unit", [1, 200])
async def test_what_another_command_does_meanwhile_is_left_alone(
    plan: Plan, broker: Broker, monkeypatch: pytest.MonkeyPatch, letters_a_unit: int
) -> None:
    """Also when it is done between our last look at the marks and our commit: then the commit is void, and repeated."""
    monkeypatch.setattr(letter_box, "UNIT_LETTERS", letters_a_unit)
    box = await post(plan, broker, letter(), letter(offset=18), letter(offset=19))
    begin, others = broker.begin, iter(["0:0", "0:2"])

    class Late:
        """A unit before whose commit somebody else deals with a letter."""

        def __init__(self) -> None:
            self.unit = begin()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.unit, name)

        async def commit(self) -> None:
            if (one := next(others, None)) is not None:
                with monkeypatch.context() as plain:
                    plain.setattr(type(broker), "begin", lambda _: begin())
                    await LetterBox(plan, broker, SystemClock()).discard(Filter(ids=frozenset({one})))
            await self.unit.commit()

    monkeypatch.setattr(type(broker), "begin", lambda _: Late())
    outcome = await box.replay(EVERYTHING)
    assert (outcome.done, sorted(outcome.before)) == (["0:1"], ["0:0", "0:2"])
    assert [original_place(row[3])[1] for _, row in await held(broker, plan.replay("prices"))] == [18]


async def test_a_command_that_is_always_too_late_gives_up(
    plan: Plan, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and has stored nothing."""
    box = await post(plan, broker, letter())
    box._clock = ManualClock()
    unit = type(broker.begin())

    async def refused(_: Any) -> None:
        raise ConflictError("somebody else has appended")

    monkeypatch.setattr(unit, "commit", refused)
    with pytest.raises(BrokerError, match="others deal with dead letters all the time"):
        await box.replay(EVERYTHING)


REPLAY = """
import asyncio, sys
from pathlib import Path
from streamweaver.config import parse
from streamweaver.contracts import BrokerContext
from streamweaver.graph.build import build
from streamweaver.record import Record
from streamweaver.registry import Registry
from streamweaver.runtime import letter_box
from streamweaver.runtime.clock import SystemClock

async def main():
    plan = build(parse(sys.argv[1], "shop.yaml"), Registry())[0]
    broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline="shop", data_dir=Path(sys.argv[2]), role="tool"))
    letter_box.UNIT_LETTERS = 5
    box = letter_box.LetterBox(plan, broker, SystemClock())
    print("ready", flush=True)
    sys.stdin.readline()
    outcome = await box.replay(letter_box.Filter())
    print(*outcome.done, flush=True)
    await broker.close()

asyncio.run(main())
"""


async def test_two_processes_that_replay_at_once_replay_each_letter_once(
    plan: Plan, broker: Broker, tmp_path: Path
) -> None:
    """All letters are replayed, each by one of the two, beside the running pipeline."""
    count = 200
    await post(plan, broker, *(letter(offset=n) for n in range(count)))
    command = [sys.executable, "-c", REPLAY, FILE, str(tmp_path)]
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    said = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    done = [letter_id for out, _ in said for letter_id in out.decode().split()]
    assert sorted(done) == sorted(f"0:{n}" for n in range(count))
    offsets = [original_place(row[3])[1] for _, row in await held(broker, plan.replay("prices"))]
    assert sorted(n for n in offsets if n is not None) == list(range(count))


async def test_a_limit_counts_what_is_open(plan: Plan, broker: Broker) -> None:
    """The oldest that are not dealt with yet."""
    box = await post(plan, broker, *(letter(offset=n) for n in range(4)))
    assert (await box.replay(EVERYTHING, limit=1)).done == ["0:0"]
    assert (await box.replay(EVERYTHING, limit=2)).done == ["0:1", "0:2"]


async def test_a_dry_run_stores_nothing(plan: Plan, broker: Broker) -> None:
    """It says the same as the real one, which then still has everything to do."""
    box = await post(plan, broker, letter(), letter(stage="gone"))
    dry = await box.replay(EVERYTHING, dry_run=True)
    assert await held(broker, plan.replay("prices")) == []
    assert await box.replay(EVERYTHING) == dry


@pytest.mark.parametrize(
    ("changes", "edit", "why"),
    [
        ({"stage": "gone"}, None, "stage 'gone' is no longer in the pipeline's file"),
        ({"topic": "gone"}, None, "topic 'gone' is no longer in the pipeline's file"),
        ({"offset": -1}, None, "came from a producer"),
        ({"value": b"{"}, "price=1", "codec json cannot decode the value"),
        ({}, "price.x=1", "price.x: got str"),
        ({"stage": "file", "offset": -1}, ".={}", "has no field 'id'"),
    ],
)
async def test_what_cannot_be_replayed_is_refused_with_the_reason(
    plan: Plan, broker: Broker, changes: dict[str, Any], edit: str | None, why: str
) -> None:
    """The letter stays open, and others are replayed."""
    box = await post(plan, broker, letter(**changes), letter(stage="out", value=b'{"price":{}}'))
    outcome = await box.replay(EVERYTHING, [] if edit is None else [parse_edit(edit)])
    assert why in outcome.refused["0:0"]
    assert outcome.done == ["0:1"]
    assert [one.id async for one in box.letters() if one.settled is None] == ["0:0"]


async def test_values_are_decoded_by_their_topics_codec(plan: Plan, broker: Broker) -> None:
    """A tombstone is None; bytes that cannot be decoded, and topics that are gone, are told."""
    box = await post(plan, broker, letter(), letter(value=None), letter(value=b"{"), letter(topic="gone"))
    found = [one async for one in box.letters()]
    assert box.value(found[0]) == {"id": "k", "price": "x"}
    assert box.value(found[1]) is None
    for one, why in zip(found[2:], ["codec json cannot decode", "no longer in"], strict=True):
        with pytest.raises(UnreadableError, match=why):
            box.value(one)


async def test_a_tombstone_is_replayed_as_one(plan: Plan, broker: Broker) -> None:
    """And an edit may make one, or end one."""
    box = await post(plan, broker, letter(value=None), letter(), letter(value=None))
    await box.replay(Filter(ids=frozenset({"0:0"})))
    await box.replay(Filter(ids=frozenset({"0:1"})), [parse_edit(".=null")])
    await box.replay(Filter(ids=frozenset({"0:2"})), [parse_edit(".={}")])
    assert [row[1] for _, row in await held(broker, plan.replay("prices"))] == [None, None, b"{}"]


async def test_a_pipeline_that_never_ran_has_no_letters(plan: Plan, broker: Broker) -> None:
    """Where the topic does not exist there is nothing to see, and nothing to do."""
    box = LetterBox(attrs.evolve(plan, name="other"), broker, SystemClock())
    assert [one async for one in box.letters()] == []
    assert await box.letter("0:0") is None
    assert (await box.replay(EVERYTHING)).done == []


async def test_a_letter_whose_key_was_cut_is_never_replayed(plan: Plan, broker: Broker) -> None:
    """No edit can give the key anew, and what is left of it is another one; it can be discarded."""
    unit = broker.begin()
    unit.append(plan.dead_letters, 0, to_rows([letter(key=b"k" * 5_000)], 2_000))
    await unit.commit()
    box = LetterBox(plan, broker, SystemClock())
    (cut,) = [found async for found in box.letters()]
    for edits in ([], [parse_edit('.={"price": 1}')]):
        assert (await box.replay(EVERYTHING, edits)).refused == {
            "0:0": f"{cut.letter.cut_of_key} bytes of its key were too many for the broker to keep; discard it"
        }
    assert (await box.discard(EVERYTHING)).done == ["0:0"]


async def test_a_letter_that_was_cut_is_not_replayed_as_it_is(plan: Plan, broker: Broker) -> None:
    """What is left of it is no record; with a whole value given anew it is."""
    unit = broker.begin()
    unit.append(plan.dead_letters, 0, to_rows([letter(value=b'"' + b"x" * 5_000 + b'"')], 2_000))
    await unit.commit()
    box = LetterBox(plan, broker, SystemClock())
    (cut,) = [found async for found in box.letters()]
    assert cut.letter.cut > 3_000
    for edits in ([], [parse_edit("price=1")]):
        outcome = await box.replay(EVERYTHING, edits)
        assert outcome.refused == {
            "0:0": f"{cut.letter.cut} bytes of it were too many for the broker to keep; give the whole value anew"
        }
    outcome = await box.replay(EVERYTHING, [parse_edit('.={"price": 1}')])
    assert outcome.done == ["0:0"]
    ((_, (_, value, _, _)),) = await held(broker, plan.replay("prices"))
    assert value == b'{"price":1}'


async def test_nothing_that_was_read_stays_open(plan: Plan, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where we leave before the end: once a letter is found, at the limit, or where what is found is no letter."""
    readers = open_readers(monkeypatch)
    unit = broker.begin()
    unit.append(plan.dead_letters, 0, Rows([None], [b"?"], [1]))
    await unit.commit()
    box = await post(plan, broker, letter(), letter(offset=18))
    assert await box.letter("0:0") is None
    assert readers == []
    assert await box.letter("0:1") is not None
    assert readers == []
    assert (await box.replay(EVERYTHING, limit=1, dry_run=True)).done == ["0:1"]
    assert readers == []


async def test_each_letter_has_its_own_edits(plan: Plan, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id, in one pass over the letters and one unit of work; the others are replayed as they are."""
    box = await post(plan, broker, letter(), letter(offset=18), letter(offset=19), letter(stage="gone"))
    edits = {"0:0": [parse_edit("price=1"), parse_edit("size=2")], "0:2": [parse_edit(".=null")], "0:9": []}
    dry = await box.replay(EVERYTHING, edits, dry_run=True)
    assert dry.edited == {"0:0": {"id": "k", "price": 1, "size": 2}, "0:2": None}
    assert dry.added == {"size": 1}
    calls: Counter[str] = Counter()

    def counted(name: str) -> None:
        plain = getattr(type(broker), name)

        def counting(*given: Any) -> Any:
            calls[name] += 1
            return plain(*given)

        monkeypatch.setattr(type(broker), name, counting)

    counted("reader")
    counted("begin")
    outcome = await box.replay(EVERYTHING, edits)
    assert (outcome.done, list(outcome.refused)) == (["0:0", "0:1", "0:2"], ["0:3"])
    # Read are the letters, and at the end the marks that were made.
    assert calls == {"reader": 2, "begin": 1}
    values = [row[1] for _, row in await held(broker, plan.replay("prices"))]
    assert values == [b'{"id":"k","price":1,"size":2}', letter().value, None]
