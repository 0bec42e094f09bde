"""Finding plugins by kind and name through entry points (stevedore, behind one thin class).

Listing imports nothing; a plugin's module is imported when it is named. First-party plugins come this way too.
"""

import importlib.metadata
import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, get_args

import attrs
from stevedore import DriverManager, ExtensionManager

from streamweaver.errors import DuplicatePluginError, PluginError, PluginLoadError, PluginNotFoundError
from streamweaver.plugin import Kind, Plugin, check_api, option_fields, plugin_of

KINDS: tuple[Kind, ...] = get_args(Kind)

ONLY = "STREAMWEAVER_PLUGINS"
"""Environment variable: the distributions, separated by commas, whose plugins may be used; all when unset."""

RESERVED = frozenset(
    {"use", "to", "from", "key", "rate", "count", "timeout", "retry", "on_error", "steps", "delivery", "restart"}
    | {"concurrency", "batch"}
)
"""Words of the pipeline file that stand beside a plugin's options, so no option may have one as its name."""


@attrs.frozen(order=True)
class Origin:
    """Which distribution offers a plugin."""

    kind: Kind
    name: str
    distribution: str
    version: str
    target: str
    """`module:attribute`, as the entry point says."""


def group(kind: Kind) -> str:
    """Return the entry-point group of a kind of plugin."""
    return f"streamweaver.{kind}s"


class Registry:
    """The plugins that can be used. Build one and pass it on; there is no global one."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[Kind, str], Plugin] = {}
        allowed = os.environ.get(ONLY)
        self._allowed = {_normal(part) for part in allowed.split(",")} if allowed else None

    def allows(self, distribution: str) -> bool:
        """Whether plugins (and observers) of a distribution may be used."""
        return self._allowed is None or _normal(distribution) in self._allowed

    def add(self, plugins: Iterable[object]) -> None:
        """Add decorated classes or functions that no distribution offers (tests, notebooks)."""
        for target in plugins:
            plugin = plugin_of(target)
            _check(plugin, plugin.kind, plugin.name)
            self._loaded[plugin.kind, plugin.name] = plugin

    def names(self, kind: Kind) -> list[str]:
        """Return the names of a kind, sorted, without importing any of them."""
        if self._allowed is not None:
            installed = {origin.name for origin in self.origins(kind)}
        else:
            installed = {point.name for point in _entry_points(kind)}
        return sorted(installed | {name for of_kind, name in self._loaded if of_kind == kind})

    def origins(self, kind: Kind) -> list[Origin]:
        """Return what installed distributions offer of a kind, sorted, without importing any of it."""
        return sorted(origin for origin, _ in self._offers(kind) if self.allows(origin.distribution))

    def origin(self, kind: Kind, name: str) -> Origin:
        """Return which distribution offers a plugin; PluginError when none does, or more than one."""
        offers = [origin for origin in self.origins(kind) if origin.name == name]
        if not offers:
            raise PluginNotFoundError(self._not_found(kind, name))
        if len(offers) > 1:
            which = " and ".join(f"{o.distribution} {o.version}" for o in offers)
            raise DuplicatePluginError(
                f"{kind} {name!r} is offered by {which}: uninstall one, or name the wanted one in {ONLY}"
            )
        return offers[0]

    def load(self, kind: Kind, name: str) -> Plugin:
        """Import and return a plugin; each way in which this can fail is a PluginError that says what to do."""
        if (kind, name) not in self._loaded:
            self._loaded[kind, name] = self._import(kind, name)
        return self._loaded[kind, name]

    def _import(self, kind: Kind, name: str) -> Plugin:
        # stevedore's view of what is installed comes from a cache, which is quick, forgets distributions, and may be
        # minutes old. So where it does not show one plugin and no more, the metadata itself decides.
        several = self._allowed is not None or sum(point.name == name for point in _entry_points(kind)) != 1
        chosen = self.origin(kind, name) if several else None
        try:
            if chosen is None:
                target = DriverManager[Any](group(kind), name).driver
            else:
                target = next(point for origin, point in self._offers(kind) if origin == chosen).load()
            plugin = plugin_of(target)
            _check(plugin, kind, name)
        except PluginError as error:
            raise PluginLoadError(f"{self._what(kind, name)}: {error}") from error
        except ModuleNotFoundError as error:
            raise PluginLoadError(
                f"{self._what(kind, name)} needs the module {error.name!r}: {self._remedy(kind, name, error.name)}"
            ) from error
        except SystemExit as error:
            raise PluginLoadError(
                f"{self._what(kind, name)} cannot be imported: it called sys.exit({error.code!r})"
            ) from error
        except Exception as error:
            raise PluginLoadError(
                f"{self._what(kind, name)} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        return plugin

    @staticmethod
    def _offers(kind: Kind) -> Iterator[tuple[Origin, importlib.metadata.EntryPoint]]:
        """Go through what is installed of a kind, with the distribution that stevedore's cache forgets."""
        seen: set[str] = set()
        for distribution in importlib.metadata.distributions():
            points = distribution.entry_points.select(group=group(kind))
            own = _normal(distribution.metadata["Name"] or "") if points else ""
            # One distribution may be found twice on `sys.path` (an editable install and its source folder); as for
            # an import, the first counts.
            if own and own not in seen:
                seen.add(own)
                name, version = distribution.metadata["Name"], distribution.version
                yield from ((Origin(kind, point.name, name, version, point.value), point) for point in points)

    def _what(self, kind: Kind, name: str) -> str:
        origin = self.origin(kind, name)
        return f"{kind} {name!r} of {origin.distribution} {origin.version}"

    def _remedy(self, kind: Kind, name: str, module: str | None) -> str:
        """Say what to install; an extra named as the plugin is the convention for its third-party client."""
        origin = self.origin(kind, name)
        own = origin.target.partition(":")[0]
        if module and f"{own}.".startswith(f"{module}."):
            return f"reinstall {origin.distribution}, its entry point {origin.target!r} leads nowhere"
        extras = importlib.metadata.metadata(origin.distribution).get_all("Provides-Extra") or []
        extra = next((extra for extra in extras if _normal(extra) == _normal(name)), None)
        if extra:
            return f"pip install '{origin.distribution}[{extra}]'"
        return f"install it, or reinstall {origin.distribution}"

    def _not_found(self, kind: Kind, name: str) -> str:
        other = next((k for k in KINDS if k != kind and name in self.names(k)), None)
        if other:
            return f"no {kind} is named {name!r}, but a {other} is"
        left_out = next((origin.distribution for origin, _ in self._offers(kind) if origin.name == name), None)
        if left_out:
            return f"{kind} {name!r} is offered by {left_out}, which {ONLY} leaves out: add it there"
        known = self.names(kind)
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(known) or 'none'}"
        return f"no {kind} is named {name!r}; {hint}"


def _normal(name: str) -> str:
    """Return the name of a distribution or extra as packaging tools compare them."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _entry_points(kind: Kind) -> list[importlib.metadata.EntryPoint]:
    # A manager that has loaded nothing: every other one imports all plugins of the group when it is made.
    manager = ExtensionManager[Any].make_test_instance([], namespace=group(kind))
    return manager.list_entry_points()


def _check(plugin: Plugin, kind: Kind, name: str) -> None:
    if plugin.kind != kind:
        raise PluginLoadError(f"it is a {plugin.kind}: its entry point stands in the wrong group")
    if plugin.name != name:
        raise PluginLoadError(f"it calls itself {plugin.name!r}: entry point and decorator must agree")
    check_api(plugin.api, f"{kind} {name!r}", f"@{kind}")
    clash = sorted(RESERVED & option_fields(plugin.options).keys())
    if clash:
        raise PluginLoadError(f"its option {clash[0]!r} is a word of the pipeline file: rename it")
    if plugin.groups_by is not None and plugin.groups_by not in option_fields(plugin.options):
        raise PluginLoadError(f"it groups by the option {plugin.groups_by!r}, which it does not have")
