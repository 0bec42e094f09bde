"""Text of strangers: shown, and stored, as no more than text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from streamweaver.text import _UNSAFE, classed, clean, printable, said


@given(st.text())
def test_what_is_printed_does_nothing_but_show(text: str) -> None:
    """Nothing unsafe is left, and what is safe is untouched."""
    shown = printable(text)
    assert not _UNSAFE.search(shown)
    assert shown == text or _UNSAFE.search(text)


@given(st.text(st.characters(codec="utf-8")))
def test_json_stays_the_same_json(text: str) -> None:
    """Characters beyond 16 bits come as JSON writes them."""
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_how_it_looks() -> None:
    """Line ends as people know them, everything else by its number."""
    assert printable("a\n\x1b[31m\u202e\U000e0041\ud800") == "a\\n\\u001b[31m\\u202e\\udb40\\udc41\\ud800"


@given(st.text())
def test_what_is_clean_can_be_stored(text: str) -> None:
    """It has bytes in UTF-8; what had them is untouched."""
    assert clean(text).encode().decode() == clean(text)
    assert clean(text) == text or any("\ud800" <= character <= "\udfff" for character in text)


def test_an_undecodable_file_name_stays_readable() -> None:
    """Its bytes are shown by their numbers."""
    assert clean(b"caf\xe9.csv".decode(errors="surrogateescape")) == "caf\\udce9.csv"


class Mute(Exception):
    """An error that fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_what_an_error_says() -> None:
    """Its text, or its class where it has none or fails to give it."""
    errors = ValueError("odd"), ValueError(), Mute()
    assert [said(error) for error in errors] == ["odd", "ValueError", "Mute"]
    assert [classed(error) for error in errors] == ["ValueError: odd", "ValueError: ValueError", "Mute: Mute"]
