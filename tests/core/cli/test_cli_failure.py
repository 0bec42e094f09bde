"""Errors as exit statuses and lines."""

import click
import pytest

from streamweaver.cli.failure import TRACEBACK, redact_with, status_of
from streamweaver.errors import BrokerError, ConfigError, Finding

FOR_IT = "for the traceback"


@pytest.fixture
def context() -> click.Context:
    return click.Context(click.Command("x"))


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ConfigError([Finding("b", 2, 1, "two"), Finding("a", 1, 1, "one")]), 2, "a:1:1: one\nb:2:1: two\n"),
        (BrokerError("first\nsecond"), 1, "error: first; second\n"),
        (BrokerError(), 1, "error: BrokerError\n"),
        (KeyboardInterrupt(), 3, "stopped\n"),
        (SystemExit(3), 3, ""),
        (SystemExit("text"), 1, ""),
        (
            ValueError("a\n b"),
            1,
            "internal error: ValueError: a b; run with STREAMWEAVER_TRACEBACK=1 for the traceback\n",
        ),
        # What a record holds may be quoted: a terminal must not act on it.
        (BrokerError("got \x1b[2J\u202e\nnext"), 1, "error: got \\u001b[2J\\u202e; next\n"),
        (ConfigError([Finding("a", 1, 1, "\x9bone")]), 2, "a:1:1: \\u009bone\n"),
        (
            ValueError("\x1b]0;t\x07"),
            1,
            f"internal error: ValueError: \\u001b]0;t\\u0007; run with {TRACEBACK}=1 {FOR_IT}\n",
        ),
        (ValueError(), 1, "internal error: ValueError; run with STREAMWEAVER_TRACEBACK=1 for the traceback\n"),
    ],
)
def test_each_error_is_a_status_and_lines(
    context: click.Context, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, text: str
) -> None:
    """As the table of exit statuses says, on standard error only."""
    assert status_of(error, context) == status
    assert capsys.readouterr() == ("", text)


def test_texts_are_redacted(context: click.Context, capsys: pytest.CaptureFixture[str]) -> None:
    """Once a plan is known, no error shows its secrets."""
    redact_with(context, lambda text: text.replace("secret", "***"))
    status_of(BrokerError("got secret"), context)
    status_of(ValueError("got secret"), context)
    assert "secret" not in capsys.readouterr().err


def test_the_traceback_is_there_for_those_who_ask(
    context: click.Context, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable that the message names."""
    monkeypatch.setenv("STREAMWEAVER_TRACEBACK", "1")
    with pytest.raises(ValueError, match="here") as caught:
        raise ValueError("here")
    assert status_of(caught.value, context) == 1
    assert "test_cli_failure.py" in capsys.readouterr().err
