"""What the decorators make of functions and classes."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import attrs
import pytest

from streamweaver import (
    Batch,
    Producer,
    ProducerContext,
    Record,
    RecordSink,
    RecordTransform,
    Sink,
    Transform,
    TransformContext,
    broker,
    codec,
    producer,
    sink,
    transform,
)
from streamweaver.errors import PluginLoadError
from streamweaver.plugin import OptionInfo, option_fields, plugin_of
from streamweaver.testing import FakeContext

ONLY_KEYWORDS = "options are keyword-only"
BATCH = Batch([Record("a"), Record("b")])


def built(target: object, **options: Any) -> Any:
    """Build the running plugin as the engine does: options class, then `build`."""
    described = plugin_of(target)
    return described.build(described.options(**options))


# -- the three spellings --------------------------------------------------------------------------


def noop(record: Record) -> Record:
    """Hand it on.

    Unchanged, always.
    """
    return record


@pytest.mark.parametrize(
    ("decorate", "name"),
    [(transform, "noop"), (transform(), "noop"), (transform(blocking=True), "noop"), (transform("other"), "other")],
    ids=["bare", "called", "declared", "named"],
)
def test_spellings(decorate: Callable[[Any], Any], name: str) -> None:
    """With or without parentheses, with or without a name: the function itself comes back, described."""

    def noop(record: Record) -> Record:
        return record

    assert decorate(noop) is noop
    assert plugin_of(noop).name == name


def test_a_class_is_named_in_snake_case() -> None:
    """Without a name a class gets its own, in the form that names of plugins have."""

    @codec
    @attrs.define
    class CsvLine:
        """One line."""

    assert plugin_of(CsvLine).name == "csv_line"


def test_summary_is_the_first_paragraph() -> None:
    """The docstring is kept whole; its first paragraph, on one line, is the summary."""

    @transform
    def folded(record: Record) -> Record:
        """Hand it on,
        unchanged.

        Always.
        """  # noqa: D205 - two lines on purpose
        return record

    assert plugin_of(folded).summary == "Hand it on, unchanged."
    assert plugin_of(folded).doc == "Hand it on,\nunchanged.\n\nAlways."


def test_declarations_reach_the_description() -> None:
    """What each decorator takes is what the engine reads; the rest has its default."""

    @producer("p", api=2, resumes=True, blocking=True, key="symbol", example="{use: p}", deprecated="write q")
    def p() -> Iterator[Record]:
        yield Record(1)

    @transform("t", groups_by="by")
    def t(record: Record, *, by: str) -> Record:
        return record

    @sink("s", delivery="exactly_once", single=True)
    def s(record: Record) -> None:
        pass

    assert attrs.asdict(
        plugin_of(p), filter=attrs.filters.exclude("options", "build", "kind", "name", "summary", "doc")
    ) == {
        "api": 2,
        "example": "{use: p}",
        "deprecated": "write q",
        "delivery": "at_least_once",
        "resumes": True,
        "blocking": True,
        "single": False,
        "groups_by": None,
        "key": "symbol",
    }
    assert plugin_of(t).groups_by == "by"
    assert (plugin_of(s).delivery, plugin_of(s).single) == ("exactly_once", True)


# -- options of the function form -----------------------------------------------------------------


def test_keyword_only_parameters_are_the_options() -> None:
    """Name, type, default and help of an option come from the parameter."""

    @transform
    def cut(record: Record, *, field: Annotated[str, "field to cut"], size: int = 3, loose=None) -> Record:  # type: ignore[no-untyped-def]
        record.value = (field, size, loose)
        return record

    fields = option_fields(plugin_of(cut).options)
    assert {name: (f.type, f.default, f.metadata[OptionInfo.KEY].help) for name, f in fields.items()} == {
        "field": (str, attrs.NOTHING, "field to cut"),
        "size": (int, 3, ""),
        "loose": (Any, None, ""),
    }
    assert plugin_of(cut).options.__name__ == "CutOptions"
    assert built(cut, field="x", size=1).process_record(Record(0), None).value == ("x", 1, None)


def test_an_annotation_without_a_text_gives_no_help() -> None:
    """`Annotated` may carry other things; only a text is help."""

    @transform
    def cut(record: Record, *, size: Annotated[int, 7] = 1) -> Record:
        return record

    field = option_fields(plugin_of(cut).options)["size"]
    assert (field.type, field.metadata[OptionInfo.KEY].help) == (int, "")


# -- the running forms ----------------------------------------------------------------------------


async def test_function_transforms() -> None:
    """Record or batch, with context or without, plain or async: each fits its contract and gets what it asked for."""

    @transform
    def plain(record: Record, *, suffix: str = "!") -> Record:
        return Record(record.value + suffix)

    @transform
    def with_context(record: Record, context: TransformContext) -> Record:
        return Record((record.value, context.topic))

    @transform
    def batched(batch: Batch, *, suffix: str = "?") -> list[Record]:
        return [Record(record.value + suffix) for record in batch]

    @transform
    async def awaited(record: Record, context: TransformContext) -> Record:
        await context.sleep(1)
        return Record(record.value * 2)

    context = FakeContext()
    assert isinstance(built(plain), RecordTransform)
    assert not isinstance(built(plain), Transform)
    assert built(plain, suffix="?").process_record(Record("a"), context).value == "a?"
    assert built(with_context).process_record(Record("a"), context).value == ("a", "topic")
    assert isinstance(built(batched), Transform)
    assert not isinstance(built(batched), RecordTransform)
    assert [record.value for record in built(batched).process(BATCH, context)] == ["a?", "b?"]
    assert inspect.iscoroutinefunction(built(awaited).process_record)
    assert not inspect.iscoroutinefunction(built(plain).process_record)
    assert (await built(awaited).process_record(Record("a"), context)).value == "aa"


async def test_function_sinks() -> None:
    """Record or batch, plain or async: each fits its contract and gets what it asked for."""
    taken: list[Any] = []

    @sink
    def plain(record: Record, *, to: list[Any]) -> None:
        to.append(record.value)

    @sink
    def batched(batch: Batch) -> None:
        taken.append(len(batch))

    @sink
    async def awaited(record: Record) -> None:
        taken.append(record.value)

    assert isinstance(built(plain, to=taken), RecordSink)
    assert not isinstance(built(plain, to=taken), Sink)
    built(plain, to=taken).write_record(Record("a"))
    assert isinstance(built(batched), Sink)
    built(batched).write(BATCH)
    assert inspect.iscoroutinefunction(built(awaited).write_record)
    await built(awaited).write_record(Record("z"))
    assert taken == ["a", 2, "z"]


async def test_function_producers() -> None:
    """Plain and async generators, with the context or without, start anew with each call."""

    @producer
    def plain(*, count: int = 2) -> Iterator[Record]:
        yield from map(Record, range(count))

    @producer
    async def awaited(context: ProducerContext) -> AsyncIterator[Record]:
        yield Record(context.emitted)

    context = FakeContext(emitted=7)
    assert isinstance(built(plain), Producer)
    running = built(plain, count=3)
    assert [record.value for record in running.produce(context)] == [0, 1, 2]
    assert [record.value for record in running.produce(context)] == [0, 1, 2]
    assert [record.value async for record in built(awaited).produce(context)] == [7]


def test_two_stages_of_one_function_do_not_share_options() -> None:
    """Each build has values of its own."""

    @transform
    def add(record: Record, *, suffix: str) -> Record:
        return Record(record.value + suffix)

    first, second = built(add, suffix="1"), built(add, suffix="2")
    assert [step.process_record(Record("a"), None).value for step in (first, second)] == ["a1", "a2"]


# -- mistakes -------------------------------------------------------------------------------------


def too_many(record: Record, context: TransformContext, more: int) -> Record:
    return record


def none() -> None:
    pass


class Undefined:
    pass


@pytest.mark.parametrize(
    ("decorate", "target", "text"),
    [
        (
            transform,
            too_many,
            "transform too_many: got 3 positional parameters, expected (record) or (record, context); " + ONLY_KEYWORDS,
        ),
        (sink, too_many, "sink too_many: got 3 positional parameters, expected (record); options are keyword-only"),
        (
            producer,
            too_many,
            "producer too_many: got 3 positional parameters, expected (context); options are keyword-only",
        ),
        (
            transform,
            none,
            "transform none: got 0 positional parameters, expected (record) or (record, context); " + ONLY_KEYWORDS,
        ),
        (sink, Undefined, "sink undefined: Undefined is no attrs class; put @attrs.define under @sink"),
        (broker, noop, "broker noop: write it as a class; only producers, transforms and sinks can be functions"),
        (codec, noop, "codec noop: write it as a class; only producers, transforms and sinks can be functions"),
        (
            transform("No-Good"),
            noop,
            "plugin name 'No-Good': expected lower-case words joined by underscores",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_mistakes_are_told_where_the_author_makes_them(
    decorate: Callable[[Any], Any], target: object, text: str
) -> None:
    """Decorating what cannot be a plugin raises at once, naming kind, name and the way out."""
    with pytest.raises(PluginLoadError) as caught:
        decorate(target)
    assert str(caught.value) == text
