"""Names that the shell completes."""

from pathlib import Path
from typing import Any

import click
import pytest

from streamweaver.cli.complete import plugin_names, stage_names, topic_names


def complete(function: Any, incomplete: str, **given: Any) -> list[str]:
    context = click.Context(click.Command("x"))
    context.params = given
    return [item.value for item in function(context, click.Argument(["x"]), incomplete)]


def test_stages_come_from_the_file(shop: Path) -> None:
    """All stages, in the order of the file."""
    assert complete(stage_names, "", file="shop.yaml") == ["file", "prices", "out"]


def test_the_last_of_several_stages_is_completed(shop: Path) -> None:
    """After a comma the next name is completed, and no name twice."""
    assert complete(stage_names, "file,", file="shop.yaml") == ["file,prices", "file,out"]
    assert complete(stage_names, "file,pr", file="shop.yaml") == ["file,prices"]


def test_topics_are_those_declared_named_and_the_pipelines_own(shop: Path) -> None:
    """Also a topic that is only named by a stage, and those of dead letters and figures."""
    own = ["shop.dead_letters", "shop.metrics", "shop.settled_letters"]
    assert complete(topic_names, "", file="shop.yaml") == ["orders", "priced", *own]
    assert complete(topic_names, "pr", file="shop.yaml") == ["priced"]


@pytest.mark.parametrize("text", ["", ":", "- 1", "producers: 3", "flows: {a: 1, b: {from: 7}}", "name: {}"])
def test_a_file_that_is_not_valid_yet_is_no_error(shop: Path, text: str) -> None:
    """Completion looks at what there is."""
    Path("shop.yaml").write_text(text)
    assert complete(topic_names, "x", file="shop.yaml") == []
    assert complete(stage_names, "x", file="shop.yaml") == []


def test_without_a_file_there_is_nothing(shop: Path) -> None:
    """No file, none of that name, a folder."""
    for given in ({}, {"file": "none.yaml"}, {"file": "."}):
        assert complete(stage_names, "", **given) == []


def test_plugins_are_completed_by_kind() -> None:
    """First kinds and names, then the names of that kind."""
    assert {"sink", "websocket", "moving_average"} <= set(complete(plugin_names, ""))
    found = complete(plugin_names, "", names=("sink",))
    assert "websocket" in found
    assert "moving_average" not in found
