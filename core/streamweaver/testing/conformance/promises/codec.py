"""What a codec promises."""

import contextlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from streamweaver.contracts import Codec
from streamweaver.testing.conformance.bench import bench
from streamweaver.testing.conformance.suite import Behaviours, Need, Suite

CODEC = Behaviours()

ANYTHING = Need("needs hypothesis, which is not installed", lambda _suite: _hypothesis() is not None)

SIMPLE: frozenset[type] = frozenset({str, bytes, bool, int, float})
NESTED: frozenset[type] = frozenset({dict, list})

PLAIN = Need(
    "its values are of no types that can be made up",
    lambda suite: all(_kinds(value) <= SIMPLE | NESTED | {type(None)} for value in suite.records),
)

HOSTILE = [
    b"",
    b"\x00",
    b"\xff" * 64,
    b"{",
    b'{"a":',
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"[" * 100_000,
    b"\x91" * 100_000,
    bytes(range(256)),
    "ключ".encode("utf-16"),
]
"""Bytes of nobody's: cut off, not text, deeply nested, and such that promise gigabytes."""


def _hypothesis() -> Any:
    try:
        import hypothesis
    except ImportError:
        return None
    return hypothesis


def _same(found: Any, wanted: Any) -> bool:
    """Whether two values are the same, and of the same types all through; NaN is NaN."""
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, float) and math.isnan(wanted):
        return math.isnan(found)
    return bool(found == wanted)


def _round(codec: Codec, value: Any) -> None:
    data = codec.encode(value)
    assert type(data) is bytes, f"encode({value!r:.80}) returned {type(data).__name__}, expected bytes"
    found = codec.decode(data)
    assert _same(found, value), f"{value!r:.80} came back as {found!r:.80}"


@CODEC.promise(guards="at_least_once")
def gives_back_what_it_was_given(suite: Suite, _folder: Path) -> None:
    """The values of its suite come back as they were, types included."""
    codec: Codec = suite.build()
    for value in suite.records:
        _round(codec, value)


@CODEC.promise(ANYTHING, PLAIN, guards="at_least_once")
def gives_back_anything_of_its_kind(suite: Suite, _folder: Path) -> None:
    """Whatever is of the types of its suite's values comes back as it was (found by hypothesis)."""
    import hypothesis
    from hypothesis import strategies

    codec: Codec = suite.build()
    simple: dict[type, Any] = {
        str: strategies.text(strategies.characters(codec="utf-8")),
        bytes: strategies.binary(),
        bool: strategies.booleans(),
        int: strategies.integers(-(2**53), 2**53),
        float: strategies.floats(allow_nan=False, allow_infinity=False),
        type(None): strategies.none(),
    }
    given: Any = hypothesis.given
    settings: Any = hypothesis.settings(
        max_examples=60, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    for strategy in _alike(suite.records, simple):

        def comes_back(value: Any) -> None:
            _round(codec, value)

        settings(given(strategy)(comes_back))()


def _alike(values: Iterable[Any], simple: dict[type, Any]) -> list[Any]:
    """Return strategies for values like these, one for each type; within lists and mappings the same holds."""
    from hypothesis import strategies

    listed = list(values)
    kinds = dict.fromkeys(map(type, listed))
    found = [simple[kind] for kind in kinds if kind in simple]
    if list in kinds:
        inner = _alike((item for value in listed if isinstance(value, list) for item in value), simple)
        found.append(strategies.lists(strategies.one_of(inner)) if inner else strategies.just([]))
    if dict in kinds:
        inner = _alike((item for value in listed if isinstance(value, dict) for item in value.values()), simple)
        found.append(strategies.dictionaries(simple[str], strategies.one_of(inner)) if inner else strategies.just({}))
    return found


def _kinds(value: Any) -> set[type]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {type(value)}.union(*(_kinds(item) for item in inner))


@CODEC.promise()
def hostile_bytes_are_an_error_or_a_value(suite: Suite, _folder: Path) -> None:
    """Bytes that are not its own are refused with an exception, or are a value; nothing worse."""
    codec: Codec = suite.build()
    for data in HOSTILE:
        try:
            codec.decode(data)
        except MemoryError as error:
            raise AssertionError(f"{data!r:.60} asks for too much memory") from error
        except Exception:  # noqa: S112 - to refuse is right, whatever the class
            continue
        except BaseException as error:
            raise AssertionError(f"{data!r:.60} raises {type(error).__name__}, which ends the process") from error


@CODEC.promise()
def what_it_refused_leaves_no_trace(suite: Suite, _folder: Path) -> None:
    """After bytes that it refused it decodes the next ones as if nothing had been."""
    codec: Codec = suite.build()
    for data in HOSTILE:
        # What it raises is asked elsewhere.
        with contextlib.suppress(BaseException):
            codec.decode(data)
        for value in suite.records[:2]:
            found = codec.decode(suite.build().encode(value))
            assert _same(found, value), f"after {data!r:.40}, {value!r:.80} came back as {found!r:.80}"


@CODEC.promise()
def refuses_what_it_cannot_hold(suite: Suite, _folder: Path) -> None:
    """A value that it cannot give back is refused when it is encoded, not found out later."""
    codec: Codec = suite.build()
    for value in (object(), {"a": object()}, [{1, object()}]):
        try:
            data = codec.encode(value)
        except Exception:  # noqa: S112 - to refuse is right, whatever the class
            continue
        raise AssertionError(f"encode({value!r:.60}) gave {data!r:.60}, expected an exception")


@CODEC.promise(guards="at_least_once")
async def undecodable_bytes_cost_only_themselves(suite: Suite, folder: Path) -> None:
    """In a pipeline bytes that it cannot decode cost a dead letter each, and their neighbours none."""
    codec: Codec = suite.build()
    good = [codec.encode(value) for value in suite.records]
    bad = [data for data in HOSTILE if _refuses(codec, data)]
    mixed = [data for pair in zip(good * len(bad), bad * len(good), strict=True) for data in pair]
    async with bench(suite, folder) as made:
        end = await made.feed_bytes(mixed)
        async with made.running() as running:
            await running.settled(end)
        letters = sorted(letter.offset for letter in await made.dead_letters())
        wanted = list(range(1, len(mixed), 2))
        assert letters == wanted, f"{len(wanted)} records are undecodable, {len(letters)} are dead letters"


def _refuses(codec: Codec, data: bytes) -> bool:
    try:
        codec.decode(data)
    except Exception:  # to refuse is right, whatever the class
        return True
    except BaseException:  # asked elsewhere
        return False
    return False
