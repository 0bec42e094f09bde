"""Looking at the records of a topic: pages of them, from an offset or a time, filtered; never much work at once."""

import time
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from streamweaver import Broker, Codec, PartitionRange
from streamweaver.views.column import API_BYTES, One, columns
from streamweaver.views.filter import Filter
from streamweaver.views.seen import Seen, decode, in_order

SCAN_RECORDS = 20_000
SCAN_SECONDS = 1.0
POLL_RECORDS = 1_000
PAGE_BYTES = 4 << 20
"""A page is cut here, however few its records are: they may be large."""


@attrs.frozen(kw_only=True)
class Ask:
    """What is asked for; exactly one way to say where to begin."""

    limit: int = 50
    partition: int | None = None
    offset: int | None = None
    time: int | None = None
    start: Literal["start", "end"] = "end"
    next: Mapping[int, int] | None = None
    filter: Filter = attrs.field(factory=Filter)


async def browse(broker: Broker, topic: str, codec: Codec, ask: Ask) -> dict[str, Any]:
    """Return a page; ValueError when what is asked for does not fit the topic."""
    ranges = await broker.ranges(topic)
    chosen = range(len(ranges)) if ask.partition is None else [ask.partition]
    if ask.partition is not None and not 0 <= ask.partition < len(ranges):
        raise ValueError(f"partition: got {ask.partition}, expected one from 0 to {len(ranges) - 1}")
    held = {partition: ranges[partition] for partition in chosen}
    newest = ask.start == "end" and ask.next is None and ask.offset is None and ask.time is None
    if newest:
        return await _newest(broker, topic, codec, ask, held)
    starts = await _starts(broker, topic, ask, held)
    return await _onward(broker, topic, codec, ask, held, starts)


async def _starts(broker: Broker, topic: str, ask: Ask, held: Mapping[int, PartitionRange]) -> dict[int, int]:
    if ask.next is not None:
        if unknown := ask.next.keys() - held.keys():
            raise ValueError(f"next: there is no partition {min(unknown)}")
        return {p: max(ask.next.get(p, found.begin), found.begin) for p, found in held.items()}
    if ask.offset is not None:
        if ask.partition is None:
            raise ValueError("offset: expected together with partition")
        found = held[ask.partition]
        if not found.begin <= ask.offset <= found.end:
            raise ValueError(f"offset: got {ask.offset}, partition {ask.partition} holds {found.begin} to {found.end}")
        return {ask.partition: ask.offset}
    if ask.time is not None:
        return {partition: await broker.offset_at(topic, partition, ask.time) for partition in held}
    return {partition: found.begin for partition, found in held.items()}


class _Scan:
    """Reads on from some offsets, within the bounds of one page."""

    def __init__(self, broker: Broker, topic: str, codec: Codec, starts: Mapping[int, int], ends: Mapping[int, int]):
        self.next = dict(starts)
        self.scanned = 0
        self._broker, self._topic, self._codec = broker, topic, codec
        self._ends = ends
        self._until = time.monotonic() + SCAN_SECONDS

    @property
    def waiting(self) -> bool:
        """Whether there is more to read now."""
        return any(self.next[partition] < self._ends[partition] for partition in self.next)

    async def batches(self) -> Any:
        """Yield batch after batch until there is no more, or it has been enough."""
        starts = {(self._topic, p): offset for p, offset in self.next.items() if offset < self._ends[p]}
        if not starts:
            return
        reader = await self._broker.reader(starts)
        try:
            while self.waiting and self.scanned < SCAN_RECORDS:
                left = self._until - time.monotonic()
                fetched = await reader.poll(max_records=POLL_RECORDS, timeout=left) if left > 0 else []
                if not fetched:
                    return
                for rows in fetched:
                    seen = decode(rows, self._codec)
                    self.scanned += len(seen)
                    yield seen, rows.next_offset
        finally:
            await reader.close()


async def _onward(
    broker: Broker,
    topic: str,
    codec: Codec,
    ask: Ask,
    held: Mapping[int, PartitionRange],
    starts: Mapping[int, int],
) -> dict[str, Any]:
    ends = {partition: found.end for partition, found in held.items()}
    scan = _Scan(broker, topic, codec, starts, ends)
    found: list[Seen] = []
    left, size = ask.limit, 0
    async for seen, next_offset in scan.batches():
        if left <= 0 or size > PAGE_BYTES:
            break
        chosen = ask.filter.choose(seen)
        taken = _fitting(chosen, left, PAGE_BYTES - size)
        if taken < len(chosen):
            scan.next[seen.partition] = chosen.offsets[taken]
        else:
            scan.next[seen.partition] = next_offset
        if taken:
            kept = chosen if taken == len(chosen) else chosen.part(range(taken))
            found.append(kept)
            size += sum(len(raw or b"") for raw in kept.raws)
            left -= taken
        if taken < len(chosen):
            break
    return _page(topic, found, scan)


def _fitting(seen: Seen, most: int, most_bytes: int) -> int:
    count = size = 0
    for raw in seen.raws[:most]:
        size += len(raw or b"")
        if count and size > most_bytes:
            break
        count += 1
    return count


async def _newest(
    broker: Broker, topic: str, codec: Codec, ask: Ask, held: Mapping[int, PartitionRange]
) -> dict[str, Any]:
    # Without a filter the newest `limit` of each partition hold the newest `limit` of all.
    share = ask.limit if ask.filter.takes_all else SCAN_RECORDS // max(1, len(held))
    ends = {partition: found.end for partition, found in held.items()}
    starts = {partition: max(found.begin, found.end - share) for partition, found in held.items()}
    scan = _Scan(broker, topic, codec, starts, ends)
    found: list[Seen] = []
    async for seen, next_offset in scan.batches():
        scan.next[seen.partition] = next_offset
        chosen = ask.filter.choose(seen)
        if len(chosen):
            found.append(chosen)
    merged = in_order(found)
    left, size, kept = ask.limit, 0, list[Seen]()
    for seen in reversed(merged):
        wanted = seen.part(range(max(0, len(seen) - left), len(seen)))
        size += sum(len(raw or b"") for raw in wanted.raws)
        kept.append(wanted)
        left -= len(wanted)
        if left <= 0 or size > PAGE_BYTES:
            break
    return _page(topic, kept[::-1], scan)


def _page(topic: str, found: list[Seen], scan: _Scan) -> dict[str, Any]:
    records = [One(seen, index, API_BYTES) for seen in in_order(found) for index in range(len(seen))]
    return {
        "topic": topic,
        "records": columns(records),
        "next": ",".join(f"{partition}:{offset}" for partition, offset in sorted(scan.next.items())),
        "scanned": scan.scanned,
        "more": scan.waiting,
    }


def parse_next(text: str) -> dict[int, int]:
    """Read the `next` of a page; ValueError when it is none."""
    try:
        pairs = [item.split(":") for item in text.split(",")]
        return {int(partition): int(offset) for partition, offset in pairs}
    except ValueError:
        raise ValueError("next: expected what an earlier answer said") from None
