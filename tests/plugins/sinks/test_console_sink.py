"""The console sink: formats, the limit, and what a terminal must not get to see."""

import io
import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Batch, Fatal, Record, printable
from streamweaver.testing import FakeContext
from streamweaver_sinks.console import Console


def show(*values: Any, key: bytes | None = b"k", context: Any = None, **options: Any) -> None:
    sink = Console(**options)
    opened: Any = context or FakeContext()
    sink.open(opened)
    sink.write(Batch([Record(value, key=key, timestamp=1_750_000_000_123) for value in values], "orders", 1))
    sink.close()


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The default names topic, partition, timestamp and key beside the value."""
    show({"a": "ü"}, None)
    about = {"topic": "orders", "partition": 1, "timestamp": 1_750_000_000_123, "key": "k"}
    out = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in out] == [{**about, "value": {"a": "ü"}}, {**about, "value": None}]
    assert "ü" in out[0]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("text", "text"), ({"a": 1}, '{"a":1}'), (b"\xffx", "\\xffx"), ("\ud800", "\\ud800"), (2**70, f"{2**70}")],
)
def test_value_is_the_value_alone(capsys: pytest.CaptureFixture[str], value: Any, shown: str) -> None:
    """Text comes as it is, all else as JSON, and nothing fails."""
    show(value, format="value")
    assert capsys.readouterr().out == shown + "\n"


def test_pretty_is_for_reading(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, topic, key and value in columns; long values are cut; no colour where there is no terminal."""
    show({"a": 1}, "x" * 3000, format="pretty")
    first, second = capsys.readouterr().out.splitlines()
    assert first == '15:06:40.123  orders  k  {"a":1}'
    assert second.endswith("x… (+1000 characters)")


def test_pretty_is_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the only escape sequences are those of the colours."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show({"a": "\x1b]0;owned\x07[bold]"}, key=b"\x1b[2J", format="pretty")
    text = out.getvalue()
    assert "\x1b[36morders" in text
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
    assert "\\u001b[2J" in text
    assert "[bold]" in text


@pytest.mark.parametrize("form", ["json", "pretty", "value"])
def test_nothing_in_a_record_acts_on_the_terminal(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Escape sequences, line ends, C1 codes and directional marks are shown as escapes, on one line."""
    evil = "\x1b[31m\r\n\x9b2J\x7f\u202egnp.exe\u2066\u2028\u200f"
    show({"field" + evil: evil}, evil, key=evil.encode(), format=form)
    out = capsys.readouterr().out
    assert out.count("\n") == 2
    assert all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp", "Cs") for c in out)


@given(st.recursive(st.text() | st.integers(-(2**63), 2**63) | st.none(), lambda v: st.dictionaries(st.text(), v)))
def test_escaped_json_is_the_same_json(value: Any) -> None:
    """What `printable` changes inside of JSON text changes no value."""
    assert json.loads(printable(json.dumps(value, ensure_ascii=False))) == value


def test_a_value_that_is_no_json_is_shown_anyway(capsys: pytest.CaptureFixture[str]) -> None:
    """A lone surrogate or a cycle does not stop the sink."""
    cycle: list[Any] = []
    cycle.append(cycle)
    show({"a": "\ud800"}, cycle)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["value"] == "{'a': '\\ud800'}"
    assert second["value"] == "[[...]]"


def test_the_limit_shows_the_first_of_each_second_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    """With a limit the hidden ones are counted, told on standard error, and the next second starts anew."""
    context = FakeContext()
    sink = Console(format="value", limit=2)
    opened: Any = context
    sink.open(opened)
    sink.write(Batch([Record("a"), Record("b"), Record("c")]))
    sink.write(Batch([Record("d")]))
    context.clock.advance(1)
    sink.write(Batch([Record("e"), Record("f"), Record("g")]))
    sink.close()
    captured = capsys.readouterr()
    assert captured.out.split() == ["a", "b", "e", "f"]
    assert captured.err.splitlines() == [
        "(2 more records not shown: limit 2 a second)",
        "(1 more records not shown: limit 2 a second)",
    ]
    assert context.counts == {"hidden": 3}


def test_a_pipe_gets_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal and without `limit` nothing is hidden."""
    show(*range(500), format="value")
    assert len(capsys.readouterr().out.splitlines()) == 500


def test_another_encoding_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that is not UTF-8 shows what it lacks as escapes."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    show("ü€", format="value")
    assert raw.getvalue() == b"\\xfc\\u20ac\n"
    monkeypatch.undo()
    out.close()


def test_a_closed_standard_output_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the reader of the pipe has gone the stage stops, with a text that says so."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(Fatal, match="standard output was closed"):
        show("x")


def test_written_before_opened_is_an_error() -> None:
    """The verb needs `open` first; `close` does not."""
    with pytest.raises(Fatal):
        Console().write(Batch([Record(1)]))
    Console().close()
