"""The decorators that make a class or a function a plugin.

Decorating registers nothing and changes nothing: the class or function gets a `Plugin` description as an attribute,
and an entry point names it. A decorated function can still be called and tested as the plain function it is; its
keyword-only parameters are its options, and `Annotated[str, "what it means"]` gives an option its help.

Of every kind: `api` is the version of the plugin contract that it was written for, `example` is YAML that shows it in
use, and `deprecated` says what to write instead: whoever still names the plugin is warned with that, at its line.
"""

import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar, overload

import attrs

from streamweaver.contracts import Brought, Delivery
from streamweaver.errors import PluginLoadError
from streamweaver.plugin import ATTRIBUTE, NAME, Kind, OptionInfo, Plugin
from streamweaver.record import Batch

T = TypeVar("T", bound=Callable[..., Any])


# -- the function form: small objects that turn a function into what the contracts ask for --------


@attrs.frozen
class FunctionProducer:
    """A generator function as a producer."""

    function: Callable[..., Any]
    options: dict[str, Any]
    takes_context: bool

    def produce(self, context: Any) -> AsyncIterator[Brought] | Iterator[Brought]:
        """Start the generator."""
        arguments = (context,) if self.takes_context else ()
        started: AsyncIterator[Brought] | Iterator[Brought] = self.function(*arguments, **self.options)
        return started


class FunctionTransform:
    """A function as a transform; has `process` or `process_record`, as the function takes batches or records."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any], takes_context: bool, batch: bool) -> None:
        def call(item: Any, context: Any) -> Any:
            return function(item, context, **options)

        def call_without_context(item: Any, _context: Any) -> Any:
            return function(item, **options)

        verb: Callable[..., Any] = call if takes_context else call_without_context
        if inspect.iscoroutinefunction(function):
            verb = _async(verb)
        setattr(self, "process" if batch else "process_record", verb)


class FunctionSink:
    """A function as a sink; has `write` or `write_record`, as the function takes batches or records."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any], batch: bool) -> None:
        def call(item: Any) -> Any:
            return function(item, **options)

        verb = _async(call) if inspect.iscoroutinefunction(function) else call
        setattr(self, "write" if batch else "write_record", verb)


def _async(call: Callable[..., Any]) -> Callable[..., Any]:
    """Keep an `async` function recognisable as one: the engine looks at the verb before its first call."""

    async def verb(*arguments: Any) -> Any:
        return await call(*arguments)

    return verb


# -- decorators -----------------------------------------------------------------------------------


@overload
def producer(target: T, /) -> T: ...
@overload
def producer(
    name: str | None = None,
    /,
    *,
    api: int = 1,
    resumes: bool = False,
    blocking: bool = False,
    key: str | None = None,
    example: str = "",
    deprecated: str = "",
) -> Callable[[T], T]: ...
def producer(
    target: Any = None,
    /,
    *,
    api: int = 1,
    resumes: bool = False,
    blocking: bool = False,
    key: str | None = None,
    example: str = "",
    deprecated: str = "",
) -> Any:
    """Make a class with `produce`, or a (plain or async) generator function, a producer.

    `resumes` promises exact positions: what was stored before a restart does not come again, and nothing is left out.
    `blocking` has a plain generator run in a thread. `key` names the field that is the record key by default.
    """
    return _decorate(
        "producer", target, api=api, resumes=resumes, blocking=blocking, key=key, example=example, deprecated=deprecated
    )


@overload
def transform(target: T, /) -> T: ...
@overload
def transform(
    name: str | None = None,
    /,
    *,
    api: int = 1,
    blocking: bool = False,
    groups_by: str | None = None,
    example: str = "",
    deprecated: str = "",
) -> Callable[[T], T]: ...
def transform(
    target: Any = None,
    /,
    *,
    api: int = 1,
    blocking: bool = False,
    groups_by: str | None = None,
    example: str = "",
    deprecated: str = "",
) -> Any:
    """Make a class with `process` or `process_record`, or a function, a transform.

    A function takes a `Record` (or, if its first parameter is annotated so, a `Batch`) and, if it wants, the context
    second. `blocking` has plain code run in a thread. `groups_by` names the option whose value is the field by which
    the transform keeps its state; `check` then sees to it that equal values meet in one partition.
    """
    return _decorate(
        "transform", target, api=api, blocking=blocking, groups_by=groups_by, example=example, deprecated=deprecated
    )


@overload
def sink(target: T, /) -> T: ...
@overload
def sink(
    name: str | None = None,
    /,
    *,
    api: int = 1,
    delivery: Delivery = "at_least_once",
    blocking: bool = False,
    single: bool = False,
    example: str = "",
    deprecated: str = "",
) -> Callable[[T], T]: ...
def sink(
    target: Any = None,
    /,
    *,
    api: int = 1,
    delivery: Delivery = "at_least_once",
    blocking: bool = False,
    single: bool = False,
    example: str = "",
    deprecated: str = "",
) -> Any:
    """Make a class with `write` or `write_record`, or a function, a sink.

    A function takes a `Record`, or a `Batch` if its first parameter is annotated so. `delivery` is the best guarantee
    it can give (see the contract `Sink`). `blocking` has plain code run in a thread. `single` asks for one instance
    per pipeline, however many workers run.
    """
    return _decorate(
        "sink",
        target,
        api=api,
        delivery=delivery,
        blocking=blocking,
        single=single,
        example=example,
        deprecated=deprecated,
    )


@overload
def codec(target: T, /) -> T: ...
@overload
def codec(name: str | None = None, /, *, api: int = 1, example: str = "", deprecated: str = "") -> Callable[[T], T]: ...
def codec(target: Any = None, /, *, api: int = 1, example: str = "", deprecated: str = "") -> Any:
    """Make a class with `encode` and `decode` a codec."""
    return _decorate("codec", target, api=api, example=example, deprecated=deprecated)


@overload
def broker(target: T, /) -> T: ...
@overload
def broker(
    name: str | None = None, /, *, api: int = 1, example: str = "", deprecated: str = ""
) -> Callable[[T], T]: ...
def broker(target: Any = None, /, *, api: int = 1, example: str = "", deprecated: str = "") -> Any:
    """Make a class that fits the contract `Broker` a broker."""
    return _decorate("broker", target, api=api, example=example, deprecated=deprecated)


def _decorate(kind: Kind, target: Any, **declared: Any) -> Any:
    """Handle the three spellings: `@sink`, `@sink(...)` and `@sink("name", ...)`."""

    def attach(to: Any, name: str | None = None) -> Any:
        setattr(to, ATTRIBUTE, _describe(kind, to, name, declared))
        return to

    if target is None or isinstance(target, str):
        return lambda to: attach(to, target)
    return attach(target)


def _describe(kind: Kind, target: Any, name: str | None, declared: dict[str, Any]) -> Plugin:
    name = name or _snake_case(target.__name__)
    if not NAME.fullmatch(name):
        raise PluginLoadError(f"plugin name {name!r}: expected lower-case words joined by underscores")
    doc = inspect.cleandoc(target.__doc__ or "")
    if inspect.isclass(target):
        # Called with the class before `attrs.define` has run when the decorators are in the wrong order.
        if not attrs.has(target):
            raise PluginLoadError(
                f"{kind} {name}: {target.__qualname__} is no attrs class; put @attrs.define under @{kind}"
            )
        options: type[Any] = target
        build: Callable[[Any], Any] = _identity
    else:
        options, build = _function_form(kind, name, target)
    summary = doc.partition("\n\n")[0].replace("\n", " ")
    return Plugin(kind=kind, name=name, options=options, build=build, summary=summary, doc=doc, **declared)


def _function_form(kind: Kind, name: str, function: Any) -> tuple[type[Any], Callable[[Any], Any]]:
    if kind not in ("producer", "transform", "sink"):
        raise PluginLoadError(
            f"{kind} {name}: write it as a class; only producers, transforms and sinks can be functions"
        )
    parameters = list(inspect.signature(function).parameters.values())
    hints = typing.get_type_hints(function, include_extras=True)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    fields = {p.name: _option_of(p, hints) for p in parameters if p.kind is p.KEYWORD_ONLY}
    most = 1 if kind in ("producer", "sink") else 2
    least = 0 if kind == "producer" else 1
    if not least <= len(positional) <= most:
        wanted = {"producer": "(context)", "transform": "(record) or (record, context)", "sink": "(record)"}[kind]
        raise PluginLoadError(
            f"{kind} {name}: got {len(positional)} positional parameters, expected {wanted}; options are keyword-only"
        )
    options = attrs.make_class("".join(map(str.title, name.split("_"))) + "Options", fields, frozen=True)

    def build(chosen: Any) -> Any:
        values = {field: getattr(chosen, field) for field in fields}
        if kind == "producer":
            return FunctionProducer(function, values, takes_context=bool(positional))
        batch = hints.get(positional[0].name) is Batch
        if kind == "transform":
            return FunctionTransform(function, values, takes_context=len(positional) == most, batch=batch)
        return FunctionSink(function, values, batch=batch)

    return options, build


def _option_of(parameter: inspect.Parameter, hints: dict[str, Any]) -> Any:
    """Turn a keyword-only parameter into an attrs field; a text in `Annotated` is its help."""
    hint = hints.get(parameter.name, Any)
    notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
    info = next((OptionInfo(note) for note in notes if isinstance(note, str)), OptionInfo(""))
    default = attrs.NOTHING if parameter.default is parameter.empty else parameter.default
    kind = typing.get_args(hint)[0] if notes else hint
    return attrs.field(default=default, kw_only=True, type=kind, metadata={OptionInfo.KEY: info})


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _identity(chosen: Any) -> Any:
    return chosen
