"""What becomes of a failed record, by the stage's `on_error`."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from core.runtime.runtime_stage import scope_of
from streamweaver import BadRecord, Record, producer, transform
from streamweaver.errors import RunError
from streamweaver.metrics import Tally
from streamweaver.runtime.failing import Original, fail


@producer
def numbers() -> Any:
    """Produce."""


@transform
def work(record: Record) -> Record:
    """Work."""
    return record


PIPELINE = """
name: t
producers:
  p: {use: numbers, to: a}
flows:
  f: {from: a, to: b, on_error: %s}
"""

ORIGINAL = Original(topic="a", partition=2, offset=7, timestamp=5, key=b"k", value=b"v", headers=(("h", b"x"),))


def failed(policy: str, tmp_path: Path, error: BaseException, lines: list[Any] | None = None) -> Any:
    scope = scope_of(PIPELINE % policy, "f", [numbers, work], tmp_path, lines)
    tally = Tally(received=1)
    letters = fail(scope, tally, "work", error, 3, ORIGINAL)
    assert scope.metrics.errors == 1
    assert tally.unsettled == 0
    return letters, tally


class Odd(Exception):
    """An error that fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "name", "reason"),
    [
        (ValueError("no hunter2"), "ValueError", "no ***"),
        (ValueError(), "ValueError", "ValueError"),
        (BadRecord(4, "odd"), "BadRecord", "odd"),
        (BadRecord(4, KeyError("x")), "KeyError", "'x'"),
        (Odd(), "Odd", "Odd"),
        (TimeoutError("no answer within 5 s"), "TimeoutError", "no answer within 5 s"),
    ],
    ids=repr,
)
def test_a_dead_letter_says_why(tmp_path: Path, error: BaseException, name: str, reason: str) -> None:
    """The class and text of what the plugin blames, without secrets, and the record as it came."""
    (letter,), tally = failed("dead_letter", tmp_path, error)
    assert (letter.error, letter.reason, letter.tries, letter.step, letter.stage) == (name, reason, 3, "work", "f")
    assert {field.name: getattr(letter, field.name) for field in attrs.fields(Original)} == attrs.asdict(
        ORIGINAL, recurse=False
    )
    assert tally.dead_lettered == 1


def test_skip_logs_the_place(tmp_path: Path) -> None:
    """There is no letter."""
    lines: list[Any] = []
    letters, tally = failed("skip", tmp_path, ValueError("hunter2"), lines)
    assert (letters, tally.skipped) == ([], 1)
    assert lines == [
        ("warning", "record skipped", {"stage": "f", "at": "a[2] offset 7", "step": "work", "reason": "***"})
    ]


def test_stop_names_the_place(tmp_path: Path) -> None:
    """The pipeline ends with it."""
    with pytest.raises(RunError) as caught:
        failed("stop", tmp_path, ValueError("hunter2"))
    assert str(caught.value) == "work failed on a[2] offset 7: ***; on_error is stop"
    assert str(attrs.evolve(ORIGINAL, offset=-1)) == "a record made for a"
