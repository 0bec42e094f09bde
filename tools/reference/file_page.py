"""The page of the pipeline file: the words that are no plugin's, from the classes that read them."""

from typing import Any

from tools.reference.markdown import NOTE, cell, table

from streamweaver.config.dashboard import DashboardConfig, RuleConfig
from streamweaver.config.model import (
    FlowConfig,
    PipelineConfig,
    ProducerConfig,
    SinkConfig,
    StepConfig,
    TopicConfig,
)
from streamweaver.describe import option_rows, takes
from streamweaver.panel import PanelConfig

INTRODUCTION = """\
Every section but `name` may be missing. Options of a plugin stand beside its `use`; `${env:NAME}` and `${file:PATH}`
stand for a value from elsewhere ([secrets](../how-to/secrets.md)). `streamweaver pipeline schema` prints all of this
as a JSON Schema for editors.
"""

SECTIONS: list[tuple[str, str, Any, dict[str, str]]] = [
    ("The file", "The top of the file.", PipelineConfig, {
        "broker": "a broker's name, or a mapping with `use` and its options; `embedded` when not set",
        "topics": "topics with settings of their own, by name",
        "producers": "stages that bring records in, by name",
        "flows": "stages that read topics, apply steps and write a topic, by name",
        "sinks": "stages that take records out, by name",
        "dashboard": "what is drawn and watched, and who may look",
    }),
    ("topics", "Each entry, by the topic's name.", TopicConfig, {}),
    ("producers", "Each entry, by the stage's name, beside the producer's own options.", ProducerConfig, {
        "steps": "transforms, applied in order",
    }),
    ("flows", "Each entry, by the stage's name.", FlowConfig, {
        "from": "a topic or a list of topics to read; required",
        "steps": "transforms, applied in order",
    }),
    ("sinks", "Each entry, by the stage's name, beside the sink's own options.", SinkConfig, {
        "from": "a topic or a list of topics to read; required",
        "steps": "transforms, applied in order",
    }),
    ("steps", "Each item of a list, beside the transform's own options.", StepConfig, {}),
    ("dashboard", "The section as a whole.", DashboardConfig, {
        "panels": "a list of what is drawn", "alerts": "a list of what is watched",
    }),
    ("dashboard.panels", "Each item of the list.", PanelConfig, {"from": "the topic that it draws; required"}),
    ("dashboard.alerts", "Each item of the list.", RuleConfig, {}),
]  # fmt: skip


def page() -> str:
    """Return the page."""
    text = f"# The pipeline file\n\n{NOTE}\n{INTRODUCTION}"
    for title, where, options, more in SECTIONS:
        known = list(option_rows(options))
        rows = [[f"`{name}`", "", cell(meaning)] for name, meaning in more.items()]
        rows += [[f"`{row['name']}`", cell(takes(row)), cell(row["help"])] for row in known if row["name"] not in more]
        text += f"\n## {title if title == 'The file' else f'`{title}`'}\n\n{where}\n\n"
        text += table(["word", "takes", "meaning"], rows)
    return text
