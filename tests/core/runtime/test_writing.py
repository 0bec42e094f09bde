"""Handing batches to a sink: which spans it is given, with which offsets."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.runtime.runtime_stage import scope_of
from streamweaver import BadRecord, Batch, Fetched, Record, producer, sink
from streamweaver.runtime.lane_work import Part
from streamweaver.runtime.writing import writer


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
  s: {use: keep, from: a}
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
    await write(Batch(records, "a", 0, offsets[0], offsets[-1] + 1), Part("a", rows, offsets))
    order = [value for event in events for value in (event[1] if event[0] == "write" else [event[1]])]
    assert order == [r.value for r in records]
    assert [event[1] for event in events if event[0] == "refuse"] == [r.value for r in records if r.value in bad]
    written = [event for event in events if event[0] == "write"]
    for before, after in pairwise(written):
        assert before[3] < after[2]
    if not bad:
        assert written == [("write", [r.value for r in records], offsets[0], offsets[-1] + 1)]
