"""Reading back a part of the past of a topic."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import attrs

from streamweaver import Broker, Codec, PartitionRange
from streamweaver.views.seen import Seen, decode, in_order

POLL_RECORDS = 5_000


@attrs.frozen
class Past:
    """What was read back, in the order of time."""

    batches: list[Seen]
    complete: bool
    """False when there was too much, or retention has removed some."""
    gaps: list[tuple[int, int | None, int]]
    """What was too much: from when to when (None: to the end), and how many records."""

    @property
    def reached_end(self) -> bool:
        """Whether it goes up to the newest record that was asked for: time has sufficed."""
        return all(until is not None for _, until, _ in self.gaps)


def shares(wanted: Mapping[int, int], most: int) -> dict[int, int]:
    """Share `most` among those who want so many: who wants little gets it all, the others get the same, at least 1."""
    given: dict[int, int] = {}
    left = most
    for place, (name, number) in enumerate(sorted(wanted.items(), key=lambda pair: pair[1])):
        given[name] = min(number, max(1, left // (len(wanted) - place)))
        left -= given[name]
    return given


async def _starts(
    broker: Broker, topic: str, ranges: Sequence[PartitionRange], ends: Mapping[int, int], since: int, most: int
) -> tuple[dict[int, int], dict[int, int], bool]:
    """Return where to begin in each partition, how many are left out before that, and whether nothing is missing."""
    wanted: dict[int, int] = {}
    complete = True
    for partition, held in enumerate(ranges):
        first = await broker.offset_at(topic, partition, since)
        wanted[partition] = max(0, ends[partition] - max(first, held.begin))
        complete = complete and first >= held.begin
    given = shares(wanted, most)
    starts = {partition: ends[partition] - number for partition, number in given.items() if number}
    cut = {partition: wanted[partition] - number for partition, number in given.items() if number < wanted[partition]}
    return starts, cut, complete and not cut


async def read_back(
    broker: Broker,
    topic: str,
    codec: Codec,
    *,
    since: int,
    until: Mapping[int, int] | None = None,
    most: int,
    seconds: float,
    take: Callable[[Seen], None] | None = None,
) -> Past:
    """Read the newest records before the offsets `until` (the ends), from a time on; at most so many, so long.

    With `take` each batch is handed on as it comes, in the order of its partition only, and none is kept: the records
    of some minutes can be many.
    """
    ranges = await broker.ranges(topic)
    ends = {
        partition: held.end if until is None else until.get(partition, held.end)
        for partition, held in enumerate(ranges)
    }
    starts, cut, complete = await _starts(broker, topic, ranges, ends, since, most)
    batches: list[Seen] = []
    reader = await broker.reader({(topic, partition): start for partition, start in starts.items()})
    left = dict(starts)
    seen_to: dict[int, int] = {}
    gaps: list[tuple[int, int | None, int]] = []
    try:
        async with asyncio.timeout(seconds):
            while left:
                fetched = await reader.poll(max_records=POLL_RECORDS, timeout=seconds)
                if not fetched:
                    break
                for rows in fetched:
                    end = ends[rows.partition]
                    if rows.partition in left and len(rows):
                        seen = decode(rows, codec)
                        seen_to[rows.partition] = seen.times[-1]
                        if left_out := cut.pop(rows.partition, 0):
                            gaps.append((since, seen.times[0], left_out))
                        fitting = sum(offset < end for offset in seen.offsets)
                        (take or batches.append)(seen if fitting == len(seen) else seen.part(range(fitting)))
                    if rows.next_offset >= end:
                        left.pop(rows.partition, None)
                    elif rows.partition in left:
                        left[rows.partition] = rows.next_offset
                await asyncio.sleep(0)
    except TimeoutError:
        pass
    finally:
        await reader.close()
    # What time did not suffice for.
    gaps += [(seen_to.get(p, since), None, ends[p] - next_offset) for p, next_offset in left.items()]
    return Past(in_order(batches), complete and not left, gaps)
