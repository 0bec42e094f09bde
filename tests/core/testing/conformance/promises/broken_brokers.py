"""Brokers that break one promise each: a real embedded log behind a proxy that alters what it hands through."""

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs

from streamweaver import BrokerError, Fetched, PartitionRange, UnknownTopicError
from streamweaver.plugin import Plugin, plugin_of
from streamweaver_brokers.embedded import Embedded

Way = Callable[..., Any]
"""Called in place of a method, with the proxy, the method, and its arguments."""

MAKES = {"begin": "unit", "reader": "reader", "join": "group", "lanes": "lane"}
"""What the methods of brokers, groups and lanes make."""


class Proxy:
    """Stands for a broker, or for what one has made; whatever is not altered is the real thing's."""

    def __init__(self, inner: Any, kind: str, ways: dict[str, Way], parent: "Proxy | None" = None) -> None:
        self.inner, self.kind, self.ways, self.parent = inner, kind, ways, parent
        self.root: Proxy = self if parent is None else parent.root
        self.memory: dict[Any, Any] = {}
        """For a way that has to remember something."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        way = self.ways.get(f"{self.kind}.{name}")
        if way is not None:
            value = functools.partial(way, self, value)
        return functools.partial(self._made, MAKES[name], value) if name in MAKES else value

    def _made(self, kind: str, own: Way, *arguments: Any, **words: Any) -> Any:
        made = own(*arguments, **words)
        if asyncio.iscoroutine(made):
            return self._awaited(kind, made)
        return self._each(kind, made) if hasattr(made, "__anext__") else Proxy(made, kind, self.ways, self)

    async def _awaited(self, kind: str, made: Any) -> "Proxy":
        return Proxy(await made, kind, self.ways, self)

    async def _each(self, kind: str, made: AsyncIterator[Any]) -> AsyncIterator["Proxy"]:
        async for one in made:
            yield Proxy(one, kind, self.ways, self)


def plugin(ways: dict[str, Way]) -> Plugin:
    """Return the description of a broker that is altered so."""
    return attrs.evolve(plugin_of(Embedded), build=lambda options: Proxy(options, "broker", ways))


BROKEN: dict[str, dict[str, Way]] = {}
"""For each behaviour what makes a broker that only this behaviour catches."""


def breaks(behaviour: str, method: str) -> Callable[[Way], Way]:
    """Add a way that breaks a behaviour: a method such as `unit.commit`, of a broker, group, lane, unit or reader."""

    def add(way: Way) -> Way:
        BROKEN.setdefault(behaviour, {})[method] = way
        return way

    return add


# -- topics ---------------------------------------------------------------------------------------


@breaks("topics_exist_as_declared", "broker.topics")
async def forgets_cleanup(_proxy: Proxy, own: Way) -> Any:
    """Every topic is said to be cleaned by age."""
    return {name: attrs.evolve(spec, cleanup="delete") for name, spec in (await own()).items()}


@breaks("fewer_partitions_are_a_mismatch", "broker.create")
async def takes_fewer_partitions(proxy: Proxy, own: Way, topics: Any) -> None:
    """A topic that is there already is left as it is, whatever is declared."""
    known = await proxy.inner.topics()
    await own([known.get(spec.name, spec) for spec in topics])


@breaks("unknown_topics_are_named", "broker.ranges")
async def knows_every_topic(_proxy: Proxy, own: Way, topic: str) -> Any:
    """A topic that was never created is taken for an empty one."""
    try:
        return await own(topic)
    except UnknownTopicError:
        return [PartitionRange(0, 0)]


# -- rows -----------------------------------------------------------------------------------------


@breaks("rows_keep_their_order", "unit.append")
def collects(proxy: Proxy, own: Way, topic: str, partition: int, rows: Any) -> None:
    """Only remember what is appended."""
    own(topic, partition, attrs.evolve(rows, keys=[], values=[], timestamps=[], headers=None))  # it checks the topic
    proxy.memory.setdefault((topic, partition), []).append(rows)


@breaks("rows_keep_their_order", "unit.commit")
async def turns_many_appends_round(proxy: Proxy, own: Way) -> None:
    """Of many appends to one partition the last one is stored first."""
    for (topic, partition), parts in proxy.memory.items():
        for rows in parts if len(parts) < 3 else reversed(parts):
            proxy.inner.append(topic, partition, rows)
    await own()


@breaks("a_poll_has_one_item_a_partition", "reader.poll")
async def splits_an_item(_proxy: Proxy, own: Way, **words: Any) -> list[Fetched]:
    """Where several partitions come at once, one of them comes in two items."""
    found = await own(**words)
    if len(found) < 2 or len(found[0]) < 2:
        return found  # type: ignore[no-any-return]
    first = found[0]
    return [_part(first, slice(0, 1), first.offsets[1]), _part(first, slice(1, None), first.next_offset), *found[1:]]


def _part(item: Fetched, where: slice, next_offset: int) -> Fetched:
    headers = None if item.headers is None else item.headers[where]
    return attrs.evolve(
        item,
        keys=item.keys[where],
        values=item.values[where],
        timestamps=item.timestamps[where],
        headers=headers,
        offsets=item.offsets[where],
        next_offset=next_offset,
    )


@breaks("rows_come_back_as_they_were", "reader.poll")
async def drops_headers(_proxy: Proxy, own: Way, **words: Any) -> Any:
    """Headers are not kept."""
    return [attrs.evolve(item, headers=None) for item in await own(**words)]


@breaks("large_records_pass", "unit.append")
def refuses_large_records(_proxy: Proxy, own: Way, topic: str, partition: int, rows: Any) -> None:
    """A record of more than 500 kB is refused, although no limit is told."""
    if any(len(value or b"") > 500_000 for value in rows.values):
        raise BrokerError(f"topic {topic}: the record is too large")
    own(topic, partition, rows)


@breaks("what_was_handed_out_is_the_readers_own", "reader.poll")
async def hands_out_one_object(proxy: Proxy, own: Way, **words: Any) -> Any:
    """All readers get the same object for the same rows."""
    kept = proxy.root.memory
    return [
        kept.setdefault((item.topic, item.partition, *item.offsets[:1], len(item)), item) for item in await own(**words)
    ]


# -- units of work --------------------------------------------------------------------------------


@breaks("a_unit_is_stored_as_a_whole", "lane.committed")
def forgets_what_it_committed(_proxy: Proxy, _own: Way, _topic: str, _partition: int) -> None:
    """A lane never tells how far its group is."""


@breaks("an_aborted_unit_leaves_nothing", "unit.put_state")
def remembers_state(proxy: Proxy, own: Way, store: str, partition: int, changes: Any) -> None:
    """Note what the unit changes."""
    proxy.memory[store, partition] = changes
    own(store, partition, changes)


@breaks("an_aborted_unit_leaves_nothing", "unit.abort")
async def keeps_state_of_an_aborted_unit(proxy: Proxy, own: Way) -> None:
    """State is stored although the unit is aborted."""
    await own()
    if proxy.parent is None or not proxy.memory:
        return
    unit = proxy.parent.inner.begin()
    for (store, partition), changes in proxy.memory.items():
        unit.put_state(store, partition, changes)
    await unit.commit()


@breaks("a_unit_outside_a_group_spans_topics", "unit.append")
def takes_one_topic(proxy: Proxy, own: Way, topic: str, partition: int, rows: Any) -> None:
    """What goes to a later partition of a second topic is dropped."""
    first = proxy.memory.setdefault("topic", topic)
    kept = topic == first or partition == 0
    own(topic, partition, rows if kept else attrs.evolve(rows, keys=[], values=[], timestamps=[]))


@breaks("of_two_that_expect_one_end_the_first_appends", "unit.expect_end")
def expects_nothing(_proxy: Proxy, _own: Way, _topic: str, _partition: int, _offset: int) -> None:
    """Where a partition ends is not looked at."""


@breaks("many_small_units_at_once", "unit.commit")
async def loses_units_in_a_crowd(proxy: Proxy, own: Way) -> None:
    """The fiftieth unit that waits at the same time is taken for stored."""
    waiting = proxy.root.memory
    waiting["units"] = waiting.get("units", 0) + 1
    try:
        if waiting["units"] != 50:
            await own()
    finally:
        waiting["units"] -= 1


# -- groups ---------------------------------------------------------------------------------------


@breaks("a_group_reads_every_partition", "lane.poll")
async def overlooks_a_partition(_proxy: Proxy, own: Way, **words: Any) -> Any:
    """The third partition of a topic is never handed out."""
    return [item for item in await own(**words) if item.partition != 2]


@breaks("a_group_resumes_where_it_committed", "group.lanes")
async def begins_one_early(proxy: Proxy, own: Way) -> AsyncIterator[Any]:
    """A lane begins one record before the offset that was committed, if several were."""
    async for lane in own():
        for topic, partition in lane.partitions:
            if (lane.committed(topic, partition) or 0) > 3:
                lane.seek(topic, partition, lane.committed(topic, partition) - 1)
        yield lane


@breaks("rewind_brings_back_what_is_not_committed", "lane.rewind")
async def rewinds_only_once(proxy: Proxy, own: Way) -> None:
    """The second rewind of a lane does nothing."""
    if proxy.memory.setdefault("rewound", 0) == 0:
        await own()
    proxy.memory["rewound"] += 1


@breaks("seek_goes_anywhere", "lane.seek")
def stays_where_it_is(_proxy: Proxy, _own: Way, _topic: str, _partition: int, _offset: int) -> None:
    """A lane goes on where it was."""


@breaks("two_groups_are_independent", "broker.join")
async def notes_groups(proxy: Proxy, own: Way, group: str, topics: Any, **words: Any) -> Any:
    """Remember who joined."""
    proxy.memory[group] = True
    return await own(group, topics, **words)


@breaks("two_groups_are_independent", "broker.offsets")
async def gives_strangers_offsets(proxy: Proxy, own: Way, group: str) -> Any:
    """A group that never joined has the offsets of another one."""
    return await own(group if group in proxy.memory else next(iter(proxy.memory), group))


@breaks("leave_and_join_again", "broker.join")
async def takes_a_group_twice(proxy: Proxy, own: Way, group: str, topics: Any, **words: Any) -> Any:
    """A group may be joined two times, and then no more."""
    proxy.memory[group] = proxy.memory.get(group, 0) + 1
    if proxy.memory[group] > 2:
        raise BrokerError(f"group {group}: there are too many members")
    return await own(group, topics, **words)


@breaks("a_released_lane_is_lost", "lane.release")
async def notes_the_release(proxy: Proxy, own: Way) -> None:
    """Remember it."""
    proxy.memory["released"] = True
    await own()


@breaks("a_released_lane_is_lost", "lane.poll")
async def polls_for_ever(proxy: Proxy, own: Way, **words: Any) -> Any:
    """Whoever polls a lane that was given back gets nothing, in place of an error."""
    return [] if proxy.memory.get("released") else await own(**words)


@breaks("a_single_group_has_one_lane", "broker.join")
async def gives_everyone_a_lane(proxy: Proxy, own: Way, group: str, topics: Any, *, single: bool = False) -> Any:
    """The second member of a single group gets a lane beside the first."""
    members = proxy.memory[group] = proxy.memory.get(group, 0) + 1
    return await own(f"{group}-{members}" if single and members > 1 else group, topics, single=single)


# -- producers and state --------------------------------------------------------------------------


@breaks("a_producer_keeps_its_position", "unit.mark_position")
def keeps_the_position_in_memory(proxy: Proxy, _own: Way, position: bytes) -> None:
    """The position is noted, and never stored."""
    proxy.memory["position"] = position


@breaks("a_producer_keeps_its_position", "unit.commit")
async def shows_the_position(proxy: Proxy, own: Way) -> None:
    """The noted position is that of the lane from now on."""
    await own()
    if proxy.parent is not None:
        proxy.parent.memory.update(proxy.memory)


@breaks("a_producer_keeps_its_position", "lane.position")
def tells_the_position(proxy: Proxy, _own: Way) -> Any:
    """What is stored is not looked at."""
    return proxy.memory.get("position")


@breaks("state_is_put_changed_deleted_and_listed", "unit.put_state")
def never_deletes(_proxy: Proxy, own: Way, store: str, partition: int, changes: Any) -> None:
    """Values that are to be deleted stay."""
    own(store, partition, {key: value for key, value in changes.items() if value is not None})


@breaks("much_state_can_be_listed", "lane.state_items")
def lists_a_page(_proxy: Proxy, own: Way, store: str, partition: int) -> Any:
    """Only the first thousand values are listed."""
    return itertools.islice(own(store, partition), 1000)


# -- waiting --------------------------------------------------------------------------------------


@breaks("a_waiting_poll_wakes_up", "lane.poll")
async def oversleeps(_proxy: Proxy, own: Way, *, timeout: float | None = None, **words: Any) -> Any:
    """A poll that finds nothing looks again when its time is up."""
    found = await own(timeout=0, **words)
    if not found and timeout != 0:
        await asyncio.sleep(86_400 if timeout is None else timeout)
        found = await own(timeout=0, **words)
    return found


@breaks("a_poll_gives_up_after_its_timeout", "lane.poll")
async def is_impatient(_proxy: Proxy, own: Way, *, timeout: float | None = None, **words: Any) -> Any:
    """A short time-out is cut to a third."""
    return await own(timeout=timeout / 3 if timeout is not None and timeout < 0.5 else timeout, **words)


@breaks("a_cancelled_poll_loses_nothing", "lane.poll")
async def loses_what_comes_after_a_cancel(proxy: Proxy, own: Way, **words: Any) -> Any:
    """What the next poll after a cancelled one finds is thrown away."""
    try:
        found = await own(**words)
    except asyncio.CancelledError:
        proxy.memory["cancelled"] = True
        raise
    return await own(**words) if found and proxy.memory.pop("cancelled", False) else found


# -- readers --------------------------------------------------------------------------------------


@breaks("a_reader_starts_where_it_is_told", "broker.reader")
async def starts_one_early(_proxy: Proxy, own: Way, starts: Any) -> Any:
    """A reader begins one record before the offset that was asked for."""
    return await own({where: max(0, offset - 1) for where, offset in starts.items()})


@breaks("offsets_are_found_by_time", "broker.offset_at")
async def finds_the_beginning(_proxy: Proxy, _own: Way, _topic: str, _partition: int, _timestamp: int) -> int:
    """Whatever the time, the first offset is told."""
    return 0


@breaks("ranges_end_behind_the_last_record", "broker.ranges")
async def fills_empty_partitions(_proxy: Proxy, own: Way, topic: str) -> Any:
    """Beside a partition with records an empty one seems to hold one, too."""
    found = await own(topic)
    some = any(held.end > held.begin for held in found)
    return [PartitionRange(held.begin, max(held.end, held.begin + some)) for held in found]


@breaks("closing_stores_what_waits", "unit.commit")
async def waits_before_it_stores(proxy: Proxy, own: Way) -> None:
    """What waits while the broker is closed is said to be stored."""
    await asyncio.sleep(0)
    if not proxy.root.memory.get("closed"):
        await own()


@breaks("closing_stores_what_waits", "broker.close")
async def closes_at_once(proxy: Proxy, own: Way) -> None:
    """Commits that wait are not waited for."""
    proxy.root.memory["closed"] = True
    await own()
