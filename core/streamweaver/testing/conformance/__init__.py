"""The conformance kit: what a plugin promises by its kind and by what it declares, as tests of one line.

    from streamweaver.testing import conformance
    from my_package import shout

    test_shout = conformance.transform(shout, options={"field": "content"}, records=[{"content": "hi"}])

pytest collects that as one test for each promise. Each runs in a stage of the real engine, on an embedded log, in an
empty folder that is also the working folder: a relative path among the options is a fresh file each time. `options`
are what would stand beside `use` in a pipeline file. `prepare` is called in the folder before the plugin is built.
All hooks may be plain functions or `async` ones. `streamweaver plugin test NAME` checks an installed plugin.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from streamweaver.plugin import Kind, plugin_of
from streamweaver.testing.conformance.case import as_test
from streamweaver.testing.conformance.run import behaviours, check, guarantee, run
from streamweaver.testing.conformance.suite import Behaviour, Hook, Suite, Verdict, numbered

Test: TypeAlias = Callable[..., None]
"""A test function of pytest's, one test for each behaviour; assign it to a name that begins with `test_`."""

__all__ = [
    "VALUES",
    "Behaviour",
    "Suite",
    "Test",
    "Verdict",
    "behaviours",
    "broker",
    "check",
    "codec",
    "guarantee",
    "producer",
    "run",
    "sink",
    "transform",
]


def producer(
    target: object,
    *,
    options: Mapping[str, Any] | None = None,
    prepare: Hook | None = None,
    more: Hook | None = None,
    patience_seconds: float = 10.0,
) -> Test:
    """Test a producer, with options that make it bring the same each time (a seed, a file that `prepare` writes).

    `more` makes more input appear (appends to the file that is followed), for one that waits for news.
    """
    return as_test(_suite("producer", target, options, prepare=prepare, more=more, patience_seconds=patience_seconds))


def transform(
    target: object,
    *,
    records: Sequence[Any],
    options: Mapping[str, Any] | None = None,
    bad: Any = ...,
    prepare: Hook | None = None,
    patience_seconds: float = 10.0,
) -> Test:
    """Test a transform over values that it takes, better several than one, and `bad`, a value that it must refuse."""
    if not records:
        raise ValueError("conformance.transform: got no records, expected at least one value that it takes")
    return as_test(
        _suite(
            *("transform", target, options),
            records=list(records),
            record=lambda number: records[number % len(records)],
            bad=bad,
            prepare=prepare,
            patience_seconds=patience_seconds,
        )
    )


def sink(
    target: object,
    *,
    options: Mapping[str, Any] | None = None,
    read: Callable[[Any], Any] | None = None,
    record: Callable[[int], Any] = numbered,
    bad: Any = ...,
    fail: Hook | None = None,
    restore: Hook | None = None,
    prepare: Hook | None = None,
    patience_seconds: float = 10.0,
) -> Test:
    """Test a sink.

    `record(n)` makes the value of the n-th record, by default `{"n": n, "text": "record <n>"}`. `read(options)` gets
    the plugin's options, as its class or function has them, and returns the numbers of the records that are stored,
    as often as each is, in their order; FileNotFoundError stands for none. Only a live view can be tested without.
    `bad` is a value that the sink must refuse. `fail` and `restore` take its destination away and give it back.
    """
    suite = _suite(
        *("sink", target, options),
        read=read,
        record=record,
        bad=bad,
        fail=fail,
        restore=restore,
        prepare=prepare,
        patience_seconds=patience_seconds,
    )
    if read is None and suite.plugin.delivery != "best_effort":
        raise ValueError(
            f"conformance.sink: {suite.plugin.name} promises {suite.plugin.delivery}, which only reading back shows: "
            "expected read=, a function that returns the numbers of the stored records"
        )
    return as_test(suite)


VALUES: tuple[Any, ...] = (
    {"text": "ключ-鍵-🔑", "n": 1, "x": -0.5, "yes": True, "nothing": None, "list": [1, [], {"": ""}]},
    [1, "two", {}],
    "text",
    0,
    -1.5,
    False,
)
"""What JSON can hold: the values that a codec is tested with, unless it is for others."""


def codec(target: object, *, options: Mapping[str, Any] | None = None, values: Sequence[Any] = VALUES) -> Test:
    """Test a codec over values that it takes, and with hypothesis installed over further ones of their types."""
    return as_test(_suite("codec", target, options, records=list(values)))


def broker(target: object, *, options: Mapping[str, Any] | None = None, prepare: Hook | None = None) -> Test:
    """Test a broker with the behaviour suite that the first-party ones pass."""
    return as_test(_suite("broker", target, options, prepare=prepare))


def _suite(kind: Kind, target: object, options: Mapping[str, Any] | None, **said: Any) -> Suite:
    plugin = plugin_of(target)
    if plugin.kind != kind:
        raise ValueError(f"conformance.{kind}: {plugin.name} is a {plugin.kind}: use conformance.{plugin.kind}")
    return Suite(plugin=plugin, targets=(target,), options=dict(options or {}), **said)
