"""Splitting replayed rows by where they came from, and lanes that share the steps of their stage."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runtime.runtime_kit import Lane, turns_of_others
from streamweaver import Batch, Fetched, Record, transform
from streamweaver.hooks import Observers
from streamweaver.record import Headers
from streamweaver.runtime.chain import Chain
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.lane_work import PIECE_RECORDS, LaneWork, _by_original_topic
from streamweaver.runtime.scope import Scope, make_steps
from streamweaver.testing.harness import plan_of

ROWS = st.lists(
    st.tuples(st.sampled_from([None, "a", "b"]), st.none() | st.integers(0, 99), st.integers(1, 3)),
    min_size=1,
    max_size=12,
)


def headers_of(topic: str | None, offset: int | None) -> Headers:
    place: Headers = ()
    if topic is not None:
        place = (("streamweaver.topic", topic.encode()),)
        if offset is not None:
            place += (("streamweaver.offset", str(offset).encode()),)
    return (*place, ("h", b"x"))


@given(ROWS)
def test_parts_cover_the_rows_in_order(rows: list[tuple[str | None, int | None, int]]) -> None:
    """Each row once, with its own headers, topic and place; the offsets of parts follow one another."""
    offsets = [sum(gap for _, _, gap in rows[: n + 1]) for n in range(len(rows))]
    count = len(rows)
    fetched = Fetched(
        [b"%d" % n for n in range(count)],
        [b"v"] * count,
        list(range(count)),
        [headers_of(topic, offset) for topic, offset, _ in rows],
        "t.f.replay",
        3,
        offsets,
        offsets[-1] + 5,
    )
    parts = _by_original_topic(fetched)
    found = [
        (
            part.topic,
            shown,
            part.rows.offsets[n],
            part.rows.keys[n],
            part.rows.timestamps[n],
            (part.rows.headers or [])[n],
        )
        for part in parts
        for n, shown in enumerate(part.offsets)
    ]
    assert found == [
        (
            topic or "t.f.replay",
            offsets[n] if topic is None or offset is None else offset,
            offsets[n],
            b"%d" % n,
            n,
            (("h", b"x"),),
        )
        for n, (topic, offset, _) in enumerate(rows)
    ]
    assert all(one.topic != following.topic for one, following in pairwise(parts))
    ends = [part.rows.next_offset for part in parts]
    assert ends == [*(part.rows.offsets[0] for part in parts[1:]), offsets[-1] + 5]
    assert {part.rows.partition for part in parts} == {3}


def scope_of(folder: Path, name: str, step: Any) -> Scope:
    """Return the scope of a flow with one step."""
    text = f"""
name: turns
topics: {{a: {{partitions: 2, external: true}}}}
flows:
  pass: {{from: a, steps: [{{use: {name}}}], to: b}}
"""
    plan = plan_of(text, [step])
    return Scope(
        plan=plan,
        stage=plan.stages["pass"],
        broker=plan.broker.build(),
        clock=SystemClock(),
        data_dir=folder,
        log=lambda *_, **__: None,
        redact=str,
        observers=Observers(lambda _: None),
        progressed=lambda: None,
    )


async def test_lanes_of_a_stage_take_turns(tmp_path: Path) -> None:
    """Two lanes of one stage share its steps; a step that waits is not called by the other meanwhile."""
    inside: list[int] = []
    most = 0

    @transform("wait")
    async def wait(batch: Batch) -> list[Record]:
        nonlocal most
        inside.append(batch.partition)
        most = max(most, len(inside))
        # Long enough for the other lane to begin, if nothing kept it from that.
        for _ in range(20):
            await asyncio.sleep(0)
        inside.remove(batch.partition)
        return batch.records

    scope = scope_of(tmp_path, "wait", wait)
    _, steps = make_steps(scope)
    chain = Chain[list[Record]](steps.steps, lambda records: records, scope.limits)
    works = [LaneWork(scope, Lane(), steps, chain) for _ in range(2)]  # type: ignore[arg-type]
    rows = [Fetched([b"k"], [b"1"], [1], None, "a", partition, [0], 1) for partition in range(2)]
    parts = [(work, part) for work, one in zip(works, rows, strict=True) for part in work.parts(one)]
    done = await asyncio.gather(*(work.transform(part) for work, part in parts))
    assert [part.outcome.outputs for part in done] == [1, 1]
    assert most == 1


@pytest.mark.parametrize("topic", ["a", "turns.pass.replay"])
async def test_others_have_their_turn_between_pieces(tmp_path: Path, topic: str) -> None:
    """While much is waiting, or replayed, a plain step does not keep the event loop for longer than a piece takes."""

    @transform("pass_on")
    def pass_on(record: Record) -> Record:
        return record

    scope = scope_of(tmp_path, "pass_on", pass_on)
    _, steps = make_steps(scope)
    chain = Chain[list[Record]](steps.steps, lambda records: records, scope.limits)
    work = LaneWork(scope, Lane(), steps, chain, PIECE_RECORDS)  # type: ignore[arg-type]
    pieces = 5
    count = pieces * PIECE_RECORDS
    headers = [headers_of("a", n) for n in range(count)]
    rows = Fetched([None] * count, [b"1"] * count, [1] * count, headers, topic, 0, range(count), count)
    with turns_of_others() as turns:
        for part in work.parts(rows):
            await work.transform(part)
    assert len(turns) >= pieces - 1
    assert work.tally.received == count
