"""A stage's steps over a batch: whatever fails, the result is that of one record after the other."""

import asyncio
import copy
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runtime.runtime_kit import ManualClock, batch, context, step, turns_of_others
from streamweaver import BadRecord, Batch, Fatal, Record, Retriable, TransformContext, option, transform
from streamweaver.record import Batch as BatchType
from streamweaver.retry import Backoff
from streamweaver.runtime import chain as module
from streamweaver.runtime.chain import Chain, Input
from streamweaver.runtime.context import StepContext
from streamweaver.runtime.step import Limits, Step, Tick, tick_for


def one(record: Record, state: Any, kind: str) -> list[Record]:
    """Do what a step of some kind does to one record; `poison` names the kind that fails, if any does."""
    value = record.value
    value["seen"].append(kind)
    if kind == "count":
        # Read, changed in place and assigned, as plugins do; fails only after it has changed.
        history = state.get(value["key"], [])
        history.append(value["n"])
        state[value["key"]] = history
        value["count"] = len(history)
    if value["poison"] == kind:
        raise ValueError(f"{kind} {value['n']}")
    if kind == "even":
        return [] if value["n"] % 2 else [record]
    if kind == "copies":
        return [Record({**copy.deepcopy(value), "copy": n}) for n in range(value["n"] % 3)]
    if kind == "forget" and value["key"] in state:
        del state[value["key"]]
    return [record]


@transform("by_record")
@attrs.define
class ByRecord:
    """Plain, a record at a time."""

    kind: str = option(help="kind")

    def process_record(self, record: Record, context: TransformContext) -> Any:
        made = one(record, context.state, self.kind)
        return made[0] if len(made) == 1 else made or None


@transform("by_await")
@attrs.define
class ByAwait:
    """Async, a record at a time."""

    kind: str = option(help="kind")

    async def process_record(self, record: Record, context: TransformContext) -> Any:
        return one(record, context.state, self.kind)


@transform("by_batch")
@attrs.define
class ByBatch:
    """A batch at a time; blames nobody."""

    kind: str = option(help="kind")

    def process(self, batch: Batch, context: TransformContext) -> Iterable[Record]:
        for record in batch:
            for made in one(record, context.state, self.kind):
                made.origin = record.origin
                yield made


@transform("by_blame")
@attrs.define
class ByBlame:
    """A batch at a time; names the record that is bad."""

    kind: str = option(help="kind")

    def process(self, batch: Batch, context: TransformContext) -> Iterable[Record]:
        made = []
        for index, record in enumerate(batch):
            try:
                made += one(record, context.state, self.kind)
            except ValueError as error:
                raise BadRecord(index, error) from error
        return made


KINDS = ["count", "even", "copies", "forget", "pass", "encode"]
FORMS = [ByRecord, ByAwait, ByBatch, ByBlame]
STEPS = st.lists(st.tuples(st.sampled_from(FORMS), st.sampled_from(KINDS[:-1])), min_size=1, max_size=4)
RECORDS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from("ab"), st.sampled_from([None, None, None, *KINDS])), max_size=12
)


def finish(records: list[Record]) -> list[Any]:
    """Stand for the encoder: blames the first record that says so."""
    for index, record in enumerate(records):
        if record.value["poison"] == "encode":
            raise BadRecord(index, ValueError(f"encode {record.value['n']}"))
    return [copy.deepcopy(record.value) for record in records]


def naive(values: list[Any], kinds: list[str], states: list[dict[Any, Any]]) -> tuple[list[Any], list[int]]:
    """One record after the other; one that fails anywhere leaves nothing behind."""
    out, failed = [], []
    for index, value in enumerate(values):
        tried = copy.deepcopy(states)
        records = [Record(copy.deepcopy(value))]
        try:
            for kind, state in zip(kinds, tried, strict=True):
                records = [made for record in records for made in one(record, state, kind)]
            out += finish(records)
        except (ValueError, BadRecord):
            failed.append(index)
        else:
            states[:] = tried
    return out, failed


@given(STEPS, st.lists(RECORDS, min_size=1, max_size=3))
async def test_it_is_one_record_after_the_other(steps: list[Any], batches: list[Any]) -> None:
    """Outputs, failures and state are those of a naive loop, for any steps and failures, over the batches of a unit."""
    built: list[Step] = [step(form, f"{i}", options={"kind": kind}) for i, (form, kind) in enumerate(steps)]
    chain = Chain(built, finish, Limits())
    contexts = [context() for _ in built]
    states: list[dict[Any, Any]] = [{} for _ in built]
    for records in batches:
        values = [{"n": n, "key": key, "poison": poison, "seen": []} for n, key, poison in records]
        if not values:
            continue
        outcome = await chain.run(input_of(values), contexts)
        expected, failed = naive(values, [kind for _, kind in steps], states)
        assert [value for part in outcome.parts for value in part] == expected
        assert [failure.origin for failure in outcome.failures] == failed
        assert outcome.outputs == len(expected)
        assert len(values) + outcome.added == outcome.outputs + outcome.filtered + len(failed)
        assert [dict(using.state.items()) for using in contexts] == states


def input_of(values: list[Any]) -> Input:
    def again() -> list[Record]:
        return batch(*copy.deepcopy(values)).records  # type: ignore[no-any-return]

    return Input(batch(*copy.deepcopy(values)), again)


def chain_of(*steps: Step, attempts: int = 1, done: Any = list) -> Chain[Any]:
    return Chain(list(steps), done, Limits(None, 1, attempts, Backoff(1.0, 8.0)))


async def run(chain: Chain[Any], *values: Any, using: list[StepContext] | None = None, steps: int = 1) -> Any:
    return await chain.run(input_of(list(values)), using or [context() for _ in range(steps)])


async def test_good_records_stay_on_the_fast_path() -> None:
    """A failing record of a stateless record function costs no second call of its neighbours."""
    calls: list[int] = []

    @transform
    def work(record: Record) -> Record:
        calls.append(record.value)
        if record.value == 1:
            raise ValueError("one")
        return record

    outcome = await run(chain_of(step(work)), 0, 1, 2)
    assert calls == [0, 1, 2]
    assert [(f.origin, f.step, str(f.error), f.tries) for f in outcome.failures] == [(1, "work", "one", 1)]
    assert [[r.value for r in part] for part in outcome.parts] == [[0, 2]]


async def test_blame_costs_one_call_with_the_rest() -> None:
    """The record named is taken out, the others go on as a batch; no other record is called alone."""
    sizes: list[int] = []

    @transform
    def work(batch: Batch) -> Iterable[Record]:
        sizes.append(len(batch))
        for index, record in enumerate(batch):
            if record.value in (2, 5):
                raise BadRecord(index, "odd")
        return batch

    outcome = await run(chain_of(step(work)), *range(8))
    assert sizes == [8, 7, 6]
    assert [(f.origin, str(f.error)) for f in outcome.failures] == [
        (2, "record 2 of the batch: odd"),
        (5, "record 4 of the batch: odd"),
    ]


async def test_blame_that_depends_on_neighbours_counts() -> None:
    """A record that is bad only beside another one is the bad one, though it would pass alone."""

    @transform
    def unique(batch: Batch) -> Iterable[Record]:
        for index, record in enumerate(batch.records):
            if any(r.value == record.value for r in batch.records[:index]):
                raise BadRecord(index, "twice")
        return batch

    outcome = await run(chain_of(step(unique)), "a", "b", "a")
    assert [f.origin for f in outcome.failures] == [2]
    assert [[r.value for r in part] for part in outcome.parts] == [["a", "b"]]


async def test_more_blame_than_is_worth_it_is_settled_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record is then tried alone, once; those blamed already are not tried again."""
    monkeypatch.setattr(module, "_BLAMED", 2)
    sizes: list[int] = []

    @transform
    def work(batch: Batch) -> Iterable[Record]:
        sizes.append(len(batch))
        raise BadRecord(0, "bad")

    outcome = await run(chain_of(step(work)), *range(5))
    assert sizes == [5, 4, 3, 1, 1, 1]
    assert [f.origin for f in outcome.failures] == [0, 1, 2, 3, 4]


async def test_an_index_beyond_the_batch_blames_nobody() -> None:
    """The records are tried one at a time instead."""

    @transform
    def work(batch: Batch) -> Iterable[Record]:
        if any(r.value == 1 for r in batch):
            raise BadRecord(99, "who?")
        return batch

    outcome = await run(chain_of(step(work)), 0, 1, 2)
    assert [f.origin for f in outcome.failures] == [1]


async def test_a_batch_is_tried_again_when_that_may_help() -> None:
    """Retriable and a time-out of a batch transform are repeated after the wait, on records as they first came."""
    seen: list[Any] = []

    @transform
    def work(batch: Batch) -> Iterable[Record]:
        seen.append([r.value["n"] for r in batch])
        for record in batch:
            record.value["n"] += 100
        if len(seen) == 1:
            raise Retriable("busy", after=3.0)
        if len(seen) == 2:
            raise TimeoutError
        return batch

    clock = ManualClock()
    using = context(clock)
    outcome = await run(chain_of(step(work), attempts=3), {"n": 1}, {"n": 2}, using=[using])
    assert seen == [[1, 2], [1, 2], [1, 2]]
    assert clock.slept[0] == 3.0
    assert using.metrics.retries == 2
    assert [[r.value["n"] for r in part] for part in outcome.parts] == [[101, 102]]


async def test_attempts_exhausted_cost_the_records_that_fail() -> None:
    """Then each is tried once alone; the failure tells how often it was tried."""

    @transform
    def work(batch: Batch) -> Iterable[Record]:
        if any(r.value == 1 for r in batch):
            raise Retriable("busy")
        return batch

    outcome = await run(chain_of(step(work), attempts=3), 0, 1, 2)
    assert [(f.origin, str(f.error), f.tries) for f in outcome.failures] == [(1, "busy", 3)]
    assert outcome.outputs == 2


async def test_tries_of_a_record_are_not_multiplied() -> None:
    """A record function that used up its tries is not tried as often again with the batch."""
    calls = 0

    @transform
    def remember(record: Record, context: TransformContext) -> Record:
        context.state["n"] = record.value
        return record

    @transform
    async def ask(record: Record) -> Record:
        nonlocal calls
        calls += 1
        raise Retriable("busy")

    chain = chain_of(step(remember), step(ask, attempts=3), attempts=3)
    outcome = await run(chain, 0, steps=2)
    assert [(f.step, f.tries) for f in outcome.failures] == [("ask", 3)]
    assert calls == 6


@pytest.mark.parametrize("waits", ["busy", "no answer"])
async def test_a_bad_neighbour_costs_no_other_record_its_tries(waits: str) -> None:
    """One by one too, a record that may do better later is tried as often as asked, after the waits."""
    calls: list[Any] = []

    @transform
    def work(batch: Batch) -> Iterable[Record]:
        for record in batch:
            calls.append(record.value["n"])
            record.value["n"] += 100
            if record.value["n"] == 100:
                raise ValueError("bad")
            if record.value["n"] == 101 and calls.count(1) < 3:
                raise Retriable(waits, after=2.0) if waits == "busy" else TimeoutError(waits)
        return batch

    clock = ManualClock()
    outcome = await run(chain_of(step(work), attempts=3), *({"n": n} for n in range(3)), using=[context(clock)])
    assert [(f.origin, str(f.error), f.tries) for f in outcome.failures] == [(0, "bad", 1)]
    assert [r.value["n"] for part in outcome.parts for r in part] == [101, 102]
    assert calls == [0, 0, 1, 1, 1, 2]
    assert len(clock.slept) == 2


async def test_a_bad_neighbour_gives_no_record_more_tries() -> None:
    """One that never does better fails after as many tries as asked."""
    calls: list[Any] = []

    @transform
    def work(batch: Batch) -> Iterable[Record]:
        calls.extend(r.value for r in batch)
        if batch[0].value == 0:
            raise ValueError("bad")
        raise Retriable("busy")

    outcome = await run(chain_of(step(work), attempts=3), 0, 1)
    assert [(f.origin, f.tries) for f in outcome.failures] == [(0, 1), (1, 3)]
    assert calls == [0, 1, 0, 1, 1, 1]


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_try_that_failed_leaves_no_trace_in_state(concurrency: int) -> None:
    """The state that an async function had changed before it asked for another try is as it was before."""
    tries = 0

    @transform
    async def count(record: Record, context: TransformContext) -> Record:
        nonlocal tries
        context.state["n"] = context.state.get("n", 0) + 1
        tries += 1
        if tries == 2:
            raise Retriable("busy")
        return Record(context.state["n"])

    chain = chain_of(step(count, attempts=3, concurrency=concurrency), attempts=3)
    outcome = await run(chain, "a", "b", "c")
    assert [r.value for part in outcome.parts for r in part] == [1, 2, 3]
    assert outcome.failures == []


@pytest.mark.parametrize("form", ["record", "overlapping", "batch"])
async def test_a_cancellation_from_inside_costs_its_record(form: str) -> None:
    """Nobody has stopped the stage: the record is not dropped in silence, and the others go on."""

    async def work(value: int) -> None:
        if value == 1:
            raise asyncio.CancelledError

    @transform
    async def by_record(record: Record) -> Record:
        await work(record.value)
        return record

    @transform
    async def by_batch(batch: Batch) -> Iterable[Record]:
        for record in batch:
            await work(record.value)
        return batch

    target = step(by_batch) if form == "batch" else step(by_record, concurrency=1 if form == "record" else 2)
    outcome = await run(chain_of(target), 0, 1, 2)
    assert [(f.origin, type(f.error)) for f in outcome.failures] == [(1, RuntimeError)]
    assert (outcome.outputs, outcome.filtered) == (2, 0)


async def test_a_state_value_that_cannot_be_stored_costs_its_record() -> None:
    """It is found before the unit is committed, so that its neighbours go on."""

    @transform
    def work(record: Record, context: TransformContext) -> Record:
        context.state[record.value] = object() if record.value == 1 else record.value
        return record

    using = context()
    outcome = await run(chain_of(step(work)), 0, 1, 2, using=[using])
    assert [(f.origin, f.step) for f in outcome.failures] == [(1, "work")]
    assert dict(using.state.items()) == {0: 0, 2: 2}


async def test_state_of_earlier_batches_of_the_unit_stays() -> None:
    """A batch that fails takes back what it changed, and nothing that the unit holds already."""

    @transform
    def total(batch: Batch, context: TransformContext) -> Iterable[Record]:
        for record in batch:
            context.state["sum"] = context.state.get("sum", 0) + record.value
            if record.value < 0:
                raise ValueError("negative")
        return batch

    using = context()
    chain = chain_of(step(total))
    await run(chain, 1, 2, using=[using])
    await run(chain, 4, -100, 8, using=[using])
    assert using.state["sum"] == 15


@pytest.mark.parametrize("blocking", [False, True])
async def test_exit_and_fatal_end_the_stage(blocking: bool) -> None:
    """sys.exit in a plugin is an error of its stage."""

    def leave(record: Record) -> Record:
        raise SystemExit(3)

    def fatal(record: Record) -> Record:
        raise Fatal("no table")

    with pytest.raises(Fatal, match=r"step leave called sys.exit\(3\)"):
        await run(chain_of(step(transform("leave", blocking=blocking)(leave))), 0)
    with pytest.raises(Fatal, match="no table"):
        await run(chain_of(step(transform("fatal", blocking=blocking)(fatal))), 0)


async def test_many_bad_records_let_others_have_a_turn() -> None:
    """The slow path gives way to other tasks."""

    @transform
    def bad(batch: Batch) -> Iterable[Record]:
        raise ValueError("no")

    with turns_of_others() as turns:
        outcome = await run(chain_of(step(bad)), *range(500))
    assert len(outcome.failures) == 500
    assert len(turns) >= 9


async def test_everything_filtered_makes_no_output() -> None:
    """Later steps are not called with nothing."""

    @transform
    def none(record: Record) -> None:
        return None

    @transform
    def never(batch: Batch) -> Iterable[Record]:
        raise AssertionError("called")

    outcome = await run(chain_of(step(none), step(never)), 0, 1, steps=2)
    assert (outcome.parts, outcome.outputs, outcome.filtered) == ([], 0, 2)


# -- ticks ----------------------------------------------------------------------------------------


def ticking(call: Any) -> Tick | None:
    """Have a function as a step's tick."""
    return tick_for(SimpleNamespace(tick=call), Limits(), blocking=False)


async def test_a_tick_runs_through_the_steps_after_it() -> None:
    """What it makes gets the current time, passes later steps only, and counts as added; plain or async."""

    @transform
    def before(record: Record) -> Record:
        raise AssertionError("called")

    @transform
    def after(record: Record) -> Record:
        return Record(f"after {record.value}", timestamp=record.timestamp)

    async def tick(context: TransformContext) -> list[Record]:
        context.state["ticks"] = 1
        return [Record("tick"), Record("tock", timestamp=7)]

    contexts = [context(), context(), context()]
    chain = chain_of(step(before), step(before), step(after))
    outcome = await chain.tick(contexts, [None, ticking(tick), ticking(lambda _: None)])
    assert [(r.value, r.timestamp) for part in outcome.parts for r in part] == [
        ("after tick", 1_000_000),
        ("after tock", 7),
    ]
    assert (outcome.outputs, outcome.added) == (2, 2)
    assert contexts[1].state.changes() != {}


async def test_a_tick_that_fails_fails_the_stage() -> None:
    """There is no record to blame: the text names the step and what it said."""

    @transform
    def work(record: Record) -> Record:
        raise ValueError("later")

    def broken(_: Any) -> Any:
        raise KeyError("lost")

    def leave(_: Any) -> Any:
        raise SystemExit(1)

    def fatal(_: Any) -> Any:
        raise Fatal("as it is")

    chain = chain_of(step(work), step(work))
    contexts = [context(), context()]
    with pytest.raises(Fatal, match="the tick of step work failed: KeyError: 'lost'"):
        await chain.tick(contexts, [ticking(broken), None])
    with pytest.raises(Fatal, match="the tick of step work failed: SystemExit: 1"):
        await chain.tick(contexts, [ticking(leave), None])
    with pytest.raises(Fatal, match="as it is"):
        await chain.tick(contexts, [ticking(fatal), None])
    with pytest.raises(Fatal, match="step work failed for what the tick of work made: later"):
        await chain.tick(contexts, [ticking(lambda _: [Record(1)]), None])


def test_the_batch_type_is_the_public_one() -> None:
    """Plugins see the very class that they import."""
    assert BatchType is Batch
