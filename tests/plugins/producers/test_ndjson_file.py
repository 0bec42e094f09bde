"""Tests of `ndjson_file`."""

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Fatal, Record, Rejected
from streamweaver.testing import FakeContext
from streamweaver_producers import ndjson_file
from streamweaver_producers.ndjson_file import NdjsonFile


def read(path: Path, position: Any = None) -> list[list[Record | Rejected]]:
    return list(NdjsonFile(path=path).produce(FakeContext(position=position)))


def flat(lists: list[list[Record | Rejected]]) -> list[Any]:
    return [item.value for items in lists for item in items]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_lines_and_bad_lines(tmp_path: Path, suffix: str) -> None:
    """Each line is a record; blank lines are passed over; one that is no JSON is rejected alone, with its place."""
    data = b'{"a": 1}\n\n[2]\r\n{bad\n"\xff"\n"last"'
    path = tmp_path / f"x.ndjson{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    (items,) = read(path)
    assert [type(item) for item in items] == [Record, Record, Rejected, Rejected, Record]
    assert [item.value for item in items] == [{"a": 1}, [2], b"{bad\n", b'"\xff"\n', "last"]
    assert isinstance(items[2], Rejected)
    assert items[2].why.startswith(f"{path}: line at byte 15 cannot be decoded: ")
    assert [item.position for item in items] == [9, 15, 20, 24, len(data)]
    assert {item.timestamp for item in items} == {None}, "its time is that at which it leaves"


def test_a_line_that_is_nested_too_deep(tmp_path: Path) -> None:
    """It is rejected as any other that cannot be decoded."""
    path = tmp_path / "x.ndjson"
    path.write_text(f"1\n{'[' * 100_000}{']' * 100_000}\n2\n")
    items = [item for items in read(path) for item in items]
    assert [type(item) for item in items] == [Record, Rejected, Record]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_resumes_at_every_position(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the position of any record the rest follows, nothing twice and nothing left out."""
    monkeypatch.setattr(ndjson_file, "LIST_BYTES", 200)
    rows = [{"n": n, "text": "ü" * (n % 30)} for n in range(100)]
    data = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    path = tmp_path / f"x.ndjson{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    whole = read(path)
    assert len(whole) > 10
    assert flat(whole) == rows
    items = [item for items in whole for item in items]
    for number, item in enumerate(items, 1):
        assert flat(read(path, item.position)) == [item.value for item in items[number:]]


def test_the_way_to_a_position_is_gone_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed file is decompressed up to it, which takes long: others get their turn between the steps."""
    monkeypatch.setattr(ndjson_file, "SKIP_BYTES", 10)
    path = tmp_path / "x.ndjson.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 10))
    assert read(path, 45)[:5] == [[]] * 5
    assert flat(read(path, 45)) == [{"a": 1}] * 5


def test_shorter_than_before(tmp_path: Path) -> None:
    """A file that is shorter than it was is not taken for the same."""
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"1\n2\n")
    with pytest.raises(Fatal, match="is shorter than when it was read up to byte 9: was it replaced"):
        read(path, 9)


def test_damaged_gzip(tmp_path: Path) -> None:
    """Of a damaged file everything before the damage comes, then one dead letter that says so."""
    path = tmp_path / "x.ndjson.gz"
    path.write_bytes(gzip.compress(b"".join(b'{"n": %d}\n' % n for n in range(100_000)))[:-5000])
    items = [item for items in read(path) for item in items]
    assert len(items) > 1000
    assert [item.value["n"] for item in items[:-1] if isinstance(item, Record)] == list(range(len(items) - 1))
    assert isinstance(items[-1], Rejected)
    assert "damaged after byte" in items[-1].why


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there, or cannot be read, ends the pipeline; it is no empty file."""
    for path, why in ((tmp_path / "none.ndjson.gz", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(Fatal, match=f"ndjson_file: cannot read .*: {why}.*; check `path`"):
            read(path)


def test_probe_and_warnings(tmp_path: Path) -> None:
    """A file that is not there may still come when one checks; a probe wants to read it."""
    path = tmp_path / "x.ndjson"
    assert NdjsonFile(path=path).warnings() == [f"there is no file {path} yet"]
    with pytest.raises(Fatal, match="cannot read"):
        NdjsonFile(path=path).probe()
    path.write_bytes(b"1\n")
    NdjsonFile(path=path).probe()
    assert NdjsonFile(path=path).warnings() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(rows=st.lists(json_values))
def test_any_values(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    """Whatever JSON can hold comes as it was written."""
    path = tmp_path_factory.mktemp("any") / "x.ndjson"
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    assert flat(read(path)) == rows
