"""Reading the records of topics, for people and programs."""

import heapq
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import msgspec

from streamweaver.cli.load import tool
from streamweaver.cli.output import json_text, print_json, text_or_base64, time_text
from streamweaver.config import suggest
from streamweaver.contracts import Broker, Codec, Fetched, PartitionRange
from streamweaver.errors import UnknownTopicError
from streamweaver.graph.plan import Plan
from streamweaver.record import Headers
from streamweaver.runtime.dead_letter import original_place
from streamweaver.text import printable

PAGE_RECORDS = 500

_READ_SECONDS = 5.0


@attrs.frozen(kw_only=True)
class Range:
    """What to read of a topic."""

    start: str | int
    """`start`, `end`, an offset, or -N for N records before the end; in each partition."""
    partition: int | None
    limit: int | None
    follow: bool


@attrs.frozen(order=True)
class Row:
    """One record as stored; in order of time, then of place."""

    timestamp: int
    partition: int
    offset: int
    topic: str = attrs.field(order=False)
    key: bytes | None = attrs.field(order=False)
    value: bytes | None = attrs.field(order=False)
    headers: Headers = attrs.field(order=False)


# -- what there is --------------------------------------------------------------------------------


async def holdings(plan: Plan, data: Path) -> list[dict[str, Any]]:
    """Return every topic of a pipeline with what its partitions hold; the pipeline's own come last."""
    replays = [plan.replay(stage.name) for stage in plan.stages.values() if stage.inputs]
    codecs = {name: topic.codec_name for name, topic in plan.topics.items()}
    rows = []
    async with tool(plan, data) as broker:
        for name in [*plan.topics, plan.dead_letters, plan.settled_letters, plan.metrics, *replays]:
            try:
                ranges = await broker.ranges(name)
            except UnknownTopicError:
                ranges = []
            codec = codecs.get(name) or ("json" if name == plan.metrics else "as it came")
            rows.append(
                {
                    "name": name,
                    "partitions": len(ranges) or (plan.topics[name].spec.partitions if name in plan.topics else 0),
                    "codec": codec,
                    "records": sum(held.end - held.begin for held in ranges),
                    "ranges": [attrs.asdict(held) for held in ranges],
                }
            )
    return rows


# -- reading --------------------------------------------------------------------------------------


async def print_records(plan: Plan, data: Path, topic: str, wanted: Range, *, as_json: bool) -> None:
    """Print the records of a topic."""
    show = Shown(plan, topic)
    printed = 0
    async with tool(plan, data) as broker:
        ranges = await _ranges(broker, plan, topic, wanted)
        async for row in rows_of(broker, topic, ranges, wanted):
            if as_json:
                print_json(show.as_dict(row))
            else:
                click.echo(show.line(row))
            printed += 1
            if printed == wanted.limit:
                return


async def _ranges(broker: Broker, plan: Plan, topic: str, wanted: Range) -> dict[int, PartitionRange]:
    try:
        ranges = await broker.ranges(topic)
    except UnknownTopicError:
        there = await broker.topics()
        if topic in plan.topics:
            raise UnknownTopicError(f"topic {topic!r} is not there yet; the first start makes it") from None
        hint = suggest(topic, {*there, *plan.topics}) or f"; there are {', '.join(there)}"
        raise click.BadParameter(f"no topic is named {topic!r}{hint}", param_hint="TOPIC") from None
    if wanted.partition is not None and wanted.partition >= len(ranges):
        raise click.BadParameter(
            f"got {wanted.partition}, but topic {topic!r} has {len(ranges)}, counted from 0", param_hint="--partition"
        )
    return {p: held for p, held in enumerate(ranges) if wanted.partition in (None, p)}


def starts_of(ranges: dict[int, PartitionRange], start: str | int) -> dict[int, int]:
    """Return the offset to begin at in each partition."""
    found = {}
    for partition, held in ranges.items():
        if start == "start":
            at = held.begin
        elif start == "end":
            at = held.end
        else:
            number = int(start)
            at = held.end + number if number < 0 else number
        found[partition] = max(held.begin, at)
    return found


async def rows_of(broker: Broker, topic: str, ranges: dict[int, PartitionRange], wanted: Range) -> AsyncIterator[Row]:
    """Read what is there, by time over all partitions, in bounded memory; then, to follow, what comes, as it comes."""
    at = starts_of(ranges, wanted.start)
    streams = {p: _stored(broker, topic, p, at[p], held.end) for p, held in ranges.items() if at[p] < held.end}
    heads: list[tuple[Row, int]] = []
    try:
        for partition, stream in streams.items():
            if (row := await anext(stream, None)) is not None:
                heapq.heappush(heads, (row, partition))
        while heads:
            row, partition = heads[0]
            yield row
            following = await anext(streams[partition], None)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (following, partition))
    finally:
        for stream in streams.values():
            await stream.aclose()  # type: ignore[attr-defined]
    if not wanted.follow:
        return
    reader = await broker.reader({(topic, p): max(at[p], held.end) for p, held in ranges.items()})
    try:
        while True:
            fetched = await reader.poll(max_records=PAGE_RECORDS)
            for row in sorted(row for rows in fetched for row in _rows(rows)):
                yield row
    finally:
        await reader.close()


async def _stored(broker: Broker, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Row]:
    reader = await broker.reader({(topic, partition): start})
    try:
        at = start
        while at < end:
            fetched = await reader.poll(max_records=PAGE_RECORDS, timeout=_READ_SECONDS)
            if not fetched:
                return
            for rows in fetched:
                at = rows.next_offset
                for row in _rows(rows):
                    if row.offset < end:
                        yield row
    finally:
        await reader.close()


def _rows(rows: Fetched) -> Iterator[Row]:
    headers = rows.headers or ((),) * len(rows)
    for timestamp, offset, key, value, header in zip(
        rows.timestamps, rows.offsets, rows.keys, rows.values, headers, strict=True
    ):
        yield Row(timestamp, rows.partition, offset, rows.topic, key, value, header)


# -- showing --------------------------------------------------------------------------------------


class Shown:
    """Turns the rows of one topic into what is printed."""

    def __init__(self, plan: Plan, topic: str) -> None:
        self._plan = plan
        self._topic = topic
        self._replays = {plan.replay(stage) for stage in plan.stages}

    def as_dict(self, row: Row) -> dict[str, Any]:
        """Return a row as programs get it."""
        value, error = self.value(row)
        return {
            "topic": row.topic,
            "partition": row.partition,
            "offset": row.offset,
            "timestamp": row.timestamp,
            "key": text_or_base64(row.key),
            "value": value,
            "headers": [[name, text_or_base64(data)] for name, data in row.headers],
            **({"error": error} if error else {}),
        }

    def line(self, row: Row) -> str:
        """Return a row as people read it: time, place, key, value, headers."""
        value, error = self.value(row)
        key = text_or_base64(row.key)
        parts = [
            time_text(row.timestamp),
            f"{row.partition}:{row.offset}",
            "-" if key is None else printable(key) if isinstance(key, str) else json_text(key),
            json_text(value),
            *(f"{printable(name)}={_text(data)}" for name, data in row.headers),
        ]
        if error:
            parts.append(f"({printable(error)})")
        return "  ".join(parts)

    def value(self, row: Row) -> tuple[Any, str | None]:
        """Return a row's value decoded, or as it is with the reason why it cannot be."""
        if row.value is None:
            return None, None
        name, codec = self._codec(row)
        if codec is None:
            return text_or_base64(row.value), None
        return decoded(row.value, name, codec)

    def _codec(self, row: Row) -> tuple[str, "Codec | None"]:
        """Return the codec of a row's value; that of a dead letter or a replayed record is its first topic's."""
        name = row.topic
        if name == self._plan.metrics:
            return "json", _Json()
        if name in self._replays:
            name = original_place(row.headers)[0] or name
        elif name == self._plan.dead_letters:
            name = dict(row.headers).get("streamweaver.topic", b"").decode(errors="replace")
        topic = self._plan.topics.get(name)
        return ("", None) if topic is None else (topic.codec_name, topic.codec)


class _Json:
    """What the metrics topic is written in, whatever codecs are installed."""

    def encode(self, value: Any) -> bytes:
        """Encode a value."""
        return msgspec.json.encode(value)

    def decode(self, data: bytes) -> Any:
        """Decode a value."""
        return msgspec.json.decode(data)


def decoded(data: bytes, codec_name: str, codec: Codec) -> tuple[Any, str | None]:
    """Return a value for showing: decoded, or as text or base64 with the reason why it cannot be."""
    try:
        value = codec.decode(data)
    except Exception as error:
        return text_or_base64(data), f"codec {codec_name} cannot decode the value: {error}"
    return text_or_base64(value) if isinstance(value, bytes) else value, None


def _text(data: bytes) -> str:
    shown = text_or_base64(data)
    return printable(shown) if isinstance(shown, str) else json_text(shown)
