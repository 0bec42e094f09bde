"""Log lines: form, level, redaction, and the noise of other libraries."""

import json
import logging

import pytest

from streamweaver.cli.logs import KINDS, Libraries, Logger, taken_over


def as_it_is(text: str) -> str:
    return text


def test_text_lines_are_key_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level and event first; values with spaces in quotes; all on standard error."""
    Logger("info", "text", as_it_is)("warning", "went wrong", stage="prices", why="no table")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("timestamp=20")
    assert err.endswith('level=warning event="went wrong" stage=prices why="no table"\n')


def test_json_lines_are_objects(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a plugin logs, one object a line."""
    Logger("info", "json", as_it_is)("info", "x", value=object, text="a\nb")
    found = json.loads(capsys.readouterr().err)
    assert (found["event"], found["level"], found["text"]) == ("x", "info", "a\nb")


def test_lines_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """With `warning`, information is not written."""
    log = Logger("warning", "text", as_it_is)
    log("info", "quiet")
    log("error", "loud")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_text_is_redacted(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Events, fields and what hides within them."""
    log = Logger("info", form, lambda text: text.replace("hunter2", "***"))  # type: ignore[arg-type]
    log("info", "got hunter2", why={"token": ["hunter2"]})
    assert "hunter2" not in capsys.readouterr().err


def test_nothing_forges_a_line_or_acts_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Line breaks and escape sequences are escaped, also in the names of fields."""
    Logger("info", "text", as_it_is)("info", "a\nlevel=error", **{"b c": "\x1b[2J", "": 1})
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_repeated_lines_of_libraries_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """One of a kind in ten seconds, however many come, and then how many were left out."""
    now = [0.0]
    handler = Libraries(Logger("info", "json", as_it_is), lambda: now[0])

    def comes(number: int) -> None:
        handler.handle(
            logging.makeLogRecord({"name": "aiokafka", "msg": "no node %s", "args": (number,), "levelno": 40})
        )

    for number in range(5):
        comes(number)
    now[0] = 10.0
    comes(7)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("repeated"), line["level"]) for line in lines] == [
        ("no node 0", None, "error"),
        ("no node 7", 4, "error"),
    ]


def test_memory_for_kinds_of_lines_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    """A library that fills in its texts by itself does not fill the memory."""
    handler = Libraries(Logger("error", "text", as_it_is), lambda: 0.0)
    for number in range(3 * KINDS):
        handler.handle(logging.makeLogRecord({"name": "x", "msg": f"line {number}", "levelno": 30}))
    assert 0 < len(handler._last) <= KINDS


def test_libraries_show_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """The class and text of an exception are enough; information is left out; all is as before afterwards."""
    before = logging.getLogger().handlers[:]
    with taken_over(Logger("info", "text", as_it_is)):
        logging.getLogger("asyncio").info("nothing")
        try:
            raise ValueError("lost")
        except ValueError:
            logging.getLogger("asyncio").exception("Task failed\nwith details")
        logging.getLogger("odd").warning("%d", "no number")
    err = capsys.readouterr().err
    assert 'event="Task failed" library=asyncio error="ValueError: lost"' in err
    assert err.count("\n") == 2
    assert logging.getLogger().handlers == before
