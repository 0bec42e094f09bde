"""Text of strangers: what a terminal would act on, and what UTF-8 has not, as escapes."""

import re

# Control characters (C0, C1), directional marks, line separators, invisible tags and lone surrogates: what could move
# the cursor, colour, reorder or hide text on a terminal.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)

_SHORT = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Escape everything that a terminal could act on, as `\uXXXX`; JSON text stays the same JSON."""
    return _UNSAFE.sub(_escaped, text)


def clean(text: str) -> str:
    r"""Escape what UTF-8 has not, lone surrogates (such as Python makes of an undecodable file name), as `\udcXX`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def said(error: BaseException) -> str:
    """Return what an error says; the name of its class where it says nothing, or fails to."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # `__str__` is as much a stranger's as the rest
        return type(error).__name__


def classed(error: BaseException) -> str:
    """Return an error's class and what it says."""
    return f"{type(error).__name__}: {said(error)}"


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
