"""What has been read of a pipeline file so far, with the places of everything, before the graph is looked at."""

from typing import Literal

import attrs

from streamweaver.config import Node
from streamweaver.config.dashboard import DashboardConfig, RuleConfig
from streamweaver.config.model import PipelineConfig, StageConfig, TopicConfig
from streamweaver.contracts import Codec
from streamweaver.graph.plan import BatchPlan, PluginUse, StageKind, StepPlan
from streamweaver.panel import PanelConfig

Section = Literal["producers", "flows", "sinks"]


@attrs.frozen
class TopicDraft:
    """A declared topic."""

    config: TopicConfig
    codec: Codec
    node: Node


@attrs.frozen(kw_only=True)
class StageDraft:
    """A stage whose own mapping is right; the topics and stages around it are not known yet."""

    name: str
    kind: StageKind
    node: Node
    config: StageConfig
    use: PluginUse | None
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
    panels: tuple[tuple[PanelConfig, str, Node], ...] = ()
    """Each with its topic, and the place where that is named."""
    rules: tuple[tuple[RuleConfig, Node], ...] = ()


@attrs.define
class Draft:
    """A pipeline file, read."""

    tree: Node
    pipeline: PipelineConfig | None = None
    broker: PluginUse | None = None
    default_codec: Codec | None = None
    topics: dict[str, TopicDraft] = attrs.field(factory=dict)
    unread_topics: set[str] = attrs.field(factory=set)
    """Names of declared topics that could not be read."""
    stages: list[StageDraft] = attrs.field(factory=list)
    dashboard: DashboardDraft = attrs.field(factory=DashboardDraft)
    written: set[str] = attrs.field(factory=set)
    """Topics that stages write which could not be read otherwise."""
    whole: bool = True
    """Whether every stage and topic could be read."""
    outputs_known: bool = True
    """Whether it is known of every stage what it writes; if not, a topic may be written after all."""
