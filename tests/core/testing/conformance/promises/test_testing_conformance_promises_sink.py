"""Each promise of a sink is one that a sink can break, and no other promise tells."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from streamweaver import BadRecord, Batch, Fatal, Retriable, option, sink
from streamweaver.testing.conformance.promises.sink import SINK

T = TypeVar("T", bound=type)

SHELF = Path("shelf")
AWAY = Path("away")

BROKEN: dict[str, tuple[type, dict[str, Any]]] = {}
"""By the behaviour that catches it: a broken sink, and what its suite leaves out or adds."""


def broken(behaviour: str, *, faults: bool = True, patience: float = 1.0, **declared: Any) -> Callable[[T], T]:
    """Make a class the sink that breaks a promise."""

    def declare(cls: T) -> T:
        made = sink("shelf", example="{use: shelf}", **declared)(attrs.define(eq=False, slots=False)(cls))
        BROKEN[behaviour] = made, {"patience_seconds": patience} | ({} if faults else {"fail": None, "restore": None})
        return made

    return declare


def rows() -> list[int]:
    """Return the numbers on the shelf."""
    return [int(line) for line in (SHELF / "rows").read_text().split()]


@sink("shelf", example="{use: shelf}")
@attrs.define(eq=False, slots=False)
class Shelf:
    """Keep the numbers of records in a file on a shelf that can be away."""

    name: str = option(help="file", default="rows", example="rows")

    opened: bool = attrs.field(default=False, init=False)

    def open(self, _context: Any) -> None:
        self.opened = True

    def write(self, batch: Batch) -> Any:
        self.store(self.numbers(batch))

    def numbers(self, batch: Batch) -> list[int]:
        """Return the numbers of a batch; a record without one is bad, a tombstone is left out."""
        found = []
        for index, record in enumerate(batch):
            if record.value is not None:
                if not isinstance(record.value, dict):
                    raise BadRecord(index, "it has no number")
                found.append(int(record.value["n"]))
        return found

    def store(self, numbers: list[int]) -> None:
        """Append numbers; Retriable while the shelf is away."""
        try:
            with (SHELF / self.name).open("a") as file:
                file.writelines(f"{number}\n" for number in numbers)
        except FileNotFoundError as error:
            raise Retriable("the shelf is away") from error

    def held(self) -> set[int]:
        """Return what is stored."""
        try:
            return set(rows())
        except FileNotFoundError:
            return set()

    def close(self) -> None:
        self.opened = False


@sink("shelf", delivery="exactly_once", example="{use: shelf}")
@attrs.define(eq=False, slots=False)
class Once(Shelf):
    """Store each number once, however often it comes."""

    def store(self, numbers: list[int]) -> None:
        held = self.held()
        super().store([number for number in numbers if number not in held])


@sink("shelf", delivery="exactly_once", example="{use: shelf}")
@attrs.define(eq=False, slots=False)
class Ledger(Shelf):
    """Store rows and offset in one step, and pass over a batch that comes again."""

    def write(self, batch: Batch) -> Any:
        held = self.ledger()
        if batch.last_offset >= held["next"]:
            self.keep({"next": batch.last_offset + 1, "rows": held["rows"] + self.numbers(batch)})

    def ledger(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((SHELF / "ledger").read_text())
        except FileNotFoundError:
            return {"next": 0, "rows": []}
        return found

    def keep(self, ledger: dict[str, Any]) -> None:
        try:
            (SHELF / "new").write_text(json.dumps(ledger))
        except FileNotFoundError as error:
            raise Retriable("the shelf is away") from error
        (SHELF / "new").rename(SHELF / "ledger")
        (SHELF / "rows").write_text("\n".join(map(str, ledger["rows"])))

    def committed(self, topic: str, _partition: int) -> int | None:
        return self.ledger()["next"] or None if topic == "input" else None


@sink("shelf", blocking=True, example="{use: shelf}")
@attrs.define(eq=False, slots=False)
class Bound(Shelf):
    """Do everything in the thread in which it was opened, as a client of a database may want."""

    thread: int = attrs.field(default=0, init=False)

    def open(self, context: Any) -> None:
        self.thread = threading.get_ident()
        super().open(context)

    def write(self, batch: Batch) -> Any:
        assert self.thread == threading.get_ident()
        super().write(batch)

    def close(self) -> None:
        assert self.thread == threading.get_ident()


@sink("shelf", example="{use: shelf}")
@attrs.define(eq=False, slots=False)
class Stack(Shelf):
    """Store several batches in one step."""

    def write_all(self, batches: list[Batch]) -> Any:
        self.store([number for batch in batches for number in self.numbers(batch)])


@sink("shelf", delivery="exactly_once", example="{use: shelf}")
@attrs.define(eq=False, slots=False)
class Tome(Ledger):
    """Store rows and offset of several batches in one step, without those that come again."""

    def write_all(self, batches: list[Batch]) -> Any:
        held = self.ledger()
        self.add(held, [batch for batch in batches if batch.last_offset >= held["next"]])

    def add(self, held: dict[str, Any], batches: list[Batch]) -> None:
        """Keep the rows of batches beside those that are held."""
        numbers = [number for batch in batches for number in self.numbers(batch)]
        if batches:
            self.keep({"next": batches[-1].last_offset + 1, "rows": held["rows"] + numbers})


# -- batches --------------------------------------------------------------------------------------


@broken("stores_nothing_without_records")
class Signs(Shelf):
    """Store a row of its own if there was none to store."""

    wrote: bool = attrs.field(default=False, init=False)

    def write(self, batch: Batch) -> Any:
        self.wrote = True
        return super().write(batch)

    def close(self) -> None:
        if self.opened and not self.wrote:
            self.store([0])


@broken("takes_one_record")
class Several(Shelf):
    """Forget a first batch of one."""

    def write(self, batch: Batch) -> Any:
        if len(batch) > 1 or batch.first_offset > 0:
            super().write(batch)


@broken("takes_a_large_batch")
class Small(Shelf):
    """Store the first thousand records of a batch."""

    def write(self, batch: Batch) -> Any:
        super().write(Batch(batch.records[:1000]))


@broken("takes_any_key_and_text")
class Ascii(Shelf):
    """Take every key for text."""

    def write(self, batch: Batch) -> Any:
        for record in batch:
            bytes(record.key or b"").decode("ascii")  # type: ignore[arg-type]
        super().write(batch)


@broken("a_tombstone_costs_only_itself")
class Mourning(Shelf):
    """Pass over a batch in which a value is missing."""

    def write(self, batch: Batch) -> Any:
        if all(record.value is not None for record in batch):
            super().write(batch)


# -- refused records ------------------------------------------------------------------------------


def bad_ones(batch: Batch) -> list[int]:
    return [index for index, record in enumerate(batch) if isinstance(record.value, str)]


@broken("one_bad_record_costs_only_itself")
class Unjust(Shelf):
    """Blame the first record for what another one is."""

    def write(self, batch: Batch) -> Any:
        if len(bad_ones(batch)) == 1 and len(batch) == 8:
            raise BadRecord(0, "whoever it was")
        super().write(batch)


@broken("two_bad_records_cost_only_themselves")
class Hasty(Shelf):
    """Store what comes before the second bad record, and then refuse."""

    def write(self, batch: Batch) -> Any:
        if len(bad_ones(batch)) == 2:
            first, second = bad_ones(batch)
            self.store(self.numbers(Batch(batch.records[first + 1 : second])))
        super().write(batch)


@broken("a_batch_of_bad_records_is_refused")
class Polite(Shelf):
    """Say nothing when all records of a batch are bad."""

    def write(self, batch: Batch) -> Any:
        if len(bad_ones(batch)) < 8:
            super().write(batch)


@broken("parts_of_a_batch_are_stored")
class Whole(Shelf):
    """Forget a single record that does not stand at the beginning."""

    def write(self, batch: Batch) -> Any:
        if len(batch) > 1 or batch.first_offset == 0:
            super().write(batch)
        else:
            self.numbers(batch)


# -- durability -----------------------------------------------------------------------------------


@broken("write_returns_when_it_is_stored", faults=False)
class Buffer(Shelf):
    """Store everything in the end."""

    buffer: list[int] = attrs.field(factory=list, init=False)

    def write(self, batch: Batch) -> Any:
        self.buffer += self.numbers(batch)

    def close(self) -> None:
        self.store(self.buffer)
        self.buffer = []


@broken("stop_keeps_what_was_written")
class Tidy(Shelf):
    """Take the last row away when there are five."""

    def close(self) -> None:
        if self.opened and len(self.held()) == 5:
            (SHELF / "rows").write_text("\n".join(map(str, rows()[:-1])))


@broken("restart_loses_nothing")
class Fresh(Shelf):
    """Begin a new file when there are five rows in the old one."""

    def open(self, context: Any) -> None:
        super().open(context)
        if len(self.held()) == 5:
            (SHELF / "rows").unlink()

    def write(self, batch: Batch) -> Any:
        # It takes the first five for stored, though their file is gone.
        numbers = [number for number in self.numbers(batch) if batch.first_offset > 0 or len(batch) != 10 or number > 4]
        self.store(numbers)


@broken("restart_repeats_nothing", delivery="exactly_once")
class Forgetful(Shelf):
    """Know what has been stored until it is closed."""

    known: set[int] = attrs.field(factory=set, init=False)

    def store(self, numbers: list[int]) -> None:
        super().store([number for number in numbers if number not in self.known])
        self.known |= set(numbers)


@broken("offsets_are_stored_with_the_records", delivery="exactly_once")
class Unasked(Once):
    """Never know where it stands."""

    def committed(self, _topic: str, _partition: int) -> int | None:
        return None


@broken("a_repeated_batch_is_stored_once", delivery="exactly_once")
class Trusting(Ledger):
    """Store every batch that comes."""

    def write(self, batch: Batch) -> Any:
        held = self.ledger()
        self.keep({"next": batch.last_offset + 1, "rows": held["rows"] + self.numbers(batch)})


@broken("cancelled_in_the_middle")
class Stubborn(Shelf):
    """Take its time when it is cancelled."""

    async def write(self, batch: Batch) -> Any:
        super().write(batch)
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            await asyncio.sleep(60)


# -- several batches at once ----------------------------------------------------------------------


@broken("several_batches_are_stored")
class Upturned(Stack):
    """Store the last of several batches first."""

    def write_all(self, batches: list[Batch]) -> Any:
        super().write_all(batches[::-1])


@broken("a_bad_record_among_several_batches_costs_only_itself")
class Piecemeal(Stack):
    """Store one of several batches after the other, though the next may be refused."""

    def write_all(self, batches: list[Batch]) -> Any:
        for batch in batches:
            self.write(batch)


@broken("several_batches_that_come_again_are_stored_once", delivery="exactly_once")
class Credulous(Tome):
    """Store several batches whenever they come."""

    def write_all(self, batches: list[Batch]) -> Any:
        self.add(self.ledger(), batches)


@broken("restart_after_several_batches_loses_nothing")
class Torn(Tome):
    """Know where it stands, and not what of: when nine rows are there at the start they get lost."""

    def open(self, context: Any) -> None:
        super().open(context)
        if len(self.ledger()["rows"]) == 9:
            self.keep({"next": 9, "rows": []})


@broken("restart_after_several_batches_repeats_nothing", delivery="exactly_once")
class Oral(Tome):
    """Know only until it is closed which of several batches it has stored."""

    known: int = attrs.field(default=0, init=False)

    def write_all(self, batches: list[Batch]) -> Any:
        held = self.ledger()
        fresh = [batch for batch in batches if batch.last_offset >= max(held["next"], self.known)]
        numbers = [number for batch in fresh for number in self.numbers(batch)]
        self.keep({"next": held["next"], "rows": held["rows"] + numbers})
        self.known = batches[-1].last_offset + 1


@broken("several_batches_wait_for_their_destination")
class Careless(Stack):
    """Take several batches for stored when the shelf is away."""

    def write_all(self, batches: list[Batch]) -> Any:
        with contextlib.suppress(Retriable):
            super().write_all(batches)


# -- a destination that comes and goes ------------------------------------------------------------


@broken("waits_for_its_destination")
class Spill(Shelf):
    """Keep elsewhere, and call stored, what the shelf does not take."""

    def open(self, context: Any) -> None:
        super().open(context)
        self.store([])

    def store(self, numbers: list[int]) -> None:
        spilled = Path("spilled")
        waiting = [int(line) for line in spilled.read_text().split()] if spilled.exists() else []
        try:
            super().store(waiting + numbers)
            spilled.write_text("")
        except Retriable:
            spilled.write_text("\n".join(map(str, waiting + numbers)))


@broken("a_short_outage_is_retriable")
class Nervous(Shelf):
    """Give up when the shelf is away."""

    def store(self, numbers: list[int]) -> None:
        try:
            super().store(numbers)
        except Retriable as error:
            raise Fatal("the shelf is away") from error


@broken("connects_again_after_an_outage")
class Offended(Shelf):
    """Never come back after three failures."""

    def store(self, numbers: list[int]) -> None:
        failures = Path("failures")
        count = len(failures.read_text()) if failures.exists() else 0
        try:
            if count >= 3:
                raise Retriable("never again")
            super().store(numbers)
        except Retriable:
            failures.write_text("x" * (count + 1))
            raise


# -- its life -------------------------------------------------------------------------------------


@broken("opens_again_after_close")
class Closed(Shelf):
    """Stay closed."""

    closed: bool = attrs.field(default=False, init=False)

    def write(self, batch: Batch) -> Any:
        if not self.closed:
            super().write(batch)

    def close(self) -> None:
        self.closed = True


@broken("leaves_nothing_running")
class Threaded(Shelf):
    """Start a thread, and forget it."""

    def open(self, context: Any) -> None:
        super().open(context)
        threading.Thread(target=threading.Event().wait, args=(3.0,), daemon=True).start()


@broken("does_not_block_the_loop", patience=10.0)
class Slow(Shelf):
    """Wait where others wait for it."""

    def write(self, batch: Batch) -> Any:
        time.sleep(0.13)
        super().write(batch)


@broken("close_follows_a_failed_open")
class Open(Shelf):
    """Take an open that has succeeded for granted."""

    def open(self, context: Any) -> None:
        self.stage = context.stage
        super().open(context)

    def close(self) -> None:
        assert self.stage


SUITE: dict[str, Any] = {
    "prepare": SHELF.mkdir,
    "read": lambda _options: rows(),
    "bad": "no number",
    "fail": lambda: SHELF.rename(AWAY),
    "restore": lambda: AWAY.exists() and AWAY.rename(SHELF),
}


@pytest.mark.parametrize("healthy", [Shelf, Once, Ledger, Bound, Stack, Tome])
def test_healthy_sinks_keep_every_promise(healthy: type, caught: Any) -> None:
    """What the broken ones are made of breaks no promise."""
    assert caught(healthy, **SUITE) == {}


@pytest.mark.parametrize("behaviour", BROKEN)
def test_only_this_behaviour_tells(behaviour: str, caught: Any) -> None:
    """A sink that breaks one promise fails the behaviour of that promise, and no other."""
    target, other = BROKEN[behaviour]
    found = caught(target, **{**SUITE, **other})
    assert list(found) == [behaviour], found


def test_every_behaviour_can_fail() -> None:
    """There is a broken sink for each behaviour."""
    assert {behaviour.name for behaviour in SINK} <= BROKEN.keys()
