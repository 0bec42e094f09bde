"""What every first-party producer declares."""

from importlib.metadata import entry_points
from typing import Any

import pytest
import yaml

from streamweaver.plugin import OptionInfo, option_fields, plugin_of

RESERVED = {
    *("use", "to", "from", "key", "rate", "count", "timeout", "retry", "on_error"),
    *("steps", "delivery", "restart", "concurrency"),
}
NAMES = ["file_tail", "ndjson_file", "server_logs", "social_feed", "stock_trades"]


@pytest.mark.parametrize("name", NAMES)
def test_declaration(name: str) -> None:
    """Every producer is found by its name, resumes, explains each option, and its example names only what exists."""
    (entry,) = entry_points(group="streamweaver.producers", name=name)
    target: Any = entry.load()
    plugin = plugin_of(target)
    assert plugin.kind == "producer"
    assert plugin.name == name
    assert plugin.resumes
    assert plugin.summary.endswith(".")
    fields = option_fields(target)
    assert not set(fields) & RESERVED
    for field in fields.values():
        info = field.metadata[OptionInfo.KEY]
        assert info.help, field.name
        assert info.example is not None, field.name
    example = yaml.safe_load(plugin.example)
    assert example["use"] == name
    assert set(example) <= set(fields) | RESERVED
