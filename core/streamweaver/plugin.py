"""What a plugin is described by: `option` for its options, `Plugin` for the whole.

The decorators that make the description are in `decorators`.
"""

import re
import typing
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs

from streamweaver.contracts import Delivery
from streamweaver.errors import PluginLoadError

API_VERSION = 1
"""The version of the plugin contract that this release offers."""

OLDEST_API = 1
"""The oldest version of the contract for which a plugin may have been written; older than `API_VERSION` warns."""

Kind = Literal["producer", "transform", "sink", "broker", "codec"]

NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")

ATTRIBUTE = "__streamweaver_plugin__"


@attrs.frozen
class Bounds:
    """Bounds of an option, kept as data so that validation, JSON Schema and reference pages agree.

    Applied to a value, or to each item of a list; `min_length` to a text, list or mapping as a whole.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    pattern: str | None = None
    min_length: int | None = None


@attrs.frozen
class OptionInfo:
    """What `option` adds to an attrs field; found under `OptionInfo.KEY` in the field's metadata."""

    KEY: typing.ClassVar[str] = "streamweaver"

    help: str
    example: Any = None
    secret: bool = False
    bounds: Bounds = Bounds()
    deprecated: str = ""


def option(
    *,
    help: str,  # noqa: A002 - the word that authors expect
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    example: Any = None,
    secret: bool = False,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Sequence[Any] | None = None,
    pattern: str | None = None,
    min_length: int | None = None,
    validator: Callable[[Any, Any, Any], None] | Sequence[Callable[[Any, Any, Any], None]] | None = None,
    deprecated: str = "",
) -> Any:
    """Declare one option of a plugin: attrs' `field` with help, example and bounds.

    Options are keyword-only. Without `default` or `factory` the option is required. `secret` values never show in
    logs, errors, `repr`, status or dead letters. Bounds and `validator` are checked when the pipeline file is
    read, each violation reported at its line. `deprecated` says what to write instead: whoever still sets the option is
    warned with that, at its line.
    """
    bounds = Bounds(ge, gt, le, lt, tuple(choices) if choices is not None else None, pattern, min_length)
    return attrs.field(
        default=attrs.Factory(factory) if factory is not None else default,
        kw_only=True,
        repr=(lambda _: "***") if secret else True,
        validator=validator,
        metadata={OptionInfo.KEY: OptionInfo(help, example, secret, bounds, deprecated)},
    )


@attrs.frozen(kw_only=True)
class Plugin:
    """The description of one plugin: everything the engine, `plugin show` and the reference pages know about it."""

    kind: Kind
    name: str
    options: type[Any]
    """The attrs class whose fields are the plugin's YAML options."""
    build: Callable[[Any], Any]
    """Makes the running plugin from an instance of `options`."""
    summary: str = ""
    doc: str = ""
    api: int = 1
    example: str = ""
    deprecated: str = ""
    """What to write instead of it, if it is on its way out."""
    delivery: Delivery = "at_least_once"
    resumes: bool = False
    blocking: bool = False
    single: bool = False
    groups_by: str | None = None
    key: str | None = None

    @property
    def keeps_offsets(self) -> bool:
        """Whether it stores itself how far it has come, as a sink may."""
        return hasattr(self.options, "committed")


def check_api(api: int, what: str, write: str) -> None:
    """Raise PluginLoadError for a version of the contract that this release does not offer, warn of one that will go.

    `what` is the plugin in a sentence, `write` how it says the version.
    """
    if not OLDEST_API <= api <= API_VERSION:
        hint = "upgrade streamweaver" if api > API_VERSION else "upgrade the plugin"
        raise PluginLoadError(f"it was made for plugin API {api}, this streamweaver offers {API_VERSION}: {hint}")
    if api < API_VERSION:
        warnings.warn(
            f"{what} was written for plugin API {api}, which a later release will no longer take: go through the "
            f"changelog, then write {write}(api={API_VERSION})",
            FutureWarning,
            stacklevel=3,
        )


def plugin_of(target: object) -> Plugin:
    """Return the description that a decorator attached; PluginLoadError when there is none."""
    found = getattr(target, ATTRIBUTE, None)
    if not isinstance(found, Plugin):
        what = getattr(target, "__qualname__", repr(target))
        raise PluginLoadError(f"{what} is no plugin: decorate it with @producer, @transform, @sink, @broker or @codec")
    return found


def option_fields(options: type[Any]) -> "dict[str, attrs.Attribute[Any]]":
    """Return the fields of an options class that can be set in YAML: the public ones that `__init__` takes."""
    return {f.name: f for f in attrs.fields(options) if f.init and not f.name.startswith("_")}
