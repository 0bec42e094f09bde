"""Text as Markdown: tables, code, and docstrings."""

import re
from collections.abc import Iterable, Sequence

NOTE = "<!-- Made from the code by `make reference`; changes belong there. -->\n"
"""What stands on top of each page."""


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return prose(text).replace("|", r"\|").replace("\n", " ")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fence(code: str, language: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{code.rstrip()}\n```\n"


_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)


def prose(text: str) -> str:
    """Return a docstring as Markdown: outside of its code, what Markdown or HTML would read as marks is text."""
    parts = _CODE.split(text)
    return "".join(part if number % 2 else _plain(part) for number, part in enumerate(parts))


def _plain(text: str) -> str:
    return re.sub(r"([<>*\[\]])", r"\\\1", text) if not re.search(r"^ {4}", text, re.MULTILINE) else text


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
