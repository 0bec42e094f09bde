"""The pipeline as clients get it: stages, options with secrets hidden, panels, rules."""

from collections.abc import Mapping
from typing import Any

import attrs

from streamweaver.config import Redactor
from streamweaver.config.dashboard import Rule
from streamweaver.graph.plan import Plan, PluginUse, StagePlan
from streamweaver.panel import Panel
from streamweaver.plugin import OptionInfo, option_fields

PROTOCOL = 1
HIDDEN = "***"


def pipeline(plan: Plan) -> dict[str, Any]:
    """Return everything but the topics."""
    return {
        "protocol": PROTOCOL,
        "pipeline": plan.name,
        "delivery": plan.delivery,
        "broker": {**use(plan.broker, plan.redact), "delivery": plan.broker.build().delivery},
        "stages": [stage(plan, planned) for planned in plan.stages.values()],
        "panels": [panel(planned) for planned in plan.dashboard.panels],
        "alerts": [rule(planned) for planned in plan.dashboard.rules],
    }


def stage(plan: Plan, planned: StagePlan) -> dict[str, Any]:
    """Return one stage."""
    retry, restart = planned.retry, planned.restart
    return {
        "name": planned.name,
        "kind": planned.kind,
        "inputs": list(planned.inputs),
        "output": planned.output,
        "delivery": planned.delivery,
        "plugin": None if planned.use is None else use(planned.use, plan.redact),
        "steps": [
            {"name": step.name, "plugin": use(step.use, plan.redact), "concurrency": step.concurrency}
            for step in planned.steps
        ],
        "key": planned.key,
        "rate": planned.rate,
        "count": planned.count,
        "timeout_seconds": planned.timeout_seconds,
        "on_error": planned.on_error,
        "retry": {
            "attempts": retry.attempts,
            "initial_seconds": retry.backoff.initial_seconds,
            "longest_seconds": retry.backoff.longest_seconds,
        },
        "restart": {
            "attempts": restart.attempts,
            "initial_seconds": restart.backoff.initial_seconds,
            "longest_seconds": restart.backoff.longest_seconds,
            "reset_seconds": restart.reset_seconds,
        },
        "replay_topic": plan.replay(planned.name) if planned.inputs else None,
        "group": plan.group(planned.name),
    }


def use(planned: PluginUse, redact: Redactor) -> dict[str, Any]:
    """Return a plugin with its options; secrets are hidden, also where one stands inside another option."""
    return {
        "use": planned.plugin.name,
        "summary": planned.plugin.summary,
        "options": [
            _option(field, getattr(planned.options, name), redact)
            for name, field in option_fields(planned.plugin.options).items()
        ],
    }


def _option(field: "attrs.Attribute[Any]", value: Any, redact: Redactor) -> dict[str, Any]:
    info = field.metadata.get(OptionInfo.KEY) or OptionInfo("")
    return {
        "name": field.name,
        "value": (None if value is None else HIDDEN) if info.secret else _plain(value, redact),
        "help": info.help,
        "is_default": _is_default(field, value),
        "secret": info.secret,
    }


def _is_default(field: "attrs.Attribute[Any]", value: Any) -> bool:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:  # type: ignore[union-attr]
            return False
        default = default.factory()  # type: ignore[union-attr]
    return bool(default == value)


def _plain(value: Any, redact: Redactor) -> Any:
    """Return an option's value as JSON can hold it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, redact) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, redact) for inner in value]
    if attrs.has(type(value)):
        inner = option_fields(type(value))
        return {name: _option(field, getattr(value, name), redact)["value"] for name, field in inner.items()}
    return redact(str(value))


def panel(planned: Panel) -> dict[str, Any]:
    """Return one panel."""
    made = attrs.asdict(planned, recurse=False)
    made["from"] = made.pop("topic")
    return {**made, "y": list(planned.y), "fields": list(planned.fields), "where": dict(planned.where)}


def rule(planned: Rule) -> dict[str, Any]:
    """Return one alert rule."""
    return {"id": planned.id, "name": planned.name, "when": planned.when, "level": planned.level}
