"""Observers: what may watch a pipeline without being part of it (pluggy, behind this module).

Hooks are called synchronously, for a stage's life and once for each unit of work, never for each record. An observer
that fails is logged and disconnected; the pipeline goes on. Only at the beginning, in one of `REFUSING`, an observer
may raise Fatal: one that was asked for and cannot do its work, such as a server whose port is taken, says so while
somebody looks.
"""

import importlib.metadata
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

import attrs
import pluggy

from streamweaver.contracts import Broker
from streamweaver.errors import Fatal, PluginError
from streamweaver.plugin import check_api
from streamweaver.text import classed

T = TypeVar("T", bound=Callable[..., Any])

PROJECT = "streamweaver"
REFUSING = ("pipeline_starting", "pipeline_viewed")
"""Hooks in which Fatal ends the run before any stage has started."""
GROUP = "streamweaver.observers"

spec = pluggy.HookspecMarker(PROJECT)
_implementation = pluggy.HookimplMarker(PROJECT)

_API = "__streamweaver_api__"


@overload
def observer(target: T, /) -> T: ...
@overload
def observer(*, api: int = 1, **order: Any) -> Callable[[T], T]: ...
def observer(target: Any = None, /, *, api: int = 1, **order: Any) -> Any:
    """Mark a function or method as the implementation of the hook of the same name.

    Observers are called as they were connected; one with `tryfirst=True` before the others, with `trylast=True` behind
    them. On a class it says of all its hooks the version of the plugin API that they were written for:
    `@observer(api=1)`.
    """

    def mark(found: Any) -> Any:
        if inspect.isclass(found) and order:
            raise TypeError(f"@observer: got {', '.join(order)} on a class, expected it on its methods")
        setattr(found, _API, api)
        return found if inspect.isclass(found) else _implementation(found, **order)

    return mark if target is None else mark(target)


@attrs.frozen(kw_only=True)
class Surroundings:
    """What an observer needs that runs something of its own beside the stages, such as a server."""

    plan: Any
    """The pipeline, a `streamweaver.graph.plan.Plan`."""
    broker: Broker
    """Open for as long as anything runs beside; an observer reads, and never joins a group."""
    log: Callable[..., None]
    """Called with a level, an event and fields."""
    beside: Callable[[str, Coroutine[Any, Any, None]], None]
    """Run a coroutine, under a name for the log, until the stages have ended; then it is cancelled and waited for.
    When it fails, that is logged, and the pipeline goes on."""


class Hooks:
    """Every hook there is. An implementation takes the arguments it wants, by name."""

    @spec
    def pipeline_starting(self, pipeline: str, stages: list[str], surroundings: Surroundings) -> None:
        """The file is valid and the broker is open; no stage has started, and with Fatal none will."""

    @spec
    def pipeline_viewed(self, pipeline: str, surroundings: Surroundings) -> None:
        """A pipeline that runs elsewhere is to be shown: the broker is open as a tool, no stage runs here.

        Fatal ends the command.
        """

    @spec
    def pipeline_stopped(self, pipeline: str, error: str | None) -> None:
        """Every stage has ended; `error` says why the pipeline failed, None when it did not."""

    @spec
    def stage_started(self, stage: str) -> None:
        """A stage's plugins are open; also after each restart."""

    @spec
    def stage_failed(self, stage: str, error: str, restart_in: float | None) -> None:
        """A stage failed; it starts again after `restart_in` seconds, or never (None)."""

    @spec
    def stage_ended(self, stage: str) -> None:
        """A stage has nothing more to do, or was stopped."""

    @spec
    def unit_done(self, stage: str, received: int, out: int, seconds: float) -> None:
        """A unit of work is durable: how many records it read and wrote, and how long it took."""

    @spec
    def metrics_published(self, pipeline: str, metrics: dict[str, Any]) -> None:
        """The figures of all stages, about once a second, also those that could not be stored.

        While the broker has not answered for 3 s, `lag_records` and `lag_seconds` are None. `published` is when figures
        were last stored (ms since 1970).
        """


class Observers:
    """The connected observers; calling a hook never fails."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)

    def load_installed(self, allows: Callable[[str], bool] = lambda _: True) -> None:
        """Connect every observer that an installed distribution offers, if `allows` says so of the distribution.

        One that cannot be connected is reported and left out: what only watches must not keep a pipeline from running.
        """
        seen: set[tuple[str, str]] = set()
        for distribution in importlib.metadata.distributions():
            for point in distribution.entry_points.select(group=GROUP):
                name = distribution.metadata["Name"] or ""
                if (name, point.name) in seen or not allows(name):
                    continue
                seen.add((name, point.name))
                self._load(point, f"{name} {distribution.version}")

    def _load(self, point: importlib.metadata.EntryPoint, offered_by: str) -> None:
        try:
            loaded = point.load()
            self.connect(loaded() if inspect.isclass(loaded) else loaded)
        except PluginError as error:
            self._report(f"observer {point.name!r} of {offered_by} is left out: {error}")
        except (Exception, SystemExit) as error:
            self._report(f"observer {point.name!r} of {offered_by} is left out: {classed(error)}")

    def connect(self, observer: object) -> None:
        """Connect an object with hook implementations; PluginError when it has none, or one that fits no hook."""
        try:
            self._manager.register(observer)
        except ValueError as error:
            raise PluginError(f"observer {observer!r} is connected already") from error
        except pluggy.PluginValidationError as error:
            # Some versions of pluggy keep a plugin that they have just found invalid.
            if self._manager.is_registered(observer):
                self._manager.unregister(observer)
            raise PluginError(f"observer {observer!r}: {error}") from error
        wrong = self._mistake(observer) or self._unfit(observer)
        if wrong:
            self._manager.unregister(observer)
            raise PluginError(f"observer {observer!r}: {wrong}")

    def _mistake(self, observer: object) -> str | None:
        """Say why the implementations that were just registered would not be called as meant."""
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            return str(error)
        callers = self._manager.get_hookcallers(observer) or []
        if not callers:
            return "it implements no hook; mark its methods with @observer"
        for caller in callers:
            for implementation in caller.get_hookimpls():
                if implementation.plugin is not observer:
                    continue
                if inspect.iscoroutinefunction(implementation.function):
                    return f"{caller.name} is async, expected a plain function: hooks are not awaited"
                if implementation.wrapper or implementation.hookwrapper:
                    return f"{caller.name} is a wrapper, expected a plain function"
        return None

    def _unfit(self, observer: object) -> str | None:
        """Say why an observer was written for another version of the contract; one that is about to go warns."""
        declared = getattr(observer, _API, None)
        hooks = [found for caller in self._manager.get_hookcallers(observer) or [] for found in caller.get_hookimpls()]
        own = [getattr(found.function, _API, 1) for found in hooks if found.plugin is observer]
        name = getattr(observer, "__name__", type(observer).__name__)
        try:
            for api in {declared} if declared is not None else set(own):
                check_api(api, f"observer {name!r}", "@observer")
        except PluginError as error:
            return str(error)
        return None

    def wants(self, hook: str) -> bool:
        """Whether anyone implements a hook, for callers that would have to prepare its arguments."""
        return bool(getattr(self._manager.hook, hook).get_hookimpls())

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook on each observer; one that raises is reported and disconnected, but for Fatal in `REFUSING`."""
        caller = getattr(self._manager.hook, hook)
        for implementation in sorted(caller.get_hookimpls(), key=_place):
            chosen = [arguments[name] for name in implementation.argnames]
            try:
                implementation.function(*chosen)
            except (Exception, SystemExit) as error:
                if isinstance(error, Fatal) and hook in REFUSING:
                    raise
                self._manager.unregister(implementation.plugin)
                self._report(
                    f"observer {implementation.plugin_name} failed in {hook} and is disconnected: {classed(error)}"
                )


def _place(implementation: pluggy.HookImpl) -> tuple[bool, bool]:
    return not implementation.tryfirst, implementation.trylast
