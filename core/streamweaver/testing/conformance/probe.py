"""Between the engine and a plugin: sees what one asks of the other, and can make a call go wrong."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import attrs

from streamweaver.graph.plan import Plan, PluginUse
from streamweaver.plugin import ATTRIBUTE

VERBS = (
    *("open", "close", "produce", "process", "process_record", "tick"),
    *("write", "write_all", "write_record", "committed"),
)


class Probe:
    """A plugin that hands each call on to another one; has exactly the methods that the other has."""

    def __init__(self, plugin: Any, **instead: Callable[..., Any]) -> None:
        """Take `instead[verb](call, *arguments)` for a verb, where `call` is the plugin's own."""
        # What the engine knows of the plugin itself: whether it opens and closes in the stage's thread.
        if hasattr(plugin, ATTRIBUTE):
            setattr(self, ATTRIBUTE, getattr(plugin, ATTRIBUTE))
        for verb in VERBS:
            own = getattr(plugin, verb, None)
            if own is not None:
                setattr(self, verb, _wrapped(own, instead[verb]) if verb in instead else own)


def _wrapped(own: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the form: the engine looks at it before the first call."""
    if inspect.iscoroutinefunction(own):

        @functools.wraps(own)
        async def verb(*arguments: Any) -> Any:
            result = instead(own, *arguments)
            return await result if inspect.isawaitable(result) else result

        return verb
    return functools.wraps(own)(functools.partial(instead, own))


def probed(plan: Plan, stage: str, wrap: Callable[[Any], Any]) -> Plan:
    """Return the plan with the stage's plugin (of a flow, its only step) replaced by what `wrap` makes of it."""
    found = plan.stages[stage]

    def use(inner: PluginUse) -> PluginUse:
        build = inner.plugin.build
        return PluginUse(attrs.evolve(inner.plugin, build=lambda options: wrap(build(options))), inner.options)

    if found.use is not None:
        found = attrs.evolve(found, use=use(found.use))
    else:
        found = attrs.evolve(found, steps=tuple(attrs.evolve(step, use=use(step.use)) for step in found.steps))
    return attrs.evolve(plan, stages={**plan.stages, stage: found})
