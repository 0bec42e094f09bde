"""A pipeline around one plugin: records of a topic go in, what it makes of them is in another."""

from collections.abc import Mapping
from typing import Any

import msgspec

from streamweaver.plugin import Kind, Plugin

INPUT, OUTPUT = "input", "output"
"""The topics that a pipeline around one plugin reads and writes."""

_SECTION: dict[Kind, str] = {"producer": "producers", "transform": "flows", "sink": "sinks"}


def around(
    plugin: Plugin,
    options: Mapping[str, Any],
    *,
    stage: str,
    source: str = INPUT,
    target: str = OUTPUT,
    words: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the topics and the stage of such a pipeline, as a file has them.

    `options` stand beside `use`, `words` at the stage. A stage of its own have only producers, transforms and sinks:
    ValueError for another kind.
    """
    section = _SECTION.get(plugin.kind)
    if section is None:
        raise ValueError(
            f"{plugin.name} is a {plugin.kind}, expected a producer, transform or sink; "
            f"conformance.{plugin.kind} tests it"
        )
    use = {"use": plugin.name, **options}
    if plugin.kind == "producer":
        return {section: {stage: {**use, "to": target, **(words or {})}}}
    if plugin.kind == "transform":
        made = {"from": source, "steps": [use], "to": target, **(words or {})}
    else:
        made = {**use, "from": source, **(words or {})}
    return {"topics": {source: {"external": True}}, section: {stage: made}}


def as_yaml(value: Any) -> str:
    """Write plain values, and paths, as text that a pipeline file may hold (JSON is YAML)."""
    return msgspec.json.encode(value, enc_hook=str).decode()
