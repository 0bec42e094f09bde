"""What the author of the plugins tests, with nothing but `streamweaver.testing`."""

from pathlib import Path

import pytest
from shout_plugin import TextFile, countdown, shout

from streamweaver import BadRecord, Batch, Record
from streamweaver.testing import FakeContext


async def test_countdown_ends_at_one() -> None:
    """The producer counts down, waits between the numbers, and ends."""
    context = FakeContext()
    began = context.now()
    assert [record.value["number"] async for record in countdown(context, start=3, every_seconds=2.0)] == [3, 2, 1]
    assert context.now() - began == 6_000


def test_shout_upper_cases_the_field() -> None:
    """A decorated function is still the plain function that it was."""
    assert shout(Record({"title": "hi", "n": 1}), field="title").value == {"title": "HI", "n": 1}


def test_text_file_appends_a_line_for_each_record(tmp_path: Path) -> None:
    """Batches are appended one after the other."""
    sink = TextFile(path=tmp_path / "out.txt", template="{a}-{b}")
    sink.write(Batch([Record({"a": 1, "b": 2})]))
    sink.write(Batch([Record({"a": 3, "b": 4})]))
    assert sink.path.read_text() == "1-2\n3-4\n"


def test_text_file_blames_the_record_that_does_not_fit(tmp_path: Path) -> None:
    """The bad record is named by its index, and nothing of its batch is written."""
    sink = TextFile(path=tmp_path / "out.txt", template="{a}")
    with pytest.raises(BadRecord) as caught:
        sink.write(Batch([Record({"a": 1}), Record({"b": 2})]))
    assert caught.value.index == 1
    assert not sink.path.exists()
