"""The file sink: rows, exactly once, parts, and files that others touched."""

import csv
import errno
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamweaver import BadRecord, Batch, Fatal, Record, Retriable, Size
from streamweaver.testing import FakeContext
from streamweaver_sinks.file import File
from streamweaver_sinks.file import state as state_module
from streamweaver_sinks.file.state import SLOT_BYTES, State, StateFile


def batch(*values: Any, first: int = 0, topic: str = "orders", partition: int = 0) -> Batch:
    records = [Record(value, key=b"k", timestamp=1000 + i) for i, value in enumerate(values)]
    return Batch(records, topic, partition, first, first + len(values) - 1)


Open = Callable[..., tuple[File, Any]]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open sinks over one data folder; each call first closes the one before, like a restart."""
    running: list[File] = []

    def start(**options: Any) -> tuple[File, Any]:
        while running:
            running.pop().close()
        options.setdefault("path", tmp_path / "out" / "orders.ndjson")
        sink = File(**options)
        context: Any = FakeContext(data_dir=tmp_path / "state")
        running.append(sink)
        sink.open(context)
        return sink, context

    yield start
    for sink in running:
        sink.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "orders.ndjson"


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# -- rows -----------------------------------------------------------------------------------------


def test_values_are_one_json_text_a_line(opened: Open, path: Path) -> None:
    """NDJSON holds each value on its own line, tombstones and text with line ends included."""
    sink, _ = opened()
    sink.write(batch({"a": 1}, None, "two\nlines"))
    assert path.read_bytes() == b'{"a":1}\nnull\n"two\\nlines"\n'


def test_include_record_says_where_each_record_was(opened: Open, path: Path) -> None:
    """With include: record a line holds topic, partition, offset, key, timestamp and headers as well."""
    sink, _ = opened(include="record")
    sink.write(Batch([Record(1, key=b"\xff", timestamp=5, headers=(("h", b"x"),))], "orders", 2, 7, 7))
    assert lines(path) == [
        {
            "topic": "orders",
            "partition": 2,
            "offset": 7,
            "key": "\\xff",
            "timestamp": 5,
            "headers": [["h", "x"]],
            "value": 1,
        }
    ]


def test_each_record_has_its_offset_over_gaps(opened: Open, path: Path) -> None:
    """Each by the row that it was read from; one that is not known is not made up."""
    sink, _ = opened(include="record")
    sink.write(Batch([Record(1, origin=0), Record(2, origin=2)], "orders", 0, 7, 11, row_offsets=[7, 8, 11]))
    sink.write(Batch([Record(3), Record(4)], "orders", 0, 12, 14))
    assert [line["offset"] for line in lines(path)] == [7, 11, None, None]


def test_csv_quotes_and_has_one_header(opened: Open, tmp_path: Path) -> None:
    """CSV survives commas, quotes and line ends, and a restart adds no second header."""
    path = tmp_path / "orders.csv"
    sink, _ = opened(path=path, format="csv")
    sink.write(batch({"a": 'x,"y"\nz', "b": True}, {"a": None, "b": {"n": [1]}}))
    sink, _ = opened(path=path, format="csv")
    sink.write(batch({"b": b"\x00"}, first=2))
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["a", "b"],
            ['x,"y"\nz', "true"],
            ["", '{"n":[1]}'],
            ["", "AA=="],
        ]


def test_csv_include_record_keeps_its_columns_apart(opened: Open, tmp_path: Path) -> None:
    """Columns about the record have names of their own, so a field `timestamp` does not clash."""
    path = tmp_path / "orders.csv"
    sink, _ = opened(path=path, format="csv", include="record", columns=["timestamp"])
    sink.write(batch({"timestamp": "now", "other": 1}, first=3))
    sink, _ = opened(path=path, format="csv", include="record", columns=["timestamp"])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            "record_topic": "orders",
            "record_partition": "0",
            "record_offset": "3",
            "record_key": "k",
            "record_timestamp": "1000",
            "record_headers": "[]",
            "timestamp": "now",
        }
    ]


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({}, [{"a": 1}, {"a": object()}]),
        ({}, [1, {"a": "\ud800"}]),
        ({"format": "csv"}, [{"a": 1}, "text"]),
        ({"format": "csv"}, [{"a": 1}, {"a": 1, "b": 2}]),
        ({"format": "csv"}, [{"a": 1}, {"a": "\ud800"}]),
        ({"format": "csv"}, [{"a": 1}, {"a": [object()]}]),
    ],
)
def test_a_record_that_cannot_be_a_row_is_blamed_alone(
    opened: Open, path: Path, options: dict[str, Any], values: list[Any]
) -> None:
    """BadRecord names the record, and nothing of the batch is written or counted."""
    sink, _ = opened(**options)
    with pytest.raises(BadRecord) as caught:
        sink.write(batch(*values))
    assert caught.value.index == 1
    assert path.read_bytes() == b""
    assert sink.committed("orders", 0) is None


def test_csv_columns_that_differ_from_the_file_are_refused(opened: Open, tmp_path: Path) -> None:
    """A file with other columns is not mixed."""
    path = tmp_path / "orders.csv"
    sink, _ = opened(path=path, format="csv", columns=["a"])
    sink.write(batch({"a": 1}))
    with pytest.raises(Fatal, match="has the columns a"):
        opened(path=path, format="csv", columns=["b"])


def test_another_format_is_refused(opened: Open) -> None:
    """A file that holds NDJSON does not get CSV rows."""
    sink, _ = opened()
    sink.write(batch(1))
    with pytest.raises(Fatal, match="holds ndjson value"):
        opened(format="csv")


# -- exactly once ---------------------------------------------------------------------------------


def test_committed_is_the_offset_after_the_last_row_for_each_partition(opened: Open) -> None:
    """Offsets of each topic and partition survive a restart."""
    sink, _ = opened()
    assert sink.committed("orders", 0) is None
    sink.write(batch(1, 2, first=10))
    sink.write(batch(3, first=4, partition=1))
    sink, _ = opened()
    assert (sink.committed("orders", 0), sink.committed("orders", 1), sink.committed("x", 0)) == (12, 5, None)


@pytest.mark.parametrize("excess", [b"{", b'{"a":2}\n', b"x" * 10_000])
def test_what_was_not_acknowledged_is_cut_off_and_kept_aside(
    opened: Open, path: Path, tmp_path: Path, excess: bytes
) -> None:
    """Bytes beyond the last acknowledged batch are removed at the start, with a warning, into a file of their own."""
    sink, _ = opened()
    sink.write(batch({"a": 1}))
    sink.close()
    with path.open("ab") as file:
        file.write(excess)
    sink, context = opened()
    assert path.read_bytes() == b'{"a":1}\n'
    assert (tmp_path / "state" / "file.cut").read_bytes() == excess
    assert context.logged[-1][0] == "warning"
    sink.write(batch({"a": 2}, first=1))
    assert lines(path) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_retriable_and_leaves_nothing_half_written(
    opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """After a write that ran out of space the file is as before, and the same batch can be written again."""
    sink, _ = opened()
    sink.write(batch({"a": 1}))
    real = os.pwrite

    def full(file: int, data: Any, at: int) -> int:
        real(file, bytes(data)[:3], at)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Retriable, match="make room"):
        sink.write(batch({"a": 2}, first=1))
    monkeypatch.undo()
    assert path.read_bytes() == b'{"a":1}\n'
    sink.write(batch({"a": 2}, first=1))
    assert lines(path) == [{"a": 1}, {"a": 2}]
    assert sink.committed("orders", 0) == 2


def test_a_real_limit_in_the_middle_of_a_row_leaves_nothing_of_it(opened: Open, path: Path) -> None:
    """When the system itself writes only a part of a batch, the part is taken back."""
    sink, _ = opened()
    sink.write(batch({"a": 1}))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        with pytest.raises(Retriable, match="make room"):
            sink.write(batch({"a": "x" * 100}, first=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b'{"a":1}\n'
    sink.write(batch({"a": 2}, first=1))
    assert lines(path) == [{"a": 1}, {"a": 2}]


def test_after_a_failed_sync_the_file_is_not_used_until_reopened(
    opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync error is fatal, further writes are refused, and a restart goes on from the last acknowledged batch."""
    sink, _ = opened()
    sink.write(batch(1))

    def fails(_file: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr("streamweaver_sinks.file.writer.sync_data", fails)
    with pytest.raises(Fatal, match="input/output error"):
        sink.write(batch(2, first=1))
    monkeypatch.undo()
    with pytest.raises(Fatal, match="not open"):
        sink.write(batch(2, first=1))
    sink, _ = opened()
    assert sink.committed("orders", 0) == 1
    sink.write(batch(2, first=1))
    assert lines(path) == [1, 2]


def test_when_the_state_cannot_be_saved_a_restart_settles_it(
    opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are in the file while their state is not do not count, and do not come twice."""
    sink, _ = opened()
    sink.write(batch(1))

    def fails(_file: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(StateFile, "save", lambda *_: fails(0))
    with pytest.raises(Fatal, match="cannot save"):
        sink.write(batch(2, first=1))
    monkeypatch.undo()
    sink, _ = opened()
    assert sink.committed("orders", 0) == 1
    assert lines(path) == [1]


def test_a_batch_that_comes_again_is_not_written_again(opened: Open, path: Path) -> None:
    """A write that was timed out while it went on in its thread is repeated by the engine; the rows stand once."""
    sink, _ = opened()
    sink.write(batch({"a": 1}, {"a": 2}))
    sink.write(batch({"a": 1}, {"a": 2}))
    sink.write(batch({"a": 1}, {"a": 2}, partition=1))
    sink.write(batch({"a": 1}, {"a": 2}, first=2))
    assert [line["a"] for line in lines(path)] == [1, 2] * 3
    assert (sink.committed("orders", 0), sink.committed("orders", 1)) == (4, 2)


# -- several batches at once ----------------------------------------------------------------------


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note each sync of a file's content."""
    found: list[int] = []

    def note(file: int) -> None:
        found.append(file)
        os.fdatasync(file)

    for module in ("state", "writer"):
        monkeypatch.setattr(f"streamweaver_sinks.file.{module}.sync_data", note)
    return found


def test_batches_of_all_partitions_are_synced_once(opened: Open, path: Path, syncs: list[int]) -> None:
    """However many batches come together: one sync for their rows, one for their offsets; they survive a restart."""
    sink, _ = opened()
    syncs.clear()
    sink.write_all([batch(1, 2), batch(3, partition=1), batch(4, first=2), batch(5, topic="other")])
    assert len(syncs) == 2
    sink, _ = opened()
    assert lines(path) == [1, 2, 3, 4, 5]
    assert [sink.committed(*place) for place in (("orders", 0), ("orders", 1), ("other", 0))] == [3, 1, 1]


@pytest.mark.parametrize("kind", ["ndjson", "csv"])
def test_nothing_of_several_batches_is_stored_when_a_record_of_one_is_bad(
    opened: Open, tmp_path: Path, kind: str
) -> None:
    """What is refused is found before anything is written, so each batch can be written alone."""
    sink, _ = opened(path=tmp_path / "orders.txt", format=kind)
    with pytest.raises(BadRecord):
        sink.write_all([batch({"a": 1}), batch({"a": object()}, partition=1)])
    assert (tmp_path / "orders.txt").read_bytes() == b""
    assert sink.committed("orders", 0) is None
    sink.write(batch({"a": 1}))
    sink.write(batch({"a": 2}, first=1))
    assert (tmp_path / "orders.txt").read_text().split() == (
        ['{"a":1}', '{"a":2}'] if kind == "ndjson" else ["a", "1", "2"]
    )


def test_a_part_ends_between_two_of_several_batches(opened: Open, path: Path) -> None:
    """Parts hold whole batches, no more than their size, whether batches come together or one at a time."""
    for name, together in (("alone", False), ("together", True)):
        sink, _ = opened(path=path.with_name(f"{name}.ndjson"), rotate_bytes=30)
        parts = [batch("x" * 10, first=n) for n in range(4)] + [batch("y" * 50, first=4), batch("z", first=5)]
        if together:
            sink.write_all(parts)
        else:
            for part in parts:
                sink.write(part)
    found = [
        [path.with_name(f"{name}{number}.ndjson").read_text() for number in ("-000001", "-000002", "-000003", "")]
        for name in ("alone", "together")
    ]
    assert found[0] == found[1]
    assert [len(text.split()) for text in found[0]] == [2, 2, 1, 1]


def test_a_disk_that_fills_up_between_two_parts_doubles_no_row(
    opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches of the part that is finished are stored and known when all come again, also two of one partition."""
    sink, _ = opened(rotate_bytes=30)
    came = [batch("x" * 8, first=0), batch("x" * 8, first=1), batch("y" * 8, partition=1), batch("x" * 8, first=2)]
    real, tries = os.pwrite, 0

    def fills_up(file: int, data: Any, at: int) -> int:
        nonlocal tries
        if bytes(data).startswith(b'"y'):
            tries += 1
            real(file, bytes(data)[:3], at)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data, at)

    monkeypatch.setattr(os, "pwrite", fills_up)
    for _ in range(2):
        with pytest.raises(Retriable, match="make room"):
            sink.write_all(came)
    monkeypatch.undo()
    assert tries == 2
    assert (sink.committed("orders", 0), sink.committed("orders", 1)) == (2, None)
    sink.write_all(came)
    sink.write_all(came)
    assert lines(path.with_name("orders-000001.ndjson")) == ["x" * 8] * 2
    assert lines(path) == ["y" * 8, "x" * 8]
    assert (sink.committed("orders", 0), sink.committed("orders", 1)) == (3, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=5), max_size=6),
    st.sampled_from([None, 12, 40]),
    st.sets(st.integers(0, 40)),
)
def test_any_rounds_with_any_failures_leave_each_row_once(
    rounds: list[list[tuple[int, int]]], rotate_bytes: int | None, failing: set[int]
) -> None:
    """Whichever writes run out of space, and whether the sink is opened anew or asked again, rows and offsets agree."""
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        real, count = os.pwrite, 0

        def sometimes(file: int, data: Any, at: int) -> int:
            nonlocal count
            count += 1
            # Only rows: when the state cannot be saved nobody may ask again, which tests of its own show.
            if count in failing and bytes(data[:1]) == b"[":
                real(file, bytes(data)[: len(data) // 2], at)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(file, data, at)

        def start() -> File:
            sink = File(path=folder / "out.ndjson", rotate_bytes=None if rotate_bytes is None else Size(rotate_bytes))
            context: Any = FakeContext(data_dir=folder / "state")
            sink.open(context)
            return sink

        sink, ends = start(), [0, 0, 0]
        patch.setattr(os, "pwrite", sometimes)
        for number, sizes in enumerate(rounds):
            came = []
            for partition, size in sizes:
                first = ends[partition]
                came.append(batch(*([partition, first + n] for n in range(size)), first=first, partition=partition))
                ends[partition] += size
            while True:
                try:
                    sink.write_all(came)
                    break
                except Retriable:
                    if number % 2:  # as after a crash: the engine goes on at the sink's own offsets
                        sink.close()
                        sink = start()
                        came = [b for b in came if b.first_offset >= (sink.committed("orders", b.partition) or 0)]
                        if not came:
                            break
            assert [sink.committed("orders", p) or 0 for p in range(3)] == ends
        sink.close()
        files = [*sorted(folder.glob("out-*.ndjson")), folder / "out.ndjson"]
        rows = [row for file in files for row in lines(file)]
        for partition, end in enumerate(ends):
            assert [n for p, n in rows if p == partition] == list(range(end))


def test_closing_waits_for_a_write_that_is_under_way(opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that is stopped in the middle of a write leaves a whole one behind."""
    sink, _ = opened()
    writing, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def slow(file: int) -> None:
        writing.set()
        assert go_on.wait(10)
        os.fsync(file)

    monkeypatch.setattr("streamweaver_sinks.file.writer.sync_data", slow)
    write = threading.Thread(target=sink.write, args=(batch(1),))

    def end() -> None:
        sink.close()
        closed.set()

    close = threading.Thread(target=end)
    write.start()
    assert writing.wait(10)
    close.start()
    assert not closed.wait(0.05)
    go_on.set()
    write.join(10)
    assert closed.wait(10)
    close.join(10)
    monkeypatch.undo()
    sink, context = opened()
    assert sink.committed("orders", 0) == 1
    assert lines(path) == [1]
    assert context.logged == []


# -- the state ------------------------------------------------------------------------------------


@given(at=st.integers(0, 2 * SLOT_BYTES - 1), flip=st.integers(1, 255), saves=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_a_damaged_slot_leaves_the_state_before(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int, saves: int
) -> None:
    """Whatever byte is damaged, the state is the last or the one before it, never another."""
    path = tmp_path_factory.mktemp("state") / "state"
    file = StateFile(path, sync=False)
    file.open()
    state = State()
    for size in range(1, saves + 1):
        state.size = size
        file.save(state)
    file.close()
    data = bytearray(path.read_bytes())
    data[at] ^= flip
    path.write_bytes(data)
    again = StateFile(path, sync=False)
    found = again.open()
    again.close()
    assert (found.size if found else 0) in (saves, saves - 1)


def test_a_state_that_fits_no_slot_is_an_error(tmp_path: Path) -> None:
    """Too many partitions are an error, not a damaged state."""
    file = StateFile(tmp_path / "state", sync=False)
    file.open()
    with pytest.raises(OSError, match="too many partitions"):
        file.save(State(offsets={"t" * 100: dict.fromkeys(range(50_000), 1)}))
    file.close()


def test_a_system_without_fdatasync_has_fsync() -> None:
    """The sync call is the system's own."""
    assert state_module.sync_data in (os.fsync, getattr(os, "fdatasync", os.fsync))


# -- parts ----------------------------------------------------------------------------------------


def test_parts_by_size_stand_beside_the_file(opened: Open, path: Path) -> None:
    """With rotate_bytes the file never exceeds the size, and finished parts are numbered."""
    sink, _ = opened(rotate_bytes=20)
    for n in range(5):
        sink.write(batch({"a": n}, first=n))
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == ["orders-000001.ndjson", "orders-000002.ndjson", "orders.ndjson"]
    assert [lines(path.with_name(n)) for n in names] == [[{"a": 0}, {"a": 1}], [{"a": 2}, {"a": 3}], [{"a": 4}]]


def test_parts_by_time_end_with_the_first_batch_after_it(opened: Open, path: Path) -> None:
    """With rotate_seconds a part is finished by the first batch that comes after its time."""
    sink, context = opened(rotate_seconds=60)
    sink.write(batch(1))
    context.clock.advance(59)
    sink.write(batch(2, first=1))
    context.clock.advance(1)
    sink.write(batch(3, first=2))
    assert lines(path.with_name("orders-000001.ndjson")) == [1, 2]
    assert lines(path) == [3]


def test_a_path_with_placeholders_is_partial_until_it_is_finished(opened: Open, tmp_path: Path) -> None:
    """With {date} and {part} only finished parts have their final names, and each day starts a part."""
    sink, context = opened(path=tmp_path / "{date}" / "o-{part}.ndjson")
    sink.write(batch(1))
    assert [p.name for p in (tmp_path / "2025-06-15").iterdir()] == ["o-000001.ndjson.partial"]
    context.clock.advance(24 * 3600)
    sink.write(batch(2, first=1))
    assert lines(tmp_path / "2025-06-15" / "o-000001.ndjson") == [1]
    assert lines(tmp_path / "2025-06-16" / "o-000002.ndjson.partial") == [2]


def test_a_part_without_rows_takes_the_date_of_its_first_row(opened: Open, tmp_path: Path) -> None:
    """A sink that waits over midnight writes into the new day's file."""
    sink, context = opened(path=tmp_path / "{date}.ndjson")
    context.clock.advance(24 * 3600)
    sink.write(batch(1))
    assert [p.name for p in tmp_path.glob("*.partial")] == ["2025-06-16.ndjson.partial"]


def test_keep_deletes_the_oldest_parts_and_nothing_else(opened: Open, path: Path) -> None:
    """Only parts that this sink finished are deleted, across restarts."""
    path.parent.mkdir()
    foreign = path.with_name("orders-000001.ndjson")
    foreign.write_text("1\n")
    for n in range(5):
        sink, _ = opened(rotate_bytes=1, keep=2)
        sink.write(batch(n, first=n))
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "orders-000001.ndjson",
        "orders-000004.ndjson",
        "orders-000005.ndjson",
        "orders.ndjson",
    ]
    assert foreign.read_text() == "1\n"


def test_each_csv_part_has_its_header(opened: Open, tmp_path: Path) -> None:
    """Every part can be read alone."""
    path = tmp_path / "o.csv"
    sink, _ = opened(path=path, format="csv", rotate_bytes=5)
    sink.write(batch({"a": 1}))
    sink, _ = opened(path=path, format="csv", rotate_bytes=5)
    sink.write(batch({"a": 2}, first=1))
    assert (tmp_path / "o-000001.csv").read_text() == "a\n1\n"
    assert path.read_text() == "a\n2\n"


@pytest.mark.parametrize("step", ["save", "_start_part"])
def test_a_crash_within_a_rotation_is_finished_at_the_next_start(
    opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """When the process ends between the renaming of a part and its noting, no row is lost or doubled."""

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    sink, _ = opened(rotate_bytes=1)
    sink.write(batch(1))
    owner = StateFile if step == "save" else type(sink._writer)
    monkeypatch.setattr(owner, step, killed)
    with pytest.raises(Killed):
        sink.write(batch(2, first=1))
    monkeypatch.undo()
    assert path.with_name("orders-000001.ndjson").exists()
    sink, context = opened(rotate_bytes=1)
    assert sink.committed("orders", 0) == 1
    sink.write(batch(2, first=1))
    assert lines(path.with_name("orders-000001.ndjson")) == [1]
    assert lines(path) == [2]
    assert [line for line in context.logged if line[0] == "warning"] == []


def test_a_finished_name_that_is_taken_is_not_overwritten(opened: Open, path: Path) -> None:
    """A foreign file with the name of the next part stops the sink."""
    sink, _ = opened(rotate_bytes=1)
    sink.write(batch(1))
    path.with_name("orders-000001.ndjson").write_text("foreign")
    with pytest.raises(Fatal, match="exists already"):
        sink.write(batch(2, first=1))
    assert path.with_name("orders-000001.ndjson").read_text() == "foreign"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"path": Path("{hour}.ndjson")}, "unknown placeholder {hour}"),
        ({"path": Path("{date}.ndjson"), "rotate_bytes": 5}, "add {part}"),
    ],
)
def test_paths_that_cannot_work_are_refused_when_the_file_is_read(options: dict[str, Any], why: str) -> None:
    """Options that contradict each other are found before anything runs."""
    with pytest.raises(ValueError, match=why):
        File(**options)


# -- what others do to the file -------------------------------------------------------------------


@pytest.mark.parametrize("while_open", [True, False])
@pytest.mark.parametrize("how", ["remove", "empty", "move"])
def test_a_removed_or_emptied_file_is_started_anew_with_a_warning(
    opened: Open, path: Path, how: str, *, while_open: bool
) -> None:
    """Somebody's `rm`, `mv` or `> file` is respected: the rows that come go into a new file, none into nowhere."""
    sink, context = opened()
    sink.write(batch(1))
    if not while_open:
        sink.close()
    if how == "remove":
        path.unlink()
    elif how == "move":
        path.rename(path.with_name("moved"))
    else:
        path.write_bytes(b"")
    if not while_open:
        sink, context = opened()
    sink.write(batch(2, first=1))
    sink, _ = opened()
    assert lines(path) == [2]
    assert sink.committed("orders", 0) == 2
    assert [line[1] for line in context.logged] == ["file: removed or emptied by another program; goes on in a new one"]


@pytest.mark.parametrize("content", [b"[]\n" * 50, b"[]\n", b'{"b":1}\n'])
@pytest.mark.parametrize("while_open", [True, False])
def test_a_file_that_another_program_changed_is_refused(
    opened: Open, path: Path, content: bytes, *, while_open: bool
) -> None:
    """A file that is not what was written is not appended to."""
    sink, _ = opened()
    sink.write(batch({"a": 1}))
    if not while_open:
        sink.close()
    path.rename(path.with_name("old"))
    path.write_bytes(content)
    with pytest.raises(Fatal, match="another program"):
        if while_open:
            sink.write(batch(2, first=1))
        else:
            opened()
    assert path.read_bytes() == content


def test_rows_of_another_program_stop_the_sink(opened: Open, path: Path) -> None:
    """An append by somebody else is noticed before the next write."""
    sink, _ = opened()
    sink.write(batch(1))
    with path.open("a") as file:
        file.write("2\n")
    with pytest.raises(Fatal, match="another program writes to it"):
        sink.write(batch(3, first=1))
    assert lines(path) == [1, 2]


def test_a_file_that_is_there_at_first_is_continued(opened: Open, path: Path) -> None:
    """Without a state of its own the sink appends to what it finds."""
    path.parent.mkdir()
    path.write_text("0\n")
    sink, _ = opened()
    assert sink.committed("orders", 0) is None
    sink.write(batch(1))
    assert lines(path) == [0, 1]


def test_a_file_with_half_a_line_is_not_continued(opened: Open, path: Path) -> None:
    """A row is never glued to somebody's half line."""
    path.parent.mkdir()
    path.write_text("0")
    with pytest.raises(Fatal, match="last line is not whole"):
        opened()


def test_two_writers_of_one_file_are_refused(opened: Open, path: Path, tmp_path: Path) -> None:
    """The second stage that opens the same file fails."""
    opened()
    other = File(path=path)
    context: Any = FakeContext(data_dir=tmp_path / "other")
    with pytest.raises(Fatal, match="another stage or pipeline"):
        other.open(context)
    other.close()


def test_another_path_goes_on_at_the_same_offsets(opened: Open, tmp_path: Path) -> None:
    """When `path` is changed in the pipeline file, each record is still in one file only."""
    sink, _ = opened()
    sink.write(batch(1))
    sink, _ = opened(path=tmp_path / "new.ndjson")
    assert sink.committed("orders", 0) == 1
    sink.write(batch(2, first=1))
    assert lines(tmp_path / "new.ndjson") == [2]


@pytest.mark.parametrize("target", ["folder", "fifo", "below_a_file"])
def test_what_cannot_be_written_is_fatal_in_one_line(opened: Open, tmp_path: Path, target: str) -> None:
    """A folder, a pipe, and a path below a file are refused with the path in the text."""
    path = tmp_path / target
    if target == "folder":
        path.mkdir()
    elif target == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("")
        path = path / "x"
    with pytest.raises(Fatal) as caught:
        opened(path=path)
    assert str(path if target != "below_a_file" else path.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_written_before_opened_is_an_error() -> None:
    """The verbs need `open` first; `close` does not."""
    sink = File(path=Path("never"))
    with pytest.raises(Fatal):
        sink.write(batch(1))
    with pytest.raises(Fatal):
        sink.committed("orders", 0)
    sink.close()
    assert not Path("never").exists()


def test_what_the_sink_wants_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file, however its path is written."""
    monkeypatch.chdir(tmp_path)
    assert File(path=Path("out.csv")).claims() == File(path=tmp_path / "out.csv").claims()


def test_a_probe_makes_nothing(tmp_path: Path) -> None:
    """It says whether the file, or its folder, could be made."""
    path = tmp_path / "new" / "out.ndjson"
    File(path=path).probe()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new").write_text("a file")
    with pytest.raises(Fatal, match="new is no folder; check `path`"):
        File(path=path).probe()
    with pytest.raises(Fatal, match="is a folder; check `path`"):
        File(path=tmp_path).probe()
    File(path=tmp_path / "new").probe()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Fatal, match="pipe is no regular file"):
        File(path=tmp_path / "pipe").probe()


def test_a_probe_sees_what_the_user_may_not_write() -> None:
    """A folder that this user may not write or not enter, and a file, are each refused in a line that names them."""
    code = """
import os
from pathlib import Path
from streamweaver import Fatal
from streamweaver_sinks.file import File
Path("locked").mkdir()
Path("locked/kept.ndjson").touch()
Path("hidden").mkdir()
for each in ("locked/kept.ndjson", "locked", "hidden"):
    os.chmod(each, 0 if each == "hidden" else 0o555)
if os.geteuid() == 0:
    os.setuid(65534)  # to root everything is writable
for each in ("locked/out.ndjson", "locked/kept.ndjson", "hidden/out.ndjson"):
    try:
        File(path=Path(each)).probe()
    except Fatal as error:
        print(error)
"""
    with TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o777)
        said = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)
    assert said.stdout.splitlines() == [
        f"file: {folder}/locked cannot be written by this user; check `path`",
        f"file: {folder}/locked/kept.ndjson cannot be written by this user; check `path`",
        f"file: {folder}/hidden/out.ndjson cannot be reached: Permission denied; check `path`",
    ], said.stderr


def test_a_folder_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    """It is made with the first start, unless it is misspelt; folders named by date or part are not meant."""
    assert File(path=tmp_path / "out.ndjson").warnings() == []
    assert File(path=tmp_path / "{date}" / "{part}.ndjson").warnings() == []
    (said,) = File(path=tmp_path / "nwe" / "out.ndjson").warnings()
    assert said == f"there is no folder {tmp_path / 'nwe'} yet; the first start makes it"
    # These are in no folder; the probe says what is wrong with them.
    assert File(path=Path()).warnings() == []
    assert File(path=Path("/")).warnings() == []
