"""A pipeline around one plugin."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import Batch, Record, producer, sink, transform
from streamweaver.codecs import Json
from streamweaver.plugin import plugin_of
from streamweaver.testing.single import around, as_yaml


@producer
def three() -> Any:
    """Bring three."""
    yield from (Record(n) for n in range(3))


@transform
def same(record: Record) -> Record:
    """Change nothing."""
    return record


@sink
@attrs.define
class Shelf:
    """Keep nothing."""

    def write(self, batch: Batch) -> None: ...


@pytest.mark.parametrize(
    ("plugin", "file"),
    [
        (three, {"producers": {"s": {"use": "three", "a": 1, "to": "output", "count": 2}}}),
        (
            same,
            {
                "topics": {"input": {"external": True}},
                "flows": {"s": {"from": "input", "steps": [{"use": "same", "a": 1}], "to": "output", "count": 2}},
            },
        ),
        (
            Shelf,
            {
                "topics": {"input": {"external": True}},
                "sinks": {"s": {"use": "shelf", "a": 1, "from": "input", "count": 2}},
            },
        ),
    ],
    ids=["producer", "transform", "sink"],
)
def test_each_kind_has_its_place(plugin: object, file: dict[str, Any]) -> None:
    """Options stand beside `use`, words at the stage."""
    assert around(plugin_of(plugin), {"a": 1}, stage="s", words={"count": 2}) == file


def test_a_kind_without_a_stage_is_refused() -> None:
    """A codec is told where it can be tested."""
    with pytest.raises(ValueError, match=r"json is a codec, expected a producer, .*; conformance.codec tests it"):
        around(plugin_of(Json), {}, stage="s")


def test_values_and_paths_become_a_file() -> None:
    """JSON is YAML."""
    assert as_yaml({"a": [1, None, Path("x")]}) == '{"a":[1,null,"x"]}'
