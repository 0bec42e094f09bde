"""Handing batches to a sink: which spans it is given, with which offsets."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.runtime.runtime_stage import scope_of
from streamweaver import BadRecord, Batch, Fatal, Fetched, Record, Retriable, producer, sink
from streamweaver.runtime.lane_work import Part
from streamweaver.runtime.writing import Handed, writer


@producer
def numbers() -> Any:
    """Produce."""


@sink
def keep(batch: Batch) -> None:
    """Keep."""


PIPELINE = """
name: t
producers:
  p: {use: numbers, to: a}
sinks:
  s: {use: keep, from: a, retry: {attempts: 3, initial: 1ms}}
"""


@pytest.fixture
def scope(tmp_path: Path) -> Any:
    return scope_of(PIPELINE, "s", [numbers, keep], tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=12),
    st.sets(st.integers(0, 11)),
    st.sets(st.integers(0, 11)),
    st.booleans(),
)
async def test_offsets_always_move_on(
    scope: Any, gaps: list[int], bad: set[int], filtered: set[int], blames: bool
) -> None:
    """Spans are written in order, cover every offset but those refused, and never overlap, whatever is bad."""
    offsets = [sum(gaps[: n + 1]) + 10 for n in range(len(gaps))]
    records = [Record(n, origin=n) for n in range(len(gaps)) if n not in filtered]
    if not records:
        return
    rows = Fetched([], [], [], None, "a", 0, offsets, offsets[-1] + 2)
    events: list[Any] = []

    class Store:
        def write(self, batch: Batch) -> None:
            for index, record in enumerate(batch):
                if record.value in bad:
                    raise BadRecord(index, "bad") if blames else ValueError("bad")
            assert batch.first_offset <= offsets[batch[0].value] <= offsets[batch[-1].value] <= batch.last_offset
            events.append(("write", [r.value for r in batch], batch.first_offset, batch.last_offset))

    async def refused(record: Record, error: Exception, part: Part) -> None:
        events.append(("refuse", record.value))

    write = writer(scope, Store(), refused)
    await write([(Batch(records, "a", 0, offsets[0], offsets[-1] + 1), Part("a", rows, offsets))])
    order = [value for event in events for value in (event[1] if event[0] == "write" else [event[1]])]
    assert order == [r.value for r in records]
    assert [event[1] for event in events if event[0] == "refuse"] == [r.value for r in records if r.value in bad]
    written = [event for event in events if event[0] == "write"]
    for before, after in pairwise(written):
        assert before[3] < after[2]
    if not bad:
        assert written == [("write", [r.value for r in records], offsets[0], offsets[-1] + 1)]


def handed(counts: dict[int, int]) -> list[Handed]:
    """Return one batch for each partition, of so many records, numbered over all of them."""
    made: list[Handed] = []
    first = 0
    for partition, count in counts.items():
        offsets = range(count)
        records = [Record(first + n, origin=n) for n in offsets]
        rows = Fetched([], [], [], None, "a", partition, offsets, count)
        made.append((Batch(records, "a", partition, 0, count - 1), Part("a", rows, offsets)))
        first += count
    return made


@attrs.define
class Several:
    """Takes several batches in one step, or each alone; refuses some records, and is away at first."""

    bad: set[int] = attrs.field(factory=set)
    away: int = 0
    fatal: bool = False
    blames: bool = False
    calls: list[tuple[str, list[int]]] = attrs.field(factory=list)
    stored: list[int] = attrs.field(factory=list)

    def write(self, batch: Batch) -> None:
        self.take("write", [batch])

    def write_all(self, batches: list[Batch]) -> None:
        self.take("write_all", batches)

    def take(self, verb: str, batches: list[Batch]) -> None:
        numbers = [record.value for batch in batches for record in batch]
        self.calls.append((verb, numbers))
        if self.fatal:
            raise Fatal("gone for good")
        if self.away:
            self.away -= 1
            raise Retriable("away", after=0.0)
        for index, number in enumerate(numbers):
            if number in self.bad:
                raise BadRecord(index, "bad") if self.blames else ValueError("bad")
        self.stored += numbers


@pytest.mark.parametrize("blames", [True, False])
@pytest.mark.parametrize("bad", [set[int](), {0}, {3}, {1, 5}, set(range(6))], ids=str)
async def test_several_batches_are_one_step_and_their_bad_records_are_found_by_write(
    scope: Any, bad: set[int], blames: bool
) -> None:
    """When no record is bad there is one call; else each batch goes alone, and only the bad ones are refused, once."""
    store = Several(bad, blames=blames)
    refused: list[int] = []

    async def refuse(record: Record, _error: Exception, part: Part) -> None:
        assert part.rows.partition == (0 if record.value < 4 else 1)
        refused.append(record.value)

    write = writer(scope, store, refuse)
    assert write.together
    await write(handed({0: 4, 1: 2}))
    assert store.calls[0] == ("write_all", [0, 1, 2, 3, 4, 5])
    assert all(verb == "write" for verb, _ in store.calls[1:])
    assert bool(store.calls[1:]) == bool(bad)
    assert store.stored == [n for n in range(6) if n not in bad]
    assert refused == sorted(bad)


async def test_one_batch_is_written_by_write(scope: Any) -> None:
    """`write_all` is for several: a single batch costs no second attempt when a record of it is bad."""
    store = Several()
    await writer(scope, store, unexpected)(handed({0: 3}))
    assert store.calls == [("write", [0, 1, 2])]


async def test_an_outage_of_several_batches_is_tried_again_with_the_same(scope: Any) -> None:
    """`Retriable` refuses no record and splits nothing; when the tries are used up it is raised."""
    store = Several(away=2)
    write = writer(scope, store, unexpected)
    await write(handed({0: 2, 1: 1}))
    assert store.calls == [("write_all", [0, 1, 2])] * 3
    store.away = 100
    with pytest.raises(Retriable, match="away"):
        await write(handed({0: 2, 1: 1}))
    assert {verb for verb, _ in store.calls} == {"write_all"}


async def test_a_fatal_error_of_several_batches_is_not_searched_for_bad_records(scope: Any) -> None:
    """It is raised as it is, after one call."""
    store = Several(fatal=True)
    with pytest.raises(Fatal, match="gone for good"):
        await writer(scope, store, unexpected)(handed({0: 2, 1: 1}))
    assert store.calls == [("write_all", [0, 1, 2])]


async def test_a_sink_without_write_all_gains_nothing_by_waiting(scope: Any) -> None:
    """Its batches are to be handed over one at a time, and several that come all the same are written in order."""
    written: list[int] = []

    class Plain:
        def write(self, batch: Batch) -> None:
            written.extend(record.value for record in batch)

    write = writer(scope, Plain(), unexpected)
    assert not write.together
    await write(handed({0: 2, 1: 2}))
    assert written == [0, 1, 2, 3]


async def unexpected(record: Record, _error: Exception, _part: Part) -> None:
    raise AssertionError(f"record {record.value} was refused")
