"""Moving a pipeline that is stopped to another broker: records, offsets, positions and state, so that it goes on there.

Records are copied in order and read back. Where the copy has other offsets than the original (the original begins
above 0, or the new broker counts marks of its own), each group's offset becomes that of the same record. Nothing is
changed at the old place.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from streamweaver.contracts import Broker, BrokerContext, Group, Lane, Rows, TopicSpec
from streamweaver.errors import BrokerError, RunError
from streamweaver.graph.plan import Plan, StagePlan

POLL_SECONDS = 30.0
"""Silence after which a partition that should hold more is taken to be unreadable."""

Place = tuple[str, int]


@attrs.define
class Offsets:
    """The offsets of a partition's records, in order, as runs of consecutive ones."""

    runs: list[list[int]] = attrs.field(factory=list)
    """First offset, and how many."""
    total: int = 0

    def add(self, offsets: Any) -> None:
        """Take the offsets that follow."""
        for offset in offsets:
            if self.runs and sum(self.runs[-1]) == offset:
                self.runs[-1][1] += 1
            else:
                self.runs.append([offset, 1])
        self.total += len(offsets)

    def before(self, offset: int) -> int:
        """Return how many records lie before an offset."""
        return sum(min(max(offset - first, 0), count) for first, count in self.runs)

    def of(self, index: int) -> int | None:
        """Return the offset of the record with an index; None behind the last."""
        for first, count in self.runs:
            if index < count:
                return first + index
            index -= count
        return None


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

    The old place is taken as for a run, so a pipeline that runs there is refused. What a refusal leaves at the new
    place is topics without records, or records that the next try names.
    """
    async with _opened(old, old_data, role="tool"):
        pass  # Where nothing is, that is said, and nothing is made.
    async with _opened(old, old_data) as source, _opened(new, new_data) as target:
        specs = _specs(old, new, await source.topics())
        await _refuse_what_would_not_fit(new, source, target, specs)
        await target.create(list(specs.values()))
        copies: dict[Place, tuple[Offsets, Offsets]] = {}
        counts: dict[str, int] = {}
        for name in specs:
            for place, both in (await _copy(source, target, name)).items():
                copies[place] = both
                counts[name] = counts.get(name, 0) + both[0].total
            tell(f"topic {name}: {counts.get(name, 0)} records")
        _refuse_what_moved(new, copies)
        stages = {}
        for stage in old.stages.values():
            held = await _held(old, stage, source)
            await _hand_over(new, stage, target, held, copies)
            stages[stage.name] = sum(map(len, held.state.values()))
            tell(f"stage {stage.name}: {len(held.offsets)} offsets, {stages[stage.name]} values of state")
        return Moved(counts, stages)


@asynccontextmanager
async def _opened(plan: Plan, data: Path, role: Any = "run") -> Any:
    broker: Broker = plan.broker.build()
    # A weaker guarantee than the pipeline's: what is copied needs no transactions, whose marks would take offsets.
    context = BrokerContext(pipeline=plan.name, data_dir=data, role=role, worker="move", delivery="at_least_once")
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


async def _refuse_what_would_not_fit(new: Plan, source: Broker, target: Broker, specs: dict[str, TopicSpec]) -> None:
    there = await target.topics()
    for name in specs:
        if name in there and any(held.end > held.begin for held in await target.ranges(name)):
            raise BrokerError(f"topic {name} holds records at the new place: delete it there, or choose another place")
    for name, reader in _bound_to_offsets(new):
        if name in specs and any(held.begin for held in await source.ranges(name)):
            raise BrokerError(
                f"topic {name}: retention has removed its first records, so its offsets cannot stay as they are, but "
                f"{reader} refers to them; let everything flow out and start that part anew instead"
            )


def _bound_to_offsets(plan: Plan) -> Iterator[tuple[str, str]]:
    """Go through the topics whose offsets are written down elsewhere, and who does."""
    yield plan.dead_letters, "the list of settled dead letters"
    for stage in plan.stages.values():
        if stage.kind == "sink" and stage.use is not None and hasattr(stage.use.build(), "committed"):
            for name in (*stage.inputs, plan.replay(stage.name)):
                yield name, f"sink {stage.name}"


def _refuse_what_moved(plan: Plan, copies: Mapping[Place, tuple[Offsets, Offsets]]) -> None:
    for name, reader in _bound_to_offsets(plan):
        for (topic, partition), (before, after) in copies.items():
            if topic == name and before.runs != after.runs:
                raise BrokerError(
                    f"topic {name}, partition {partition}: the copy has other offsets, but {reader} refers to them"
                )


# -- records --------------------------------------------------------------------------------------


async def _copy(source: Broker, target: Broker, topic: str) -> dict[Place, tuple[Offsets, Offsets]]:
    """Copy a topic and read the copy; returns where each partition's records were and are."""

    async def put(rows: Rows, place: Place) -> None:
        unit = target.begin()
        unit.append(*place, Rows(rows.keys, rows.values, rows.timestamps, rows.headers))
        await unit.commit()

    before = await _read(source, topic, put)
    after = await _read(target, topic)
    for place, offsets in before.items():
        if after[place].total != offsets.total:
            raise BrokerError(
                f"topic {topic}, partition {place[1]}: {offsets.total} records were copied, and {after[place].total} "
                "are there: does somebody else write to it?"
            )
    return {place: (offsets, after[place]) for place, offsets in before.items()}


async def _read(broker: Broker, topic: str, put: Callable[[Rows, Place], Any] | None = None) -> dict[Place, Offsets]:
    """Read everything that a topic holds now."""
    ranges = {(topic, partition): held for partition, held in enumerate(await broker.ranges(topic))}
    found = {place: Offsets() for place in ranges}
    left = {place for place, held in ranges.items() if held.end > held.begin}
    reader = await broker.reader({place: ranges[place].begin for place in left})
    try:
        while left:
            polled = await reader.poll(timeout=POLL_SECONDS)
            if not polled:
                raise RunError(
                    f"topic {topic}: nothing more came for {POLL_SECONDS:.0f} s, of partitions {sorted(left)}"
                )
            for rows in polled:
                place = (rows.topic, rows.partition)
                if rows.values:
                    if put is not None:
                        await put(rows, place)
                    found[place].add(rows.offsets)
                if rows.next_offset >= ranges[place].end:
                    left.discard(place)
    finally:
        await reader.close()
    return found


# -- groups ---------------------------------------------------------------------------------------


async def _held(plan: Plan, stage: StagePlan, broker: Broker) -> Held:
    """Read what a stage's group has committed."""
    held = Held(None, {}, {})
    async for lane in _lanes(plan, stage, broker):
        held = attrs.evolve(held, position=held.position or lane.position())
        for place in lane.partitions:
            if (offset := lane.committed(*place)) is not None:
                held.offsets[place] = offset
        for store, partition in _stores(plan, stage, lane):
            if values := dict(lane.state_items(store, partition)):
                held.state[store, partition] = values
    return held


async def _hand_over(
    plan: Plan, stage: StagePlan, broker: Broker, held: Held, copies: Mapping[Place, tuple[Offsets, Offsets]]
) -> None:
    """Commit at the new place what was committed at the old one."""
    async for lane in _lanes(plan, stage, broker):
        unit = lane.begin()
        for place in lane.partitions:
            if place in held.offsets:
                before, after = copies[place]
                unit.mark(*place, _translated(held.offsets[place], before, after))
        for store, partition in _stores(plan, stage, lane):
            if values := held.state.get((store, partition)):
                unit.put_state(store, partition, dict(values))
        if held.position is not None:
            unit.mark_position(held.position)
        await unit.commit()


def _translated(offset: int, before: Offsets, after: Offsets) -> int:
    """Return where the record of an offset (or the next one) stands in the copy; behind the last, the end."""
    found = after.of(before.before(offset))
    if found is not None:
        return found
    return sum(after.runs[-1]) if after.runs else 0


def _stores(plan: Plan, stage: StagePlan, lane: Lane) -> Iterator[tuple[str, int]]:
    """Go through the state stores of a lane: those of each step, in each of its partitions; a producer's are in 0."""
    partitions = {partition for _, partition in lane.partitions} or {0}
    for step in stage.steps:
        for partition in sorted(partitions):
            yield f"{plan.group(stage.name)}.{step.name}", partition


async def _lanes(plan: Plan, stage: StagePlan, broker: Broker) -> Any:
    """Join a stage's group as the stage does, and go through its lanes until every partition was there."""
    topics = [*stage.inputs, plan.replay(stage.name)] if stage.inputs else []
    left = {(topic, partition) for topic in topics for partition in range(len(await broker.ranges(topic)))}
    single = stage.kind == "producer" or (stage.use is not None and stage.use.plugin.single)
    group: Group = await broker.join(plan.group(stage.name), topics, single=single)
    lanes = group.lanes()
    taken: list[Lane] = []
    try:
        async for lane in lanes:
            taken.append(lane)
            yield lane
            left -= set(lane.partitions)
            if not left:
                break
    finally:
        for lane in taken:
            await lane.release()
        await group.leave()
