"""From the tree of a pipeline file to a plan. Reports every mistake it can find, each at its place."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import attrs

from streamweaver.config import Findings, Node, redactor, structure
from streamweaver.config.dashboard import MAX_PANELS, MAX_RULES, DashboardConfig, RuleConfig
from streamweaver.config.model import (
    BROKER_DEFAULT,
    SECTIONS,
    STAGE_NAME,
    TOPIC_NAME,
    FlowConfig,
    PipelineConfig,
    ProducerConfig,
    SinkConfig,
    StepConfig,
    TopicConfig,
)
from streamweaver.contracts import Codec, RecordTransform
from streamweaver.errors import Finding, PluginError
from streamweaver.graph.check import check
from streamweaver.graph.draft import DashboardDraft, Draft, StageDraft, TopicDraft
from streamweaver.graph.plan import BatchPlan, Plan, PluginUse, StepPlan
from streamweaver.panel import PanelConfig
from streamweaver.plugin import Kind, option_fields
from streamweaver.registry import Registry

T = TypeVar("T")

DEFAULT_CODEC = "json"

_NAMES = {
    STAGE_NAME: "lower-case words and digits joined by single underscores",
    TOPIC_NAME: "letters, digits, '.', '_' and '-', at most 200, the first neither '.' nor '-'",
}


def build(tree: Node, registry: Registry, findings: Findings | None = None) -> tuple[Plan, list[Finding]]:
    """Return the plan of a pipeline file, and warnings; ConfigError with every finding when the file is wrong.

    `findings` holds what reading the file has found already, so that one pass tells everything.
    """
    reader = _Reader(registry, Findings() if findings is None else findings)
    draft = reader.read(tree)
    plan = check(draft, reader.findings)
    reader.findings.raise_errors()
    assert plan is not None, "no plan, no finding: the checks contradict each other"
    redact = redactor(*(use.options for use in reader.uses), plan.dashboard.options, tree=tree)
    return attrs.evolve(plan, redact=redact), reader.findings.items


class _Reader:
    """Reads the sections of one file; what cannot be read leaves a finding and is left out."""

    def __init__(self, registry: Registry, findings: Findings) -> None:
        self.findings = findings
        self.uses: list[PluginUse] = []
        self._registry = registry

    def read(self, tree: Node) -> Draft:
        """Read the whole file."""
        draft = Draft(tree)
        draft.pipeline = structure(tree, PipelineConfig, ignore=SECTIONS, findings=self.findings)
        if tree.kind != "mapping":
            return draft
        draft.broker = self._broker(tree)
        draft.default_codec = self._codec(DEFAULT_CODEC, tree)
        for name, node in self._entries(tree, "topics", TOPIC_NAME):
            topic = self._topic(node)
            if topic is None:
                draft.whole = False
                draft.unread_topics.add(name)
            else:
                draft.topics[name] = topic
        for section, read in (("producers", self._producer), ("flows", self._flow), ("sinks", self._sink)):
            for name, node in self._entries(tree, section, STAGE_NAME):
                stage = read(name, node)
                if stage is None:
                    self._note_unread(draft, section, node)
                else:
                    draft.stages.append(stage)
        draft.dashboard = self._dashboard(tree)
        return draft

    @staticmethod
    def _note_unread(draft: Draft, section: str, node: Node) -> None:
        """Keep what a stage writes, though the rest of it is wrong, so that its readers are not blamed."""
        draft.whole = False
        output = node.get("to")
        if output is not None and isinstance(output.value, str):
            draft.written.add(output.value)
        elif section != "sinks":
            draft.outputs_known = False

    def _entries(self, tree: Node, section: str, pattern: str) -> Iterator[tuple[str, Node]]:
        """Go through a section's entries; one with a bad name is reported and still read."""
        node = tree.get(section)
        # Nothing at all is an empty section: one in which everything is commented out.
        if node is None or (node.kind == "scalar" and node.value is None):
            return
        if structure(node, dict[str, Any], findings=self.findings) is None:
            return
        for name, entry in node.value.items():
            if not re.fullmatch(pattern, name):
                self.findings.add(
                    node.key_mark(name), f"got the name {name!r}, expected {_NAMES[pattern]}", path=node.path
                )
            yield name, entry

    # -- plugins ----------------------------------------------------------------------------------

    def _use(self, kind: Kind, node: Node, name: str, words: set[str]) -> PluginUse | None:
        """Load a plugin and read its options, which stand in a mapping beside some `words` of ours."""
        try:
            plugin = self._registry.load(kind, name)
            options = structure(node, plugin.options, ignore=words, findings=self.findings)
        except PluginError as error:
            self.findings.add(node.get("use") or node, str(error))
            return None
        if options is None:
            return None
        use = PluginUse(plugin, options)
        self.uses.append(use)
        return use

    def _broker(self, tree: Node) -> PluginUse | None:
        node = tree.get("broker")
        if node is None:
            node = Node("mapping", {}, tree.mark, "broker")
        name_node = node.get("use")
        if name_node is None and node.kind == "mapping":
            return self._use("broker", node, BROKER_DEFAULT, {"use"})
        name = structure(name_node or node, str, findings=self.findings)
        if name is not None and name_node is None:
            # `broker: embedded` is the broker with all defaults.
            node = Node("mapping", {}, node.mark, node.path)
        return None if name is None else self._use("broker", node, name, {"use"})

    def _codec(self, name: str, node: Node) -> Codec | None:
        use = self._use("codec", Node("mapping", {}, node.mark, node.path), name, set())
        codec: Codec | None = None if use is None else use.build()
        return codec

    def _topic(self, node: Node) -> TopicDraft | None:
        if node.kind == "scalar" and node.value is None:
            # `topics: {trades: }` declares a topic with all defaults.
            node = attrs.evolve(node, kind="mapping", value={})
        config = structure(node, TopicConfig, findings=self.findings)
        if config is None:
            return None
        codec = self._codec(config.codec, node.get("codec") or node)
        return None if codec is None else TopicDraft(config, codec, node)

    # -- stages -----------------------------------------------------------------------------------

    def _own(self, node: Node, config: type[T], *, others: set[str]) -> T | None:
        """Read the words of ours in a stage's mapping; `others` are read elsewhere, or the plugin's."""
        return structure(node, config, ignore=others, findings=self.findings)

    def _with_plugin(self, kind: Kind, node: Node, config: type[Any], more: set[str]) -> Any:
        """Read a mapping with a plugin: (our words, the plugin), None for what is wrong."""
        words = set(option_fields(config)) | more
        if node.kind != "mapping":
            return self._own(node, config, others=more), None
        # What is wrong with the name itself is found when our own words are read.
        name = node.get("use")
        plugin_name = None if name is None else structure(name, str, findings=Findings())
        use = None if plugin_name is None else self._use(kind, node, plugin_name, words)
        others = {key for key in node.value if key not in words} | more
        return self._own(node, config, others=others), use

    def _producer(self, name: str, node: Node) -> StageDraft | None:
        config, use = self._with_plugin("producer", node, ProducerConfig, {"steps"})
        steps = self._steps(node)
        if config is None or use is None or steps is None:
            return None
        return StageDraft(
            name=name,
            kind="producer",
            node=node,
            config=config,
            use=use,
            output=config.to,
            key=config.key or use.plugin.key,
            rate=config.rate,
            count=config.count,
            steps=steps,
        )

    def _flow(self, name: str, node: Node) -> StageDraft | None:
        config = self._own(node, FlowConfig, others={"from", "steps", "use"})
        if node.get("use") is not None:
            self.findings.add(
                node.key_mark("use"), "a flow has no plugin of its own; put it into steps", path=node.path
            )
            config = None
        inputs, steps = self._inputs(node), self._steps(node)
        if config is None or inputs is None or steps is None:
            return None
        return StageDraft(
            name=name,
            kind="flow",
            node=node,
            config=config,
            use=None,
            inputs=tuple(inputs),
            input_nodes=tuple(inputs.values()),
            output=config.to,
            key=config.key,
            steps=steps,
        )

    def _sink(self, name: str, node: Node) -> StageDraft | None:
        config, use = self._with_plugin("sink", node, SinkConfig, {"from", "steps"})
        inputs, steps = self._inputs(node), self._steps(node)
        if config is None or use is None or inputs is None or steps is None:
            return None
        return StageDraft(
            name=name,
            kind="sink",
            node=node,
            config=config,
            use=use,
            inputs=tuple(inputs),
            input_nodes=tuple(inputs.values()),
            batch=None if config.batch is None else BatchPlan(config.batch.records, config.batch.wait),
            steps=steps,
        )

    def _inputs(self, node: Node) -> dict[str, Node] | None:
        """Read `from`: a topic or a list of topics, each with its place."""
        if node.kind != "mapping":
            return None
        given = node.get("from")
        if given is None:
            self.findings.add(node, "missing key 'from', expected a topic or a list of topics")
            return None
        topics: Any = structure(given, str | list[str], findings=self.findings)  # type: ignore[arg-type]
        if topics is None:
            return None
        nodes = [given] if given.kind == "scalar" else given.value
        if not nodes:
            self.findings.add(given, "got an empty list, expected at least one topic")
            return None
        found: dict[str, Node] = {}
        for item in nodes:
            if item.value in found:
                self.findings.add(item, f"topic {item.value!r} stands here twice")
            found[item.value] = item
        return found

    def _steps(self, node: Node) -> tuple[tuple[StepPlan, Node], ...] | None:
        given = node.get("steps")
        if given is None or (given.kind == "scalar" and given.value is None):
            return ()
        if given.kind != "sequence":
            self.findings.add(given, f"got a {given.kind}, expected a list of steps")
            return None
        names: dict[str, int] = {}
        steps = [self._step(item, names) for item in given.value]
        good = tuple(step for step in steps if step is not None)
        return good if len(good) == len(steps) else None

    def _step(self, node: Node, names: dict[str, int]) -> tuple[StepPlan, Node] | None:
        if node.kind == "scalar" and isinstance(node.value, str) and not node.references:
            self.findings.add(node, f"got text {node.value!r}, expected a mapping; write {{use: {node.value}}}")
            return None
        config, use = self._with_plugin("transform", node, StepConfig, set())
        if config is None or use is None:
            return None
        # The name keeps a step's state when steps around it change; a second one of a kind is told apart by number.
        number = names[config.use] = names.get(config.use, 0) + 1
        name = config.use if number == 1 else f"{config.use}.{number}"
        if config.concurrency > 1 and not _overlaps(use):
            self.findings.add(
                node.get("concurrency") or node,
                f"{config.use} takes one call at a time, expected an async record function; leave concurrency out",
            )
        return StepPlan(name, use, config.concurrency), node

    # -- the dashboard ----------------------------------------------------------------------------

    def _dashboard(self, tree: Node) -> DashboardDraft:
        node = tree.get("dashboard")
        if node is None or (node.kind == "scalar" and node.value is None):
            return DashboardDraft()
        options = structure(node, DashboardConfig, ignore={"panels", "alerts"}, findings=self.findings)
        panels = [self._panel(item) for item in self._listed(node, "panels", MAX_PANELS)]
        rules = [(self._own(item, RuleConfig, others=set()), item) for item in self._listed(node, "alerts", MAX_RULES)]
        return DashboardDraft(
            options or DashboardConfig(),
            tuple(panel for panel in panels if panel is not None),
            tuple((rule, item) for rule, item in rules if rule is not None),
        )

    def _listed(self, node: Node, key: str, most: int) -> list[Node]:
        given = node.get(key)
        if given is None or (given.kind == "scalar" and given.value is None):
            return []
        if given.kind != "sequence":
            self.findings.add(given, f"got a {given.kind}, expected a list of {key}")
            return []
        items: list[Node] = given.value
        if len(items) > most:
            self.findings.add(given, f"got {len(items)} {key}, expected at most {most}")
        return items

    def _panel(self, node: Node) -> tuple[PanelConfig, str, Node] | None:
        config = self._own(node, PanelConfig, others={"from"})
        if node.kind != "mapping":
            return None
        given = node.get("from")
        if given is None:
            self.findings.add(node, "missing key 'from', expected the topic that the panel shows")
            return None
        topic = structure(given, str, findings=self.findings)
        return None if config is None or topic is None else (config, topic, given)


def _overlaps(use: PluginUse) -> bool:
    transform = use.build()
    return isinstance(transform, RecordTransform) and inspect.iscoroutinefunction(transform.process_record)
