"""Text and JSON that are safe to print."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.cli.output import json_text, print_table, text_or_base64, time_text
from streamweaver.text import printable


@given(st.text(st.characters(codec="utf-8")))
def test_escaped_json_is_the_same_json(text: str) -> None:
    """One line without control characters, and what it means does not change."""
    line = json_text({"a": text})
    assert json.loads(line) == {"a": text}
    assert printable(line) == line
    assert "\n" not in line


@pytest.mark.parametrize("value", [{1: b"x"}, object(), {b"\xff": 1}, "\ud800", float("nan"), 1 << 80])
def test_what_json_does_not_know_is_text(value: object) -> None:
    """Whatever a codec decodes can be printed."""
    assert isinstance(json.loads(json_text(value)), object)


def test_bytes() -> None:
    """Text where they are UTF-8, else base64."""
    assert [text_or_base64(data) for data in (None, b"a", b"\xff")] == [None, "a", {"base64": "/w=="}]


def test_times() -> None:
    """UTC to the millisecond; what is no time stays a number."""
    assert time_text(1_750_000_000_123) == "2025-06-15 15:06:40.123Z"
    assert [time_text(value) for value in (-1, 1 << 60)] == ["-1", str(1 << 60)]


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns as wide as what stands in them, numbers to the right, nothing that breaks a line."""
    print_table(["name", "n"], [["a\nb", 1], [None, 1000]], right=["n"])
    assert capsys.readouterr().out == "name     n\na\\nb     1\n      1000\n"


def test_a_table_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that can be spared go, one after the other, then the last one is cut; what is piped has all of it."""
    heads, row = ["id", "a", "b", "reason"], ["0:1", "x" * 10, "y" * 10, "because " * 5]

    def shown(columns: int | None) -> list[str]:
        if columns is None:
            monkeypatch.delenv("COLUMNS", raising=False)
        else:
            monkeypatch.setenv("COLUMNS", str(columns))
        print_table(heads, [row], spare=["b", "a"])
        return capsys.readouterr().out.splitlines()

    assert shown(None)[1] == f"0:1  {'x' * 10}  {'y' * 10}  {('because ' * 5).rstrip()}"
    assert shown(69) == shown(None)
    assert shown(60)[0].split() == ["id", "a", "reason"]
    assert shown(46)[0].split() == ["id", "reason"]
    assert shown(30)[1] == "0:1  because because because …"
    assert max(map(len, shown(30))) == 30
    assert shown(5)[1] == "0:1  because bec…"
