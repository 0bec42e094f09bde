"""Plugins and pipelines as plain data: what the command line prints, and what a dashboard or an editor shows."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import attrs

from streamweaver.config import Definitions, Redactor, fields_table, object_schema
from streamweaver.config.checks import option_info
from streamweaver.config.dashboard import MAX_PANELS, MAX_RULES, DashboardConfig, RuleConfig
from streamweaver.config.instance import option_types
from streamweaver.config.model import (
    BROKER_DEFAULT,
    STAGE_NAME,
    TOPIC_NAME,
    FlowConfig,
    PipelineConfig,
    ProducerConfig,
    SinkConfig,
    StepConfig,
    TopicConfig,
)
from streamweaver.config.redact import MASK
from streamweaver.config.schema import DIALECT, Schema, plain
from streamweaver.config.words import attrs_class, is_union
from streamweaver.errors import PluginError
from streamweaver.graph.plan import Plan, PluginUse, StagePlan, TopicPlan
from streamweaver.panel import PanelConfig
from streamweaver.plugin import Kind, Plugin, option_fields
from streamweaver.registry import KINDS, Registry

# -- plugins --------------------------------------------------------------------------------------


def plugin_rows(registry: Registry, kinds: Iterable[Kind] = KINDS, *, summaries: bool = False) -> list[dict[str, str]]:
    """Return what is installed, a row a plugin. Imports no plugin, except for their summaries."""
    rows = []
    for origin in (origin for kind in kinds for origin in registry.origins(kind)):
        row = {
            "kind": origin.kind,
            "name": origin.name,
            "distribution": origin.distribution,
            "version": origin.version,
        }
        if summaries:
            row["summary"] = _summary(registry, origin.kind, origin.name)
        rows.append(row)
    return rows


def _summary(registry: Registry, kind: Kind, name: str) -> str:
    try:
        return registry.load(kind, name).summary
    except PluginError as error:
        return f"cannot be used: {error}"


def plugin(registry: Registry, kind: Kind, name: str) -> dict[str, Any]:
    """Return everything that is known about one plugin; PluginError when it cannot be loaded."""
    found = registry.load(kind, name)
    origin = registry.origin(kind, name)
    return {
        "kind": kind,
        "name": name,
        "summary": found.summary,
        "doc": found.doc,
        "distribution": origin.distribution,
        "version": origin.version,
        "api": found.api,
        "deprecated": found.deprecated or None,
        "guarantee": guarantee(found),
        "blocking": found.blocking,
        "single": found.single,
        "groups_by": found.groups_by,
        "key": found.key,
        "options": list(option_rows(found.options)),
        "example": found.example,
    }


def option_rows(options: Any, within: str = "") -> Iterator[dict[str, Any]]:
    """Go through the options of an attrs class; one that is a mapping of known words is followed by these."""
    kinds = option_types(options)
    for row in fields_table(options):
        yield {**attrs.asdict(row), "name": within + row.name}
        inner, dots = _inner(kinds[row.name])
        if inner is not None:
            yield from option_rows(inner, f"{within}{row.name}{dots}")


def _inner(kind: Any) -> tuple[type[Any] | None, str]:
    """Return the attrs class within a type, and what stands between the name and those of its fields."""
    for part in (kind, *get_args(kind)):
        if (found := attrs_class(part)) is not None:
            return found, "." if part is kind or is_union(kind) else "[]."
    return None, ""


def facts(found: Mapping[str, Any]) -> dict[str, str]:
    """Return what there is to know about a described plugin beside its text and options: labels with sentences."""
    sentences = {
        "deprecated": found["deprecated"],
        "guarantee": found["guarantee"],
        "groups by": found["groups_by"] and f"the field that its option `{found['groups_by']}` names",
        "key": found["key"] and f"the field `{found['key']}`, unless the stage says another",
        "instances": "one a pipeline, however many workers run" if found["single"] else None,
        "runs": "in a thread of its stage" if found["blocking"] else None,
        "written for": f"plugin API {found['api']}",
    }
    return {label: sentence for label, sentence in sentences.items() if sentence}


def takes(row: Mapping[str, Any]) -> str:
    """Say which values an option takes, and what it is when it is not set."""
    bounds = "" if row["bounds"] in row["type"] else f", {row['bounds']}"
    default = "required" if row["required"] else row["default"] and f"default {row['default']}"
    return f"{row['type']}{bounds}" + (f"; {default}" if default else "")


def guarantee(found: Plugin) -> str | None:
    """Return the best delivery guarantee of a plugin, where it is the plugin that decides on one."""
    if found.kind == "producer":
        return "exactly_once" if found.resumes else "at_least_once"
    return found.delivery if found.kind == "sink" else None


# -- a pipeline -----------------------------------------------------------------------------------


def pipeline(plan: Plan) -> dict[str, Any]:
    """Return a checked pipeline: its stages in the order of the flow, its topics, what each guarantees and takes."""
    return {
        "name": plan.name,
        "delivery": plan.delivery,
        "broker": _use(plan.broker, plan.redact),
        "stages": [_stage(stage, plan.redact) for stage in plan.stages.values()],
        "topics": [_topic(topic, plan) for topic in plan.topics.values()],
    }


def _stage(stage: StagePlan, redact: Redactor) -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": stage.kind,
        "use": None if stage.use is None else stage.use.plugin.name,
        "options": {} if stage.use is None else _use(stage.use, redact)["options"],
        "from": list(stage.inputs),
        "steps": [{"name": step.name, **_use(step.use, redact)} for step in stage.steps],
        "to": stage.output,
        "key": stage.key,
        "rate": stage.rate,
        "count": stage.count,
        "on_error": stage.on_error,
        "delivery": stage.delivery,
    }


def _topic(topic: TopicPlan, plan: Plan) -> dict[str, Any]:
    spec = topic.spec
    return {
        "name": spec.name,
        "partitions": spec.partitions,
        "retention_ms": spec.retention_ms,
        "retention_bytes": spec.retention_bytes,
        "cleanup": spec.cleanup,
        "codec": topic.codec_name,
        "declared": topic.declared,
        "written_by": [stage.name for stage in plan.stages.values() if stage.output == spec.name],
        "read_by": [stage.name for stage in plan.stages.values() if spec.name in stage.inputs],
    }


def _use(use: PluginUse, redact: Redactor) -> dict[str, Any]:
    return {"use": use.plugin.name, "options": _redacted(_options(use.options), redact)}


def _options(instance: Any) -> dict[str, Any]:
    """Return the options of a plugin as a file would have them, secrets masked."""
    fields = option_fields(type(instance))
    return {
        name: MASK
        if option_info(field).secret and getattr(instance, name) is not None
        else _plain(getattr(instance, name))
        for name, field in fields.items()
    }


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return _options(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else plain(value)


def _redacted(value: Any, redact: Redactor) -> Any:
    """Blank what `${file:...}` brought into options that are no secrets by themselves."""
    if isinstance(value, dict):
        return {key: _redacted(item, redact) for key, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, redact) for item in value]
    return redact(value) if isinstance(value, str) else value


def graph(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Return a pipeline as nodes (stages and topics) and the edges between them; ids are `stage:NAME`, `topic:NAME`."""
    stages = [
        {
            "id": f"stage:{stage.name}",
            "name": stage.name,
            "kind": stage.kind,
            "use": None if stage.use is None else stage.use.plugin.name,
            "steps": [step.name for step in stage.steps],
            "delivery": stage.delivery,
        }
        for stage in plan.stages.values()
    ]
    topics = [
        {"id": f"topic:{topic.name}", "name": topic.name, "kind": "topic", "partitions": topic.spec.partitions}
        for topic in plan.topics.values()
    ]
    edges = []
    for stage in plan.stages.values():
        edges += [{"from": f"topic:{topic}", "to": f"stage:{stage.name}"} for topic in stage.inputs]
        if stage.output is not None:
            edges.append({"from": f"stage:{stage.name}", "to": f"topic:{stage.output}"})
    return {"nodes": [*stages, *topics], "edges": edges}


# -- JSON Schema of the whole file ----------------------------------------------------------------

_TOPIC: Schema = {"type": "string", "pattern": f"^(?:{TOPIC_NAME})$"}


def pipeline_schema(registry: Registry) -> Schema:
    """Return the JSON Schema of pipeline files, with the options of every plugin that can be loaded."""
    return _SchemaMaker(registry).document()


class _SchemaMaker:
    """Composes the schema of a pipeline file. A plugin that cannot be loaded is left out, as it cannot be used."""

    def __init__(self, registry: Registry) -> None:
        self._definitions = Definitions()
        self._plugins: dict[Kind, list[Plugin]] = {kind: list(_loadable(registry, kind)) for kind in KINDS}

    def document(self) -> Schema:
        """Return the whole document."""
        definitions = self._definitions
        definitions.schemas["step"] = self._choice("transform", StepConfig, {})
        steps: Schema = {
            "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/step"}}, {"type": "null"}],
            "description": "transforms, applied in order",
        }
        inputs: Schema = {
            "anyOf": [_TOPIC, {"type": "array", "items": _TOPIC, "minItems": 1, "uniqueItems": True}],
            "description": "topics to read",
        }
        flow = object_schema(FlowConfig, definitions, also={"from": inputs, "steps": steps}, required=["from"])
        sections: Schema = {
            "broker": self._broker(),
            "topics": _named(TOPIC_NAME, self._topic(), "topics with settings of their own"),
            "producers": _named(
                STAGE_NAME, self._choice("producer", ProducerConfig, {"steps": steps}), "stages that bring records in"
            ),
            "flows": _named(STAGE_NAME, flow, "stages that read topics, apply steps, and write a topic"),
            "sinks": _named(
                STAGE_NAME,
                self._choice("sink", SinkConfig, {"from": inputs, "steps": steps}, required=["from"]),
                "stages that take records out",
            ),
        }
        sections["dashboard"] = self._dashboard()
        made = object_schema(PipelineConfig, definitions, also=sections)
        return {"$schema": DIALECT, "title": "StreamWeaver pipeline", **made, "$defs": definitions.schemas}

    def _dashboard(self) -> Schema:
        panel = object_schema(PanelConfig, self._definitions, also={"from": _TOPIC}, required=["from"])
        rule = object_schema(RuleConfig, self._definitions)
        lists = {"panels": _listed(panel, MAX_PANELS), "alerts": _listed(rule, MAX_RULES)}
        whole = object_schema(DashboardConfig, self._definitions, also=lists)
        return {"anyOf": [whole, {"type": "null"}], "description": "what is drawn and watched, and who may look"}

    def _topic(self) -> Schema:
        names = [found.name for found in self._plugins["codec"]]
        codec = {"enum": names, "default": "json", "description": "how values become bytes"}
        topic = object_schema(TopicConfig, self._definitions, also={"codec": codec})
        return {"anyOf": [topic, {"type": "null"}]}

    def _broker(self) -> Schema:
        made = []
        for found in self._plugins["broker"]:
            required = [] if found.name == BROKER_DEFAULT else ["use"]
            made.append(self._with_use(found, {}, required))
        names = [found.name for found in self._plugins["broker"]]
        return {
            "anyOf": [{"enum": names}, _by_use(names, made, default=BROKER_DEFAULT)],
            "description": "keeps the topics",
        }

    def _choice(self, kind: Kind, config: type[Any], also: Schema, required: Iterable[str] = ()) -> Schema:
        """Return the schema of a mapping with `use`: for each plugin its options beside our words."""
        ours = object_schema(config, self._definitions, also=also, required=list(required))
        names = [found.name for found in self._plugins[kind]]
        words, needed = ours["properties"], ours["required"]
        return _by_use(names, [self._with_use(found, words, needed) for found in self._plugins[kind]])

    def _with_use(self, found: Plugin, words: Schema, required: list[str]) -> Schema:
        use: Schema = {"const": found.name, "description": found.summary}
        if found.deprecated:
            use["deprecated"] = True
        return object_schema(found.options, self._definitions, also={**words, "use": use}, required=required)


def _by_use(names: list[str], choices: list[Schema], default: str | None = None) -> Schema:
    """Choose by `use`, so that an editor and a validator speak of the plugin that is meant, not of all of them."""
    cases = []
    for name, choice in zip(names, choices, strict=True):
        says: Schema = {"properties": {"use": {"const": name}}}
        if name != default:
            says["required"] = ["use"]
        cases.append({"if": says, "then": choice})
    return {
        "type": "object",
        "properties": {"use": {"enum": names}},
        **({} if default else {"required": ["use"]}),
        "allOf": cases,
    }


def _listed(entry: Schema, most: int) -> Schema:
    return {"anyOf": [{"type": "array", "items": entry, "maxItems": most}, {"type": "null"}]}


def _named(pattern: str, entry: Schema, description: str) -> Schema:
    return {
        "type": "object",
        "patternProperties": {f"^(?:{pattern})$": entry},
        "additionalProperties": False,
        "description": description,
    }


def _loadable(registry: Registry, kind: Kind) -> Iterable[Plugin]:
    for name in registry.names(kind):
        try:
            yield registry.load(kind, name)
        except PluginError:
            continue
