"""Each promise of a transform is one that a transform can break, and no other promise tells."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import attrs
import pytest

from streamweaver import Batch, Record, TransformContext, transform
from streamweaver.testing.conformance.promises.transform import TRANSFORM

T = TypeVar("T", bound=type)

BROKEN: dict[str, tuple[type, dict[str, Any]]] = {}
"""By the behaviour that catches it: a broken transform, and what its suite says otherwise."""


def broken(behaviour: str, **said: Any) -> Callable[[T], T]:
    """Make a class the transform that breaks a promise."""

    def declare(cls: T) -> T:
        made = transform("note", example="{use: note}")(attrs.define(eq=False, slots=False)(cls))
        BROKEN[behaviour] = made, said
        return made

    return declare


def notes(batch: Batch) -> list[Record]:
    """Return the records that a note can be put on."""
    return [record for record in batch if isinstance(record.value, dict) and "n" in record.value]


@transform("note", example="{use: note}")
@attrs.define
class Note:
    """Pass on whatever comes."""

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        return batch.records


@transform("note", example="{use: note}")
@attrs.define
class Count:
    """Count, refuse what has no number, and say the count as time passes."""

    def process_record(self, record: Record, context: TransformContext) -> list[Record] | None:
        number = record.value["n"] + 0
        context.state["count"] = context.state.get("count", 0) + 1
        if number == 2:
            return None
        return [Record({"n": number, "count": context.state["count"]}), Record({"again": number})]

    def tick(self, context: TransformContext) -> list[Record]:
        count = context.state.get("count", 0)
        if not count:
            return []
        context.state["count"] = 0
        return [Record({"counted": count}, key="all")]


# -- what comes out -------------------------------------------------------------------------------


@broken("takes_the_given_records")
class Picky:
    """Refuse the number three."""

    def process_record(self, record: Record, _context: TransformContext) -> Record:
        if record.value == {"n": 3}:
            raise ValueError("three is too many")
        return record


@broken("the_same_again_gives_the_same")
class Worn:
    """Give something else when it is used for the third time in a process."""

    used: ClassVar[int] = 0

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        type(self).used += len(batch) == 5
        return batch.records if self.used != 3 else []


@broken("batches_do_not_matter")
class Alone:
    """Tell whether a record came alone."""

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        for record in notes(batch):
            record.value["alone"] = len(batch) == 1
        return batch.records


@broken("keeps_the_order")
class Backwards:
    """Begin at the end."""

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        return batch.records[::-1]


@broken("results_are_records_of_their_own")
class Twice:
    """Return each record twice."""

    def process_record(self, record: Record, _context: TransformContext) -> list[Record]:
        return [record, record]


@broken("overlapping_calls_do_not_mix")
class Shared:
    """Keep what one call works on where the next one keeps it."""

    current: Any = attrs.field(default=None, init=False)

    async def process_record(self, record: Record, _context: TransformContext) -> Record:
        self.current = record.value
        await asyncio.sleep(0)
        record.value = self.current
        return record


# -- bad records ----------------------------------------------------------------------------------


@broken("a_hostile_record_costs_only_itself")
class Faint:
    """End a batch at what it does not know."""

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        for index, record in enumerate(batch):
            if not isinstance(record.value, dict):
                return batch.records[:index]
        return batch.records


@broken("a_bad_record_is_refused", bad={"n": None})
class Lenient:
    """Take a missing number for a number."""

    def process_record(self, record: Record, _context: TransformContext) -> Record:
        return record


# -- state ----------------------------------------------------------------------------------------


@broken("state_survives_a_restart")
class Amnesia:
    """Count on itself."""

    count: int = attrs.field(default=0, init=False)

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        for record in notes(batch):
            self.count += 1
            record.value["count"] = self.count
        return batch.records


@broken("ticks_on_an_empty_partition")
class Early:
    """Look at the first record when time passes."""

    def process(self, batch: Batch, context: TransformContext) -> list[Record]:
        context.state["first"] = True
        return batch.records

    def tick(self, context: TransformContext) -> list[Record]:
        assert context.state["first"]
        return []


@broken("ticks_survive_a_restart")
class Pending:
    """Keep what it is going to say where a restart loses it."""

    pending: int = attrs.field(default=0, init=False)

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        self.pending += len(batch)
        return batch.records

    def tick(self, _context: TransformContext) -> list[Record]:
        pending, self.pending = self.pending, 0
        return [Record({"pending": pending})] if pending else []


# -- its life -------------------------------------------------------------------------------------


@broken("opens_again_after_close")
class Closed:
    """Stay closed."""

    closed: bool = attrs.field(default=False, init=False)

    def process_record(self, record: Record, _context: TransformContext) -> Record:
        if self.closed:
            raise ValueError("closed")
        return record

    def close(self) -> None:
        self.closed = True


@broken("leaves_nothing_running")
class Threaded:
    """Start a thread, and forget it."""

    def open(self, _context: Any) -> None:
        threading.Thread(target=threading.Event().wait, args=(3.0,), daemon=True).start()

    def process_record(self, record: Record, _context: TransformContext) -> Record:
        return record


@broken("cancelled_in_the_middle")
class Stubborn:
    """Take its time when it is cancelled."""

    async def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
        return batch.records


@broken("does_not_block_the_loop", patience_seconds=10.0)
class Slow:
    """Wait where others wait for it."""

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        time.sleep(0.13)
        return batch.records


@broken("close_follows_a_failed_open")
class Open:
    """Take an open that has succeeded for granted."""

    stage: str = attrs.field(default="", init=False)

    def open(self, context: Any) -> None:
        self.stage = context.stage

    def close(self) -> None:
        assert self.stage

    def process_record(self, record: Record, _context: TransformContext) -> Record:
        return record


RECORDS = [{"n": number} for number in range(5)]


@pytest.mark.parametrize(("healthy", "said"), [(Note, {}), (Count, {"bad": {"n": "two"}})])
def test_healthy_transforms_keep_every_promise(healthy: type, said: dict[str, Any], caught: Any) -> None:
    """Dropping, changing and adding records, and keeping a state, breaks no promise."""
    assert caught(healthy, records=RECORDS, **said) == {}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_only_this_behaviour_tells(behaviour: str, caught: Any) -> None:
    """A transform that breaks one promise fails the behaviour of that promise, and no other."""
    target, said = BROKEN[behaviour]
    found = caught(target, **{"records": RECORDS, **said})
    assert list(found) == [behaviour], found


def test_every_behaviour_can_fail() -> None:
    """There is a broken transform for each behaviour."""
    assert {behaviour.name for behaviour in TRANSFORM} <= BROKEN.keys()
