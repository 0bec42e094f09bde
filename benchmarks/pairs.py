"""Pieces of the hot path, each with a reference loop that does the least that the job needs; both in one process."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

import msgspec
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streamweaver import Batch, Fetched, Record
from streamweaver.codecs import Json
from streamweaver.metrics import Histogram
from streamweaver.runtime.codec import Encoder, decode
from streamweaver_brokers.embedded.rows import checksum
from streamweaver_brokers.embedded.rows import decode as decode_chunk
from streamweaver_brokers.embedded.rows import encode as encode_chunk
from streamweaver_brokers.kafka.fetcher import unpacked
from streamweaver_brokers.kafka.packer import pack
from streamweaver_transforms.moving_average import MovingAverage

Pair: TypeAlias = tuple[Callable[[], Any], Callable[[], Any]]
"""Ours, and the reference."""

COUNT = 1_000
PART = TopicPartition("trades", 0)
NOW = 1_750_000_000_000

_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


def new_batch() -> BatchBuilder:
    """Begin a batch as a Kafka producer does."""
    return BatchBuilder(512 * 1024, 0, is_transactional=0)


class Context:
    """What a moving average needs of its context."""

    def __init__(self) -> None:
        self.state: dict[Any, Any] = {}


def trades() -> tuple[list[bytes | None], list[bytes | None]]:
    """Return keys and values of the race's trades: JSON of about 110 bytes, 100 symbols."""
    rng = Random(7)
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    for _ in range(COUNT):
        symbol = f"SYM{rng.randrange(100):03d}"
        trade = {"timestamp": "2026-11-22T00:00:00.000Z", "symbol": symbol, "type": "BUY"}
        trade |= {"quantity": rng.randrange(1, 500), "price": round(rng.uniform(10, 500), 2)}
        keys.append(symbol.encode())
        values.append(_encode(trade))
    return keys, values


def raw_average(windows: dict[str, Any], value: dict[str, Any]) -> None:
    """Average the last 20 prices of a symbol, as the hand-written loops of the race do."""
    window = windows.get(value["symbol"])
    if window is None:
        window = windows[value["symbol"]] = [deque(maxlen=20), 0.0]
    last, price = window[0], value["price"]
    if len(last) == 20:
        window[1] -= last[0]
    last.append(price)
    window[1] += price
    value["moving_average"] = window[1] / len(last)


def pairs() -> dict[str, Pair]:
    """Return all pairs by name, each over `COUNT` records."""
    keys, values = trades()
    times = [NOW + index for index in range(COUNT)]
    rows = Fetched(keys, values, times, None, "trades", 0, range(COUNT), COUNT)
    stored = _log(keys, values, times)
    codec, encoder = Json(), Encoder(Json(), 2, None, 1_000_000)
    records, _ = decode(rows, codec)
    plain = [_decode(value) for value in values if value is not None]
    packed = encoder.encode(records, 0, NOW)
    average, context = MovingAverage(field="price", by="symbol", size=20), Context()
    windows: dict[str, Any] = {}
    chunk = encode_chunk(rows)
    row = (COUNT - 1, 0, NOW, NOW, NOW, len(chunk), checksum(COUNT - 1, 0, NOW, NOW, NOW, len(chunk), chunk), chunk)
    columns = msgspec.msgpack.Decoder()

    def fetch() -> PartitionRecords:
        return PartitionRecords(PART, MemoryRecords(stored), None, 0, None, None, True, READ_COMMITTED)

    def raw_loop() -> None:
        """Do the whole job a record at a time, as the shared script does with the client's own methods."""
        builder = new_batch()
        for record in fetch():
            value = _decode(record.value)
            raw_average(windows, value)
            builder.append(key=record.key, value=_encode(value), timestamp=None)

    def flow_pass() -> None:
        (fetched,) = unpacked(fetch())
        made, _ = decode(fetched, codec)
        for one in encoder.encode(average.process(Batch(made, "trades", 0, 0, COUNT - 1), context), 0, NOW).values():
            pack(new_batch, [one])

    def raw_pack() -> None:
        for one in packed.values():
            builder = new_batch()
            for key, value in zip(one.keys, one.values, strict=True):
                builder.append(key=key, value=value, timestamp=NOW)

    def raw_averages() -> None:
        for value in plain:
            raw_average(windows, value)

    return {
        "decode": (lambda: decode(rows, codec), lambda: [_decode(value) for value in values if value is not None]),
        "encode": (lambda: encoder.encode(records, 0, NOW), lambda: [_encode(value) for value in plain]),
        "record": (
            lambda: [Record(value, key) for value, key in zip(plain, keys, strict=True)],
            lambda: [(value, key) for value, key in zip(plain, keys, strict=True)],
        ),
        "step": (lambda: average.process(Batch(records, "trades", 0, 0, COUNT - 1), context), raw_averages),
        "ages": (lambda: Histogram().add_ages(NOW + 10**7, times), lambda: [NOW - time for time in times]),
        "kafka fetch": (lambda: list(unpacked(fetch())), lambda: list(fetch())),
        "kafka pack": (
            lambda: [pack(new_batch, [one]) for one in packed.values()],
            raw_pack,
        ),
        "log append": (lambda: encode_chunk(rows), lambda: msgspec.msgpack.encode((keys, values, times))),
        "log read": (lambda: decode_chunk(row), lambda: columns.decode(chunk)),
        "kafka flow": (flow_pass, raw_loop),
    }


def _log(keys: list[bytes | None], values: list[bytes | None], times: list[int]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 22)
    for number, (key, value, time) in enumerate(zip(keys, values, times, strict=True)):
        builder.append(number, time, key, value, [])
    return bytes(builder.build())
