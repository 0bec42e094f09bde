"""From the tree of a pipeline file to a plan. Reports every mistake it can find, each at its place."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import attrs

from streamweaver.config import Findings, Node, redactor, structure
from streamweaver.config.condition import Condition, parse_condition
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
from streamweaver.config.words import NAMES
from streamweaver.contracts import Codec, Delivery, RecordTransform
from streamweaver.errors import Finding, PluginError
from streamweaver.graph.check import check
from streamweaver.graph.draft import DashboardDraft, Draft, StageDraft, TopicDraft
from streamweaver.graph.plan import BatchPlan, Plan, PluginUse, StepPlan
from streamweaver.panel import PanelConfig
from streamweaver.plugin import Kind, Plugin, option_fields
from streamweaver.registry import Registry

T = TypeVar("T")

DEFAULT_CODEC = "json"


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
    """Reads the sections of one file; what cannot be read leaves a finding and is left out.

    A mapping with a mistake is no value, but each word in it that is right still counts (`_word`): else the mistake
    would hide those that only the graph shows.
    """

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
        draft.name = _word(tree, "name", str)
        usual = attrs.fields(PipelineConfig).delivery.default
        draft.delivery = usual if tree.get("delivery") is None else _word(tree, "delivery", Delivery)
        draft.broker = self._broker(tree)
        draft.default_codec = self._codec(DEFAULT_CODEC, tree)
        known = {*SECTIONS, *option_fields(PipelineConfig)}
        # What stands under an unknown key may be a section whose name is misspelt.
        draft.sections_known = all(key in known or child.kind != "mapping" for key, child in tree.value.items())
        for name, node in self._entries(draft, "topics", TOPIC_NAME):
            topic = self._topic(node)
            if topic is None:
                draft.unread_topics.add(name)
            else:
                draft.topics[name] = topic
        for section, read in (("producers", self._producer), ("flows", self._flow), ("sinks", self._sink)):
            draft.stages += [read(name, node) for name, node in self._entries(draft, section, STAGE_NAME)]
        # Of a stage that names several topics where it can write one, nobody who reads one of them is to be blamed.
        outputs = (stage.node.get("to") for stage in draft.stages if stage.kind != "sink")
        draft.written = {name for node in outputs if node is not None for name in _texts(node)}
        draft.dashboard = self._dashboard(tree)
        return draft

    def _entries(self, draft: Draft, section: str, pattern: str) -> Iterator[tuple[str, Node]]:
        """Go through a section's entries; one with a bad name is reported and still read."""
        node = draft.tree.get(section)
        # Nothing at all is an empty section: one in which everything is commented out.
        if node is None or (node.kind == "scalar" and node.value is None):
            draft.sections_known &= not draft.tree.unresolved
            return
        if structure(node, dict[str, Any], findings=self.findings) is None:
            draft.sections_known = False
        if node.kind != "mapping":
            return
        for name, entry in node.value.items():
            if not re.fullmatch(pattern, name):
                self.findings.add(
                    node.key_mark(name), f"got the name {name!r}, expected {NAMES[pattern]}", path=node.path
                )
            yield name, entry

    # -- plugins ----------------------------------------------------------------------------------

    def _use(self, kind: Kind, node: Node, name: str, words: set[str]) -> PluginUse | None:
        """Load a plugin and read its options, which stand in a mapping beside some `words` of ours."""
        plugin = self._plugin(kind, node, name)
        return None if plugin is None else self._options(plugin, node, words)

    def _plugin(self, kind: Kind, node: Node, name: str) -> Plugin | None:
        place = node.get("use") or node
        try:
            plugin = self._registry.load(kind, name)
        except PluginError as error:
            self.findings.add(place, str(error))
            return None
        if plugin.deprecated:
            self.findings.add(place, f"{name} is deprecated: {plugin.deprecated}", warning=True)
        return plugin

    def _options(self, plugin: Plugin, node: Node, words: set[str]) -> PluginUse | None:
        try:
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
        name = config.codec if config else _word(node, "codec", str)
        codec = None if name is None else self._codec(name, node.get("codec") or node)
        return None if config is None or codec is None else TopicDraft(config, codec, node)

    # -- stages -----------------------------------------------------------------------------------

    def _own(self, node: Node, config: type[T], *, others: set[str]) -> T | None:
        """Read the words of ours in a stage's mapping; `others` are read elsewhere, or the plugin's."""
        return structure(node, config, ignore=others, findings=self.findings)

    def _with_plugin(
        self, kind: Kind, node: Node, config: type[T], more: set[str]
    ) -> tuple[T | None, Plugin | None, PluginUse | None]:
        """Read a mapping with a plugin: our words, the plugin, and it with its options; None for what is wrong."""
        words = set(option_fields(config)) | more
        if node.kind != "mapping":
            return self._own(node, config, others=more), None, None
        # What is wrong with the name itself is found when our own words are read.
        name = _word(node, "use", str)
        plugin = None if name is None else self._plugin(kind, node, name)
        use = None if plugin is None else self._options(plugin, node, words)
        others = {key for key in node.value if key not in words} | more
        return self._own(node, config, others=others), plugin, use

    def _producer(self, name: str, node: Node) -> StageDraft:
        config, plugin, use = self._with_plugin("producer", node, ProducerConfig, {"steps"})
        steps, all_steps = self._steps(node)
        return StageDraft(
            name=name,
            kind="producer",
            node=node,
            config=config,
            use=use,
            plugin=plugin,
            output=_word(node, "to", str),
            key=_word(node, "key", str) or (plugin.key if plugin else None),
            rate=config.rate if config else None,
            count=config.count if config else None,
            steps=steps,
            whole=config is not None and use is not None and all_steps,
        )

    def _flow(self, name: str, node: Node) -> StageDraft:
        config = self._own(node, FlowConfig, others={"from", "steps", "use"})
        if node.get("use") is not None:
            self.findings.add(
                node.key_mark("use"), "a flow has no plugin of its own; put it into steps", path=node.path
            )
        (inputs, all_inputs), (steps, all_steps) = self._inputs(node), self._steps(node)
        return StageDraft(
            name=name,
            kind="flow",
            node=node,
            config=config,
            use=None,
            inputs=tuple(inputs),
            input_nodes=tuple(inputs.values()),
            output=_word(node, "to", str),
            key=_word(node, "key", str),
            steps=steps,
            whole=config is not None and all_inputs and all_steps,
        )

    def _sink(self, name: str, node: Node) -> StageDraft:
        config, plugin, use = self._with_plugin("sink", node, SinkConfig, {"from", "steps"})
        (inputs, all_inputs), (steps, all_steps) = self._inputs(node), self._steps(node)
        batch = config.batch if config else None
        return StageDraft(
            name=name,
            kind="sink",
            node=node,
            config=config,
            use=use,
            plugin=plugin,
            inputs=tuple(inputs),
            input_nodes=tuple(inputs.values()),
            batch=None if batch is None else BatchPlan(batch.records, batch.wait),
            steps=steps,
            whole=config is not None and use is not None and all_inputs and all_steps,
        )

    def _inputs(self, node: Node) -> tuple[dict[str, Node], bool]:
        """Read `from`, a topic or a list of topics: those that are right, each with its place, and whether all are."""
        given = node.get("from")
        if given is None:
            if node.kind == "mapping" and not node.unresolved:
                self.findings.add(node, "missing key 'from', expected a topic or a list of topics")
            return {}, False
        topics: Any = structure(given, str | list[str], findings=self.findings)  # type: ignore[arg-type]
        if topics == []:
            self.findings.add(given, "got an empty list, expected at least one topic")
        found: dict[str, Node] = {}
        for item in [given] if given.kind == "scalar" else given.children():
            if given.kind == "mapping" or item.unresolved or not isinstance(item.value, str):
                continue
            if item.value in found:
                self.findings.add(item, f"topic {item.value!r} stands here twice")
            found[item.value] = item
        return found, bool(topics)

    def _steps(self, node: Node) -> tuple[tuple[tuple[StepPlan, Node], ...], bool]:
        """Read the steps: those that are right, and whether all are."""
        given = node.get("steps")
        if given is None or (given.kind == "scalar" and given.value is None):
            return (), True
        if given.kind != "sequence":
            self.findings.add(given, f"got a {given.kind}, expected a list of steps")
            return (), False
        names: dict[str, int] = {}
        steps = [self._step(item, names) for item in given.value]
        good = tuple(step for step in steps if step is not None)
        return good, len(good) == len(steps)

    def _step(self, node: Node, names: dict[str, int]) -> tuple[StepPlan, Node] | None:
        if node.kind == "scalar" and isinstance(node.value, str) and not node.references:
            self.findings.add(node, f"got text {node.value!r}, expected a mapping; write {{use: {node.value}}}")
            return None
        config, _, use = self._with_plugin("transform", node, StepConfig, set())
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
        rules = [self._rule(item) for item in self._listed(node, "alerts", MAX_RULES)]
        return DashboardDraft(
            options or DashboardConfig(),
            tuple(panel for panel in panels if panel is not None),
            tuple(rule for rule in rules if rule is not None),
        )

    def _rule(self, node: Node) -> tuple[RuleConfig | None, Condition, Node] | None:
        config = self._own(node, RuleConfig, others=set())
        when = _word(node, "when", str)
        try:
            return None if when is None else (config, parse_condition(when), node)
        except ValueError:
            return None  # it is its option's finding

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

    def _panel(self, node: Node) -> tuple[PanelConfig | None, str, Node] | None:
        config = self._own(node, PanelConfig, others={"from"})
        given = node.get("from")
        if given is None:
            if node.kind == "mapping" and not node.unresolved:
                self.findings.add(node, "missing key 'from', expected the topic that the panel shows")
            return None
        topic = structure(given, str, findings=self.findings)
        return None if topic is None else (config, topic, given)


def _word(node: Node, key: str, type_: Any) -> Any:
    """Return one value of a mapping that may be wrong otherwise; None when it is not there or is wrong itself.

    What is wrong is not noted: that is done where the mapping is read as a whole.
    """
    child = node.get(key)
    return None if child is None else structure(child, type_, findings=Findings())


def _texts(node: Node) -> list[str]:
    return [item.value for item in node.children() if isinstance(item.value, str)] if node.kind == "sequence" else []


def _overlaps(use: PluginUse) -> bool:
    transform = use.build()
    return isinstance(transform, RecordTransform) and inspect.iscoroutinefunction(transform.process_record)
