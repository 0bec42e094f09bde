"""Every first-party plugin keeps the promises of its kind, checked as any third party's would be."""

import csv
import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from streamweaver.codecs import Bytes, Json, Msgpack, Text
from streamweaver.plugin import plugin_of
from streamweaver.testing import conformance
from streamweaver.testing.conformance.promises.declared import DECLARED
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.kafka import Kafka
from streamweaver_producers.file_tail import FileTail
from streamweaver_producers.ndjson_file import NdjsonFile
from streamweaver_producers.server_logs import ServerLogs
from streamweaver_producers.social_feed import SocialFeed
from streamweaver_producers.stock_trades import StockTrades
from streamweaver_sinks.console import Console
from streamweaver_sinks.file import File
from streamweaver_sinks.websocket import Websocket
from streamweaver_transforms.convert import Convert
from streamweaver_transforms.count_by import CountBy
from streamweaver_transforms.filter import Filter
from streamweaver_transforms.keywords import Keywords
from streamweaver_transforms.moving_average import MovingAverage
from streamweaver_transforms.parse_log import ParseLog
from streamweaver_transforms.stamp import Stamp

# -- producers ------------------------------------------------------------------------------------


def lines(text: str = "one\ntwo\nthree\n") -> None:
    """Write more lines into the file that a producer reads."""
    with Path("lines.txt").open("a", encoding="utf-8") as file:
        file.write(text)


def numbers() -> None:
    """Write numbers, and something else, into the file that a producer reads."""
    lines("1\n2\n{no json}\n3\n")


test_stock_trades = conformance.producer(StockTrades, options={"seed": 1})
test_social_feed = conformance.producer(SocialFeed, options={"seed": 1})
test_server_logs = conformance.producer(ServerLogs, options={"seed": 1})
test_file_tail = conformance.producer(FileTail, options={"paths": ["lines.txt"]}, prepare=lines, more=lines)
test_file_tail_once = conformance.producer(
    FileTail, options={"paths": ["*.txt"], "follow": False}, prepare=lines, patience_seconds=30
)
test_ndjson_file = conformance.producer(NdjsonFile, options={"path": "lines.txt"}, prepare=numbers)

# -- transforms -----------------------------------------------------------------------------------

TRADES: list[Any] = [
    {"symbol": "A", "price": 1.5, "text": "AI and more AI"},
    {"symbol": "B", "price": 2, "text": "nothing of it"},
    {"symbol": "A", "price": 4, "text": "ai"},
    {"symbol": "A", "price": -1, "text": ""},
    {"symbol": "B", "price": 0.25, "text": "#AI"},
]
LINES = [
    {"line": '{"level": "info", "msg": "a"}', "path": "a.log"},
    {"line": '{"level": "warn", "msg": "b"}', "path": "b.log"},
]

test_moving_average = conformance.transform(
    MovingAverage, options={"field": "price", "by": "symbol", "size": 2}, records=TRADES, bad={"symbol": "A"}
)
test_moving_average_span = conformance.transform(
    MovingAverage, options={"field": "price", "by": "symbol", "span_seconds": 0.002}, records=TRADES, bad={"price": 1}
)
test_stamp = conformance.transform(Stamp, records=TRADES, bad=7)
test_convert = conformance.transform(
    Convert, options={"rename": {"price": "px"}, "types": {"px": "float"}}, records=TRADES, bad={"price": "no"}
)
test_filter = conformance.transform(Filter, options={"where": "price > 1"}, records=TRADES, bad="text")
test_keywords = conformance.transform(
    Keywords, options={"field": "text", "words": ["AI"]}, records=TRADES, bad={"text": 1}
)
test_parse_log = conformance.transform(ParseLog, options={"format": "json"}, records=LINES, bad={"line": "{"})
test_count_by = conformance.transform(
    CountBy, options={"by": "symbol", "span_seconds": 60, "sum": "price"}, records=TRADES, bad={"price": 1}
)

# -- sinks ----------------------------------------------------------------------------------------


def ndjson(options: File) -> list[int]:
    """Return the numbers of the records in the file; tombstones are stored as null."""
    return [value["n"] for value in map(json.loads, options.path.read_text().splitlines()) if value]


def columns(options: File) -> list[int]:
    """Return the numbers of the records in a CSV file."""
    with options.path.open(newline="") as file:
        return [int(row["n"]) for row in csv.DictReader(file)]


test_file = conformance.sink(File, options={"path": "out.ndjson"}, read=ndjson)
test_file_csv = conformance.sink(File, options={"path": "out.csv", "format": "csv"}, read=columns, bad="no mapping")
test_console = conformance.sink(Console)
test_websocket = conformance.sink(Websocket, options={"port": 0})

# -- codecs and brokers ---------------------------------------------------------------------------

test_json = conformance.codec(Json)
test_msgpack = conformance.codec(Msgpack, values=[*conformance.VALUES, {"raw": b"\x00\xff"}])
test_text = conformance.codec(Text, values=["text", "ключ-鍵-🔑", ""])
test_bytes = conformance.codec(Bytes, values=[b"", b"\x00\xff"])

test_embedded = conformance.broker(Embedded)

KAFKA = conformance.Suite(plugin=plugin_of(Kafka), targets=(Kafka,), options={"servers": ["127.0.0.1:9"]})


@pytest.mark.parametrize(
    "behaviour", [found for found in DECLARED if found.left_out(KAFKA) is None], ids=lambda found: found.name
)
def test_kafka(behaviour: conformance.Behaviour, tmp_path: Path) -> None:
    """What can be known without a server; `brokers/kafka` has the behaviours that need one."""
    conformance.check(KAFKA, behaviour, tmp_path)


def test_none_is_left_out() -> None:
    """Whatever the project offers through an entry point has a test of its name in this file."""
    kinds = ("producers", "transforms", "sinks", "codecs", "brokers")
    offered = {
        (kind, point.name)
        for kind in kinds
        for point in entry_points(group=f"streamweaver.{kind}")
        if point.dist is not None and point.dist.name == "streamweaver"
    }
    assert {f"test_{name}" for _, name in offered} <= globals().keys()
