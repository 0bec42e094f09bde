"""What has been read of a pipeline file so far, with the places of everything, before the graph is looked at."""

from typing import Literal

import attrs

from streamweaver.config import Node
from streamweaver.config.condition import Condition
from streamweaver.config.dashboard import DashboardConfig, RuleConfig
from streamweaver.config.model import PipelineConfig, StageConfig, TopicConfig
from streamweaver.contracts import Codec, Delivery
from streamweaver.graph.plan import BatchPlan, PluginUse, StageKind, StepPlan
from streamweaver.panel import PanelConfig
from streamweaver.plugin import Plugin

Section = Literal["producers", "flows", "sinks"]


@attrs.frozen
class TopicDraft:
    """A declared topic."""

    config: TopicConfig
    codec: Codec
    node: Node


@attrs.frozen(kw_only=True)
class StageDraft:
    """A stage as far as its own mapping could be read; the topics and stages around it are not known yet.

    What is wrong in it has its finding and is left out here, so that the rest is still looked at: one mistake hides
    no other.
    """

    name: str
    kind: StageKind
    node: Node
    config: StageConfig | None
    use: PluginUse | None
    plugin: Plugin | None = None
    """What `use` names, also where its options are wrong."""
    whole: bool = True
    """Whether all of it could be read."""
    inputs: tuple[str, ...] = ()
    input_nodes: tuple[Node, ...] = ()
    output: str | None = None
    key: str | None = None
    rate: float | None = None
    count: int | None = None
    batch: BatchPlan | None = None
    steps: tuple[tuple[StepPlan, Node], ...] = ()

    def place(self, key: str) -> Node:
        """Return the node of one of the stage's keys, or the stage's own."""
        return self.node.get(key) or self.node


@attrs.frozen
class DashboardDraft:
    """The section `dashboard`; the topics and stages that it speaks of are not known yet."""

    options: DashboardConfig = attrs.field(factory=DashboardConfig)
    panels: tuple[tuple[PanelConfig | None, str, Node], ...] = ()
    """Each (None: it has a mistake) with its topic, and the place where that is named."""
    rules: tuple[tuple[RuleConfig | None, Condition, Node], ...] = ()
    """Each (None: it has a mistake) with its condition."""


@attrs.define
class Draft:
    """A pipeline file, read."""

    tree: Node
    pipeline: PipelineConfig | None = None
    name: str | None = None
    """The pipeline's, also where something else at the top is wrong; `delivery` likewise."""
    delivery: Delivery | None = None
    broker: PluginUse | None = None
    default_codec: Codec | None = None
    topics: dict[str, TopicDraft] = attrs.field(factory=dict)
    unread_topics: set[str] = attrs.field(factory=set)
    """Names of declared topics that could not be read."""
    stages: list[StageDraft] = attrs.field(factory=list)
    dashboard: DashboardDraft = attrs.field(factory=DashboardDraft)
    written: set[str] = attrs.field(factory=set)
    """Topics that a stage names where it can write one only: which of them is meant is not known."""
    sections_known: bool = True
    """Whether every section could be gone through; if not, there may be further stages and topics."""

    @property
    def whole(self) -> bool:
        """Whether every stage and topic could be read."""
        return self.sections_known and not self.unread_topics and all(stage.whole for stage in self.stages)

    @property
    def outputs_known(self) -> bool:
        """Whether it is known of every stage what it writes; if not, a topic may be written after all."""
        writers = (stage for stage in self.stages if stage.kind != "sink")
        return self.sections_known and all(
            stage.output is not None or _is_list_of_text(stage.node.get("to")) for stage in writers
        )


def _is_list_of_text(node: Node | None) -> bool:
    if node is None or node.kind != "sequence":
        return False
    return bool(node.value) and all(isinstance(item.value, str) for item in node.value)
