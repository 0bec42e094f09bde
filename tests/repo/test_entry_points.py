"""The entry points of the project: what they name is there, is described, and can be configured."""

import tomllib
from importlib.metadata import EntryPoint, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamweaver.plugin import OptionInfo, option_fields, plugin_of

ROOT = Path(__file__).parents[2]
GROUPS = {f"streamweaver.{kind}s": kind for kind in ("producer", "transform", "sink", "broker", "codec")}

DECLARED: dict[str, dict[str, str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
POINTS = [
    pytest.param(EntryPoint(name, value, group), id=f"{kind} {name}")
    for group, kind in GROUPS.items()
    for name, value in DECLARED[group].items()
]


def test_what_is_installed_is_what_is_declared() -> None:
    """An editable install does not follow pyproject.toml by itself: `make setup` brings it up to date."""
    installed = {(p.group, p.name, p.value) for p in distribution("streamweaver").entry_points}
    declared = {(group, name, value) for group, points in DECLARED.items() for name, value in points.items()}
    assert declared <= installed
    assert {p for p in installed if p[0] in GROUPS} <= declared


@pytest.mark.parametrize("point", POINTS)
def test_kind_and_name_agree(point: EntryPoint) -> None:
    """What an entry point names is a plugin of that kind, and calls itself by that name."""
    described = plugin_of(point.load())
    assert (described.kind, described.name) == (GROUPS[point.group], point.name)


@pytest.mark.parametrize("point", POINTS)
def test_every_option_has_help(point: EntryPoint) -> None:
    """No option is left for a user to guess."""
    fields = option_fields(plugin_of(point.load()).options)
    helpless = [name for name, f in fields.items() if not getattr(f.metadata.get(OptionInfo.KEY), "help", "")]
    assert helpless == []


@pytest.mark.parametrize("point", POINTS)
def test_every_plugin_says_what_it_does(point: EntryPoint) -> None:
    """The summary is one sentence, for lists."""
    summary = plugin_of(point.load()).summary
    assert summary.endswith(".")
    assert len(summary) <= 120


@pytest.mark.parametrize("point", POINTS)
def test_every_plugin_has_an_example(point: EntryPoint) -> None:
    """The example is YAML that names the plugin: `{use: NAME, ...}`, and for a codec its bare name."""
    example: Any = yaml.safe_load(plugin_of(point.load()).example)
    assert (example if point.group == "streamweaver.codecs" else example["use"]) == point.name
