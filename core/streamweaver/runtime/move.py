"""Moving a pipeline that is stopped to another broker: records, offsets, positions and state, so that it goes on there.

Records are copied in order and read back. Where the copy has other offsets than the original (the original begins
above 0, or has gaps such as the marks of Kafka's transactions), whatever names a record by its offset becomes that of
the same record: the groups' offsets, the notes of sinks, dead letters and replayed records, the marks of dead letters
that have been dealt with. Those whose record has expired keep its old number. Out of reach is what plugins keep:
offsets in values and state, and a sink's own, for which a move is refused where they would not fit. Nothing is changed
at the old place.

All that can be refused is refused before anything is written. The new place must be empty: what an attempt that broke
off has left cannot be told from what a pipeline has done there since, and going on would double one or the other.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from streamweaver.config.model import DELIVERIES
from streamweaver.contracts import Broker, BrokerContext, Delivery, Group, Lane, Rows, TopicSpec
from streamweaver.errors import BrokerError
from streamweaver.graph.plan import Plan, StagePlan
from streamweaver.runtime.dead_letter import notes_store
from streamweaver.runtime.moved_offsets import (
    Change,
    Copies,
    Offsets,
    Place,
    moved_letters,
    moved_marks,
    moved_notes,
    moved_replays,
    translated,
)
from streamweaver.runtime.reading import through

LANE_SECONDS = 60.0
"""How long a share of a group's work may take to come to us; longer, and somebody else has it."""


@attrs.frozen
class Held:
    """What a stage's group has committed."""

    position: bytes | None
    offsets: dict[Place, int]
    state: dict[tuple[str, int], dict[bytes, bytes]]


@attrs.frozen
class Moved:
    """What was moved: records by topic, and stages with how many values of state each."""

    topics: dict[str, int]
    stages: dict[str, int]


async def move(old: Plan, new: Plan, *, old_data: Path, new_data: Path, tell: Callable[[str], None]) -> Moved:
    """Move what `old` keeps to the broker of `new`, which is the same pipeline; BrokerError when it cannot be.

    A stage that has not run yet has nothing to move, and begins at the new place.
    The old place is taken as for a run, so a pipeline that runs there is refused. What a refusal leaves at the new
    place is topics without records; what a failure on the way leaves is named by the next try.
    """
    async with _opened(old, old_data, "at_least_once", role="tool"):
        pass  # Where nothing is, that is said, and nothing is made.
    # As in a run, at the old place: taking over a lane ends what a killed worker has left open, which would hide all
    # that comes behind it. At the new one transactions are not needed, and their marks would take offsets.
    asked = max((stage.delivery for stage in old.stages.values()), key=DELIVERIES.index)
    async with _opened(old, old_data, asked) as source, _opened(new, new_data, "at_least_once") as target:
        kept = await source.topics()
        specs = _specs(old, new, kept)
        await _refuse_what_is_there(new, target, specs)
        began = [stage for stage in old.stages.values() if await _has_begun(old, stage, source, kept)]
        held = {stage.name: await _held(old, stage, source) for stage in began}
        bound = list(_bound_to_offsets([new.stages[stage.name] for stage in began], new))
        await _refuse_other_offsets(bound, source, target, specs)
        await target.create(list(specs.values()))
        copies: Copies = {}
        counts: dict[str, int] = {}
        # These name records by their places: dead letters and what is replayed those of other topics, marks letters.
        changes: dict[str, Change] = {
            **dict.fromkeys(map(old.replay, old.stages), moved_replays(copies)),
            old.dead_letters: moved_letters(copies),
            old.settled_letters: moved_marks(old.dead_letters, copies),
        }
        for name in sorted(specs, key=lambda name: list(changes).index(name) if name in changes else -1):
            found = await _copy(source, target, name, changes.get(name))
            copies.update(found)
            counts[name] = sum(before.total for before, _ in found.values())
            tell(f"topic {name}: {counts[name]} records")
        _refuse_what_moved(bound, copies)
        stages = {}
        for stage in began:
            await _hand_over(new, stage, target, held[stage.name], copies)
            stages[stage.name] = sum(map(len, held[stage.name].state.values()))
            tell(f"stage {stage.name}: {len(held[stage.name].offsets)} offsets, {stages[stage.name]} values of state")
        return Moved(counts, stages)


@asynccontextmanager
async def _opened(plan: Plan, data: Path, delivery: Delivery, role: Any = "run") -> AsyncIterator[Broker]:
    broker: Broker = plan.broker.build()
    context = BrokerContext(pipeline=plan.name, data_dir=data, role=role, worker="move", delivery=delivery)
    try:
        await broker.open(context)
        yield broker
    finally:
        await broker.close()


# -- what fits ------------------------------------------------------------------------------------


def _specs(old: Plan, new: Plan, kept: Mapping[str, TopicSpec]) -> dict[str, TopicSpec]:
    """Return the topics to move, as the new place should have them; all but the figures of the past."""
    own = {old.dead_letters, old.settled_letters, old.alerts, *map(old.replay, old.stages)}
    found = {}
    for name, spec in kept.items():
        if name in new.topics:
            wanted = new.topics[name].spec
            if wanted.partitions != spec.partitions:
                raise BrokerError(
                    f"topic {name} has {spec.partitions} partitions and would have {wanted.partitions}: keys and state "
                    "belong to partitions, so move it with as many as it has"
                )
            found[name] = wanted
        elif name in own:
            found[name] = spec
    return found


async def _refuse_what_is_there(plan: Plan, target: Broker, specs: Mapping[str, TopicSpec]) -> None:
    """Raise BrokerError, naming all of it, if the new place holds records, offsets or state of this pipeline.

    A topic with another number of partitions is refused even if it is empty: offsets would not fit.
    """
    there = await target.topics()
    # To see state its lanes have to be taken, for which the topics must be there; where none is, no state is.
    has_ours = any(name in specs or name.startswith(f"{plan.name}.") for name in there)
    found = [f"topic {name} holds records" for name in specs if name in there and await _holds_records(target, name)]
    found += [
        f"topic {name} has {there[name].partitions} partitions instead of {spec.partitions}"
        for name, spec in specs.items()
        if name in there and there[name].partitions != spec.partitions
    ]
    for stage in plan.stages.values():
        group = plan.group(stage.name)
        if await target.offsets(group):
            found.append(f"group {group} has committed offsets")
        elif has_ours and there.keys() >= set(plan.reads(stage)):
            held = await _held(plan, stage, target)
            if held.position is not None or held.state:
                found.append(f"stage {stage.name} has state")
    if found:
        raise BrokerError(
            f"the new place is not empty: {', '.join(found)}; delete that there, or name another place "
            "(nothing was moved)"
        )


async def _holds_records(broker: Broker, topic: str) -> bool:
    # Offsets do not say: transactions leave marks, and nothing else where they were undone.
    async with aclosing(through(broker, topic)) as found:
        async for rows in found:
            if rows.values:
                return True
    return False


async def _refuse_other_offsets(
    bound: Iterable[tuple[str, str]], source: Broker, target: Broker, specs: Mapping[str, TopicSpec]
) -> None:
    """Raise BrokerError if records would get other offsets that a sink has written down elsewhere."""
    there = await target.topics()
    for name, sink in bound:
        if name not in specs:
            continue
        starts = [held.end for held in await target.ranges(name)] if name in there else [0] * specs[name].partitions
        ranges = await source.ranges(name)
        for (_, partition), before in (await _places(source, name)).items():
            start, end = starts[partition], ranges[partition].end
            wanted = [[start, before.total]] if before.total else []
            if before.runs != wanted or end != start + before.total:
                raise BrokerError(
                    f"topic {name}, partition {partition}: the copy would have other offsets (retention has removed "
                    f"its first records, or transactions have left gaps), but sink {sink} refers to them by number; "
                    "let everything flow out, and start that part anew instead (nothing was moved)"
                )


def _bound_to_offsets(began: Iterable[StagePlan], plan: Plan) -> Iterator[tuple[str, str]]:
    """Go through the topics whose offsets are written down elsewhere, and the sinks that have done so."""
    for stage in began:
        if stage.keeps_offsets:
            for name in plan.reads(stage):
                yield name, stage.name


def _refuse_what_moved(bound: Iterable[tuple[str, str]], copies: Copies) -> None:
    for name, sink in bound:
        for (topic, partition), (before, after) in copies.items():
            if topic == name and before.runs != after.runs:
                raise BrokerError(
                    f"topic {name}, partition {partition}: the copy has other offsets, but sink {sink} refers to them; "
                    "does somebody else write to it?"
                )


# -- records --------------------------------------------------------------------------------------


async def _copy(source: Broker, target: Broker, topic: str, change: Change | None) -> Copies:
    """Copy a topic and read the copy; returns where each partition's records were and are."""
    before = {(topic, partition): Offsets() for partition in range(len(await source.ranges(topic)))}
    async for found in through(source, topic):
        rows = found if change is None else change(found)
        if rows.values:
            unit = target.begin()
            unit.append(topic, rows.partition, Rows(rows.keys, rows.values, rows.timestamps, rows.headers))
            await unit.commit()
            before[topic, rows.partition].add(rows.offsets)
    after = await _places(target, topic)
    for place, offsets in before.items():
        if after[place].total != offsets.total:
            raise BrokerError(
                f"topic {topic}, partition {place[1]}: {offsets.total} records were copied, and {after[place].total} "
                "are there: does somebody else write to it?"
            )
    return {place: (offsets, after[place]) for place, offsets in before.items()}


async def _places(broker: Broker, topic: str) -> dict[Place, Offsets]:
    """Return where each partition's records are."""
    found = {(topic, partition): Offsets() for partition in range(len(await broker.ranges(topic)))}
    async for rows in through(broker, topic):
        found[topic, rows.partition].add(rows.offsets)
    return found


# -- groups ---------------------------------------------------------------------------------------


async def _has_begun(plan: Plan, stage: StagePlan, broker: Broker, kept: Mapping[str, TopicSpec]) -> bool:
    """Say whether a stage may hold anything; one that is new in the file does not, and its topics are not there."""
    missing = [name for name in plan.reads(stage) if name not in kept]
    if missing and await broker.offsets(plan.group(stage.name)):
        raise BrokerError(
            f"stage {stage.name} has committed offsets, but there are no topics {', '.join(missing)} at the old place; "
            "start the pipeline there once more, which creates them (nothing was moved)"
        )
    return not missing


async def _held(plan: Plan, stage: StagePlan, broker: Broker) -> Held:
    """Read what a stage's group has committed."""
    held = Held(None, {}, {})
    async with aclosing(_lanes(plan, stage, broker)) as lanes:
        async for lane in lanes:
            held = attrs.evolve(held, position=held.position or lane.position())
            for place in lane.partitions:
                if (offset := lane.committed(*place)) is not None:
                    held.offsets[place] = offset
            for store, partition in _stores(plan, stage, lane):
                if values := dict(lane.state_items(store, partition)):
                    held.state[store, partition] = values
    return held


async def _hand_over(plan: Plan, stage: StagePlan, broker: Broker, held: Held, copies: Copies) -> None:
    """Commit at the new place what was committed at the old one."""
    async with aclosing(_lanes(plan, stage, broker)) as lanes:
        async for lane in lanes:
            unit = lane.begin()
            for place in lane.partitions:
                if place in held.offsets:
                    before, after = copies[place]
                    unit.mark(*place, translated(held.offsets[place], before, after))
            for store, partition in _stores(plan, stage, lane):
                await asyncio.sleep(0)
                values = held.state.get((store, partition), {})
                if store == notes_store(plan.group(stage.name)):
                    values = moved_notes(values, partition, copies)
                if values:
                    unit.put_state(store, partition, dict(values))
            if held.position is not None:
                unit.mark_position(held.position)
            await unit.commit()


def _stores(plan: Plan, stage: StagePlan, lane: Lane) -> Iterator[tuple[str, int]]:
    """Go through the state stores of a lane: in each partition those of each step; a producer's are in 0."""
    group = plan.group(stage.name)
    names = [f"{group}.{step.name}" for step in stage.steps]
    if stage.kind == "sink":
        names.append(notes_store(group))
    for partition in sorted({partition for _, partition in lane.partitions} or {0}):
        for name in names:
            yield name, partition


async def _lanes(plan: Plan, stage: StagePlan, broker: Broker) -> AsyncGenerator[Lane]:
    """Join a stage's group as the stage does, and go through its lanes until every partition was there."""
    topics = plan.reads(stage)
    left = {(topic, partition) for topic in topics for partition in range(len(await broker.ranges(topic)))}
    single = stage.kind == "producer" or (stage.use is not None and stage.use.plugin.single)
    group: Group = await broker.join(plan.group(stage.name), topics, single=single)
    lanes = group.lanes()
    taken: list[Lane] = []
    try:
        while True:
            try:
                async with asyncio.timeout(LANE_SECONDS):
                    lane = await anext(lanes)
            except TimeoutError:
                raise BrokerError(
                    f"stage {stage.name}: its work was not handed to us within {LANE_SECONDS:.0f} s, so somebody else "
                    "does it; stop the pipeline wherever it runs, and try again"
                ) from None
            taken.append(lane)
            yield lane
            left -= set(lane.partitions)
            if not left:
                break
    finally:
        for lane in taken:
            await lane.release()
        await group.leave()
