"""Reading records: order, where to begin, what cannot be decoded, what must not reach a terminal."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamweaver.cli.load import load
from streamweaver.cli.tail import Range, Row, Shown, rows_of, starts_of
from streamweaver.contracts import BrokerContext, PartitionRange, Rows, TopicSpec

PROGRAM = Path(sys.executable).parent / "streamweaver"


def test_json_lines_have_the_promised_keys(run, ran: Path) -> None:
    """One object a record, with exactly the documented keys; values are decoded."""
    lines = run("topic", "tail", "shop.yaml", "priced", "--json").lines
    assert [list(line) for line in lines] == [
        ["topic", "partition", "offset", "timestamp", "key", "value", "headers"]
    ] * 8
    assert {line["key"] for line in lines} == {f"g{n}" for n in range(8)}
    assert lines[0]["value"]["price"] == 1.5


def test_limit_and_partition(run, ran: Path) -> None:
    """Only that partition, only so many."""
    lines = run("topic", "tail", "shop.yaml", "orders", "--partition", "1", "--limit", "2", "--json").lines
    assert [(line["partition"], line["offset"]) for line in lines] == [(1, 0), (1, 1)]


@pytest.mark.parametrize(("start", "count"), [("start", 5), ("end", 0), ("3", 2), ("-1", 1), ("-99", 5), ("99", 0)])
def test_where_to_begin(run, ran: Path, start: str, count: int) -> None:
    """Words, an offset, or so many before the end."""
    assert len(run("topic", "tail", "shop.yaml", "shop.dead_letters", "--from", start, "--json").lines) == count


def test_starts_stay_within_what_is_kept() -> None:
    """An offset that retention removed becomes the first that is kept."""
    ranges = {0: PartitionRange(10, 20), 1: PartitionRange(0, 0)}
    assert starts_of(ranges, 5) == {0: 10, 1: 5}
    assert starts_of(ranges, -3) == {0: 17, 1: 0}
    assert starts_of(ranges, "end") == {0: 20, 1: 0}


def test_a_value_that_cannot_be_decoded_is_shown_and_told(run, ran: Path) -> None:
    """Reading goes on, the value is text or base64, and "error" says why."""
    first, *others = run("topic", "tail", "shop.yaml", "shop.dead_letters", "--json").lines
    assert first["value"] == "no json\n"
    assert "codec json cannot decode" in first["error"]
    assert len(others) == 4
    assert all("error" not in line for line in others)


def test_metrics_can_be_read(run, ran: Path) -> None:
    """The metrics topic is JSON, whatever the file declares."""
    assert run("topic", "tail", "shop.yaml", "shop.metrics", "--json").lines[-1]["value"]["pipeline"] == "shop"


def row(**changes: object) -> Row:
    fields: dict[str, object] = {
        "timestamp": 0,
        "partition": 0,
        "offset": 7,
        "topic": "orders",
        "key": None,
        "value": b"1",
        "headers": (),
    }
    return Row(**{**fields, **changes})  # type: ignore[arg-type]


def test_bytes_are_text_or_base64(shop: Path) -> None:
    """Keys and headers that are no UTF-8 come as base64 objects; a tombstone is null."""
    shown = Shown(load(Path("shop.yaml")).plan, "orders")
    found = shown.as_dict(row(key=b"\xff", value=None, headers=(("a", b"x"), ("a", b"\xfe"))))
    assert found["key"] == {"base64": "/w=="}
    assert found["value"] is None
    assert found["headers"] == [["a", "x"], ["a", {"base64": "/g=="}]]


def test_nothing_in_a_record_acts_on_a_terminal(shop: Path) -> None:
    """Escape sequences, line breaks and directional marks are shown as escapes, in each part of a line."""
    shown = Shown(load(Path("shop.yaml")).plan, "orders")
    evil = "\x1b[2J\n\u202e\x9b"
    line = shown.line(row(key=evil.encode(), value=json.dumps(evil).encode(), headers=((evil, evil.encode()),)))
    assert not set(line) & set(evil) - set("[2J")
    assert line.count("\\u001b[2J") == 4
    undecodable = shown.line(row(value=b"\x1b]0;x\x07"))
    assert "\x1b" not in undecodable
    assert "\x07" not in undecodable


async def fill(plan, data: Path, rows: list[tuple[int, int, bytes]]):
    broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline=plan.name, data_dir=data))
    await broker.create([TopicSpec(name="orders", partitions=3)])
    for partition, timestamp, value in rows:
        unit = broker.begin()
        unit.append("orders", partition, Rows([None], [value], [timestamp]))
        await unit.commit()
    return broker


async def test_partitions_are_merged_by_time(shop: Path) -> None:
    """Records come by timestamp over all partitions, in offset order within one, those after the end left out."""
    plan = load(Path("shop.yaml")).plan
    broker = await fill(plan, shop / "d", [(0, 10, b"1"), (1, 5, b"2"), (1, 30, b"3"), (0, 20, b"4"), (0, 15, b"5")])
    try:
        ranges = dict(enumerate(await broker.ranges("orders")))
        wanted = Range(start="start", partition=None, limit=None, follow=False)
        values = [found.value async for found in rows_of(broker, "orders", ranges, wanted)]
    finally:
        await broker.close()
    assert values == [b"2", b"1", b"4", b"5", b"3"]


async def test_following_goes_on_with_what_comes(shop: Path) -> None:
    """After what is there, new records come as they are stored; each once."""
    plan = load(Path("shop.yaml")).plan
    broker = await fill(plan, shop / "d", [(0, 10, b"1"), (1, 5, b"2")])
    try:
        ranges = dict(enumerate(await broker.ranges("orders")))
        stream = rows_of(broker, "orders", ranges, Range(start="start", partition=None, limit=None, follow=True))
        assert [(await anext(stream)).value for _ in range(2)] == [b"2", b"1"]
        unit = broker.begin()
        unit.append("orders", 2, Rows([None], [b"3"], [1]))
        following = asyncio.ensure_future(anext(stream))
        await unit.commit()
        assert (await following).value == b"3"
        await stream.aclose()
    finally:
        await broker.close()


def test_ctrl_c_ends_following(run, ran: Path) -> None:
    """`--follow` is ended by Ctrl-C, which is no failure."""
    with subprocess.Popen(
        [PROGRAM, "topic", "tail", "shop.yaml", "orders", "--follow", "--from", "start"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background of a script has the signal ignored, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_a_reader_that_has_enough_is_no_failure(ran: Path) -> None:
    """When the other end of a pipe is closed the program ends silently."""
    with subprocess.Popen(
        [PROGRAM, "topic", "tail", "shop.yaml", "orders", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, b"")
