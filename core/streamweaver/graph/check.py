"""What only the graph shows: who writes what, which keys meet where, what each stage can guarantee. Pure."""

from collections.abc import Iterator

from streamweaver.config import Findings, Node, suggest
from streamweaver.config.dashboard import DashboardPlan, Rule, default_panels, make_rule
from streamweaver.config.model import DELIVERIES, TopicConfig
from streamweaver.contracts import Delivery, TopicSpec
from streamweaver.graph.claims import check_claims
from streamweaver.graph.draft import Draft, StageDraft
from streamweaver.graph.plan import Plan, RestartPlan, RetryPlan, StagePlan, StepPlan, TopicPlan
from streamweaver.panel import Panel, make_panel
from streamweaver.retry import Backoff


def weaker(one: Delivery, other: Delivery) -> Delivery:
    """Return the weaker of two guarantees."""
    return min(one, other, key=DELIVERIES.index)


def check(draft: Draft, findings: Findings) -> Plan | None:
    """Return the plan, or None when the file is wrong; every mistake is added to `findings`."""
    if draft.tree.kind != "mapping":
        return None
    graph = _Graph(draft, findings)
    graph.check_names()
    graph.check_topics()
    graph.check_loops()
    partitions = graph.partitions()
    graph.check_grouping(partitions)
    check_claims(draft, findings)
    dashboard = graph.dashboard()
    stages = [plan for stage in graph.ordered() if (plan := graph.plan(stage)) is not None]
    if findings.failed or draft.pipeline is None or draft.broker is None or draft.default_codec is None:
        return None
    topics = {name: _topic_plan(draft, name, partitions[name]) for name in graph.topic_names()}
    return Plan(
        name=draft.pipeline.name,
        delivery=draft.pipeline.delivery,
        broker=draft.broker,
        topics=topics,
        stages={stage.name: stage for stage in stages},
        drain_seconds=draft.pipeline.drain_timeout,
        letter_retention_ms=_milliseconds(draft.pipeline.dead_letter_retention),
        dashboard=dashboard,
    )


def _topic_plan(draft: Draft, name: str, partitions: int) -> TopicPlan:
    declared = draft.topics.get(name)
    config = declared.config if declared else TopicConfig()
    codec = declared.codec if declared else draft.default_codec
    assert codec is not None, "checked by the caller"
    spec = TopicSpec(
        name=name,
        partitions=partitions,
        retention_ms=_milliseconds(config.retention),
        retention_bytes=config.retention_size,
        cleanup=config.cleanup,
        replication=config.replication,
        settings=config.settings,
    )
    return TopicPlan(spec=spec, codec_name=config.codec, codec=codec, declared=declared is not None)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


class _Graph:
    """The stages and topics of a draft, and the questions asked of them."""

    def __init__(self, draft: Draft, findings: Findings) -> None:
        self._draft = draft
        self._findings = findings
        self._writers: dict[str, list[StageDraft]] = {}
        self._readers: dict[str, list[StageDraft]] = {}
        for stage in draft.stages:
            if stage.output is not None:
                self._writers.setdefault(stage.output, []).append(stage)
            for topic in stage.inputs:
                self._readers.setdefault(topic, []).append(stage)

    def topic_names(self) -> list[str]:
        """Every topic, those declared first."""
        return list(dict.fromkeys([*self._draft.topics, *self._writers, *self._readers]))

    # -- names ------------------------------------------------------------------------------------

    def check_names(self) -> None:
        """No two stages of one name, no topic with a name of ours, at least one stage."""
        draft, findings = self._draft, self._findings
        sections = [draft.tree.get(section) for section in ("producers", "flows", "sinks")]
        # With another mistake at the top a section may only be misspelt.
        if not draft.stages and draft.sections_known and draft.pipeline is not None:
            findings.add(draft.tree, "got no stage, expected at least one under producers, flows or sinks")
        seen: dict[str, str] = {}
        for section, node in zip(("producers", "flows", "sinks"), sections, strict=True):
            if node is None or node.kind != "mapping":
                continue
            for name in node.value:
                if name in seen:
                    findings.add(
                        node.key_mark(name), f"the name {name!r} is taken by {seen[name]}", path=f"{section}.{name}"
                    )
                seen.setdefault(name, f"{section}.{name}")
        if draft.name is None:
            return
        prefix = f"{draft.name}."
        own = {
            f"{prefix}dead_letters",
            f"{prefix}settled_letters",
            f"{prefix}metrics",
            f"{prefix}alerts",
            *(f"{prefix}{name}.{what}" for name in seen for what in ("replay", "state")),
        }
        for topic, stage, key in self._mentions():
            if topic in own:
                findings.add(stage.place(key), f"topic {topic!r} is the pipeline's own, choose another name")
        for name, topic_draft in draft.topics.items():
            if name in own:
                findings.add(topic_draft.node, f"topic {name!r} is the pipeline's own, choose another name")

    def _mentions(self) -> Iterator[tuple[str, StageDraft, str]]:
        for stage in self._draft.stages:
            if stage.output is not None:
                yield stage.output, stage, "to"
            for topic in stage.inputs:
                yield topic, stage, "from"

    # -- topics -----------------------------------------------------------------------------------

    def check_topics(self) -> None:
        """Everything read is written by someone, everything declared is used."""
        draft, findings = self._draft, self._findings
        written = {*self._writers, *draft.written}
        for stage in draft.stages:
            for topic, node in zip(stage.inputs, stage.input_nodes, strict=True):
                declared = draft.topics.get(topic)
                if topic in written or (declared and declared.config.external) or not draft.outputs_known:
                    continue
                if declared:
                    findings.add(
                        node,
                        f"nobody writes topic {topic!r}; if others than this pipeline do, declare it external: true",
                    )
                elif topic not in draft.unread_topics:
                    known = sorted({*written, *draft.topics, *draft.unread_topics})
                    near = suggest(topic, known) or (f"; known are {', '.join(known)}" if known else "")
                    findings.add(node, f"unknown topic {topic!r}{near}")
        for name, declared in draft.topics.items():
            if draft.whole and name not in self._writers and name not in self._readers:
                findings.add(declared.node, "no stage reads or writes this topic", warning=True)

    def check_loops(self) -> None:
        """A flow that feeds itself is a mistake; a longer loop may be meant."""
        for stage in self._draft.stages:
            if stage.output in stage.inputs:
                self._findings.add(
                    stage.place("to"),
                    f"flow {stage.name!r} writes the topic {stage.output!r} that it reads: a cycle without a topic "
                    "between; write another topic",
                )
        for stage in self._loop():
            self._findings.add(
                stage.place("to"),
                f"topic {stage.output!r} leads back to this flow: records go round until a step drops them",
                warning=True,
            )

    def _loop(self) -> list[StageDraft]:
        """Return the flows that can be reached from themselves by way of another."""
        after = {
            stage.name: [reader for reader in self._readers.get(stage.output or "", []) if reader is not stage]
            for stage in self._draft.stages
        }
        found = []
        for start in self._draft.stages:
            pending, seen = list(after[start.name]), set()
            while pending:
                stage = pending.pop()
                if stage is start:
                    found.append(start)
                    break
                if stage.name not in seen:
                    seen.add(stage.name)
                    pending += after[stage.name]
        return found

    def ordered(self) -> list[StageDraft]:
        """Return the stages with writers before readers; within loops, and otherwise, in the order of the file."""
        ordered: list[StageDraft] = []
        left = list(self._draft.stages)
        while left:
            waiting = {stage.output for stage in left}
            ready = [stage for stage in left if not waiting.intersection(stage.inputs)] or left[:1]
            ordered += ready
            left = [stage for stage in left if stage not in ready]
        return ordered

    # -- partitions and keys ----------------------------------------------------------------------

    def partitions(self) -> dict[str, int]:
        """Return each topic's number of partitions; a topic that is only named has as many as its inputs."""
        known = {name: topic.config.partitions for name, topic in self._draft.topics.items()}
        for stage in self.ordered():
            if stage.output is not None and stage.output not in known:
                known[stage.output] = max((known.get(topic, 1) for topic in stage.inputs), default=1)
        return {name: known.get(name, 1) for name in self.topic_names()}

    def _keyed_by(self) -> dict[str, str | None]:
        """Return the field by which all writers of a topic key it; None where there is none, or not one."""
        keyed: dict[str, str | None] = {}
        for stage in self.ordered():
            if stage.output is None:
                continue
            key = stage.key
            if key is None:
                # Without a key of its own a flow passes on the keys of its input.
                fields = {keyed.get(topic) for topic in stage.inputs}
                key = fields.pop() if len(fields) == 1 else None
            keyed[stage.output] = key if keyed.get(stage.output, key) == key else None
        return keyed

    def _unsure(self) -> set[str]:
        """Return the topics of which a mistake elsewhere hides the keys or the partitions: nothing is said of them."""
        draft = self._draft
        if not draft.outputs_known:
            return set(self.topic_names())
        unsure = {*draft.written, *draft.unread_topics}
        # A key that is misspelt may be what else is wrong in a stage without one.
        unsure.update(stage.output for stage in draft.stages if stage.output and not stage.whole and not stage.key)
        for stage in self.ordered():
            own = stage.key is not None and stage.output in draft.topics
            if stage.output is not None and not own and unsure.intersection(stage.inputs):
                unsure.add(stage.output)
        return unsure

    def check_grouping(self, partitions: dict[str, int]) -> None:
        """A step that groups needs all records of a group in one partition."""
        keyed, unsure = self._keyed_by(), self._unsure()
        for stage in self._draft.stages:
            # The partitions of a topic that is declared are known, whoever writes it.
            sure = [topic for topic in stage.inputs if topic not in unsure or topic in self._draft.topics]
            counts = {topic: partitions.get(topic, 1) for topic in sure}
            for step, node in stage.steps:
                self._check_place(stage, step, node)
                if step.use.plugin.groups_by and len(set(counts.values())) > 1:
                    which = ", ".join(f"{topic!r} has {count}" for topic, count in counts.items())
                    self._findings.add(
                        node,
                        f"{step.name} groups over topics of different partitions ({which}): equal values would not "
                        "meet; give the topics the same number",
                    )
                    continue
                option = step.use.plugin.groups_by
                given = getattr(step.use.options, option) if option else None
                fields = [given] if isinstance(given, str) else list(given or [])
                for topic in stage.inputs:
                    declared = self._draft.topics.get(topic)
                    if not fields or partitions.get(topic, 1) == 1 or (declared and declared.config.external):
                        continue
                    if topic not in unsure and keyed.get(topic) not in fields:
                        by = f"keyed by {keyed[topic]!r}" if keyed.get(topic) else "not keyed by one field"
                        self._findings.add(
                            node.get(option or "") or node,
                            f"{step.name} groups by {', '.join(map(repr, fields))}, but topic {topic!r} has "
                            f"{partitions[topic]} partitions and is {by}: set key: {fields[0]} where it is written",
                        )

    def _check_place(self, stage: StageDraft, step: StepPlan, node: Node) -> None:
        """Refuse a step that its kind of stage cannot serve."""
        if stage.kind != "flow" and hasattr(step.use.plugin.options, "tick"):
            self._findings.add(
                node, f"{step.name} acts as time passes, which only a flow can serve; put the step into a flow"
            )
        elif step.use.plugin.groups_by and stage.plugin is not None and stage.plugin.keeps_offsets:
            self._findings.add(
                node,
                f"{step.name} keeps state, and {stage.plugin.name} stores its own offsets: the two cannot be "
                "stored together; put the step into a flow",
            )

    # -- the dashboard ----------------------------------------------------------------------------

    def dashboard(self) -> DashboardPlan:
        """Return the dashboard, in which every topic and stage named exists."""
        draft = self._draft.dashboard
        taken: set[str] = set()
        panels: list[Panel] = []
        for config, topic, node in draft.panels:
            self._check_topic(topic, node)
            if config is not None:
                panels.append(make_panel(config, topic, taken))
        taken, rules = set(), list[Rule]()
        for rule_config, condition, node in draft.rules:
            if rule_config is not None:
                rules.append(make_rule(rule_config, taken))
            at, of = node.get("when") or node, condition.of
            if condition.measure is None:
                self._check_topic(of or "", at)
            elif of is not None and self._draft.sections_known:
                self._check_known("stage", of, [stage.name for stage in self._draft.stages], at)
            if node.get("by") is not None and condition.measure is not None:
                self._findings.add(node.get("by") or node, "by stands only with a condition on a field of a topic")
        shown = tuple(panels) or default_panels(self._ends() or self.topic_names())
        section = self._draft.tree.get("dashboard")
        named = section and (section.get("port") or section)
        return DashboardPlan(
            options=draft.options, panels=shown, rules=tuple(rules), place=named.mark if named else None
        )

    def _check_topic(self, name: str, node: Node) -> None:
        if self._draft.outputs_known:
            known = sorted({*self.topic_names(), *self._draft.unread_topics, *self._draft.written})
            self._check_known("topic", name, known, node)

    def _check_known(self, what: str, name: str, known: list[str], node: Node) -> None:
        if name not in known:
            near = suggest(name, known) or (f"; known are {', '.join(known)}" if known else "")
            self._findings.add(node, f"unknown {what} {name!r}{near}")

    def _ends(self) -> list[str]:
        """Return the topics that a stage writes and no flow reads: what comes out of the pipeline."""
        read = {topic for stage in self._draft.stages if stage.kind == "flow" for topic in stage.inputs}
        return [topic for topic in self._writers if topic not in read]

    # -- guarantees -------------------------------------------------------------------------------

    def plan(self, stage: StageDraft) -> StagePlan | None:
        """Return a stage's plan; None when it cannot give the guarantee that is asked of it."""
        draft, config = self._draft, stage.config
        wish = config.delivery if config else None
        asked = wish or draft.delivery
        known = asked is not None and (stage.kind == "flow" or stage.plugin is not None)
        if not known or (config is None and stage.node.get("delivery") is not None):
            return None
        assert asked is not None, "it is known"
        own = self._best(stage)
        best = weaker(own, draft.broker.build().delivery) if draft.broker else own
        # A live view need not keep what is asked of the pipeline as a whole.
        if (best != "best_effort" or wish) and weaker(asked, best) != asked:
            name = stage.plugin.name if stage.plugin else "this flow"
            if best != own and draft.broker:
                name = f"broker {draft.broker.plugin.name}"
            node = stage.place("delivery") if wish else stage.place("use")
            self._findings.add(
                node,
                f"{name} can give {best}, but {asked} is asked; set delivery: {best} on this stage to accept that",
            )
            return None
        if config is None or not stage.whole:
            return None
        retry, restart = config.retry, config.restart
        return StagePlan(
            name=stage.name,
            kind=stage.kind,
            use=stage.use,
            inputs=stage.inputs,
            output=stage.output,
            steps=tuple(step for step, _ in stage.steps),
            key=stage.key,
            rate=stage.rate,
            count=stage.count,
            batch=stage.batch,
            timeout_seconds=config.timeout,
            retry=RetryPlan(retry.attempts, Backoff(retry.initial, retry.longest)),
            restart=RestartPlan(restart.attempts, restart.reset, Backoff(restart.initial, restart.longest)),
            on_error=config.on_error,
            delivery=weaker(best, asked),
            place=stage.place("use").mark,
        )

    def _best(self, stage: StageDraft) -> Delivery:
        """Return the best guarantee that the stage's plugin can give."""
        if stage.kind == "producer" and stage.plugin is not None:
            return "exactly_once" if stage.plugin.resumes else "at_least_once"
        if stage.kind == "sink" and stage.plugin is not None:
            groups = any(step.use.plugin.groups_by for step, _ in stage.steps)
            # State is committed with the broker's offset, which a sink that keeps its own does not go by.
            return weaker(stage.plugin.delivery, "at_least_once") if groups else stage.plugin.delivery
        return "exactly_once"
