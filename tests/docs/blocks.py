"""The code blocks of a page: what each is, what it is for, and whether it can be run."""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

_FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,}|~{3,})(?P<language>[\w-]*)(?P<info>.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")

COMMANDS = ("streamweaver", "make", "pip", "python", "cd", "npm", "tools/", ".venv/", "cat", "pytest")
"""What a line begins with that is a command although no `$` stands before it, in a block without a fence."""


@attrs.frozen
class Block:
    """One block of code."""

    line: int
    """Where it begins, from 1."""
    language: str
    """What the fence says; `indented` for a block without one."""
    text: str
    title: str | None = None
    """Name of the file that the block is."""
    not_run: str | None = None
    """Why it cannot be run, as the comment before it says."""


@attrs.frozen
class Command:
    """A command, and what it says."""

    words: str
    says: list[str]


def blocks(page: str) -> Iterator[Block]:
    """Go through the blocks of a page, in order."""
    lines = page.splitlines()
    number, reason = 0, None
    while number < len(lines):
        line = lines[number]
        fence = _FENCE.match(line)
        if fence:
            indent, end = len(fence["indent"]), number + 1
            while end < len(lines) and lines[end].strip() != fence["marks"]:
                end += 1
            title = _TITLE.search(fence["info"])
            text = "".join(f"{inner[indent:]}\n" for inner in lines[number + 1 : end])
            yield Block(number + 1, fence["language"], text, title[1] if title else None, reason)
            number, reason = end + 1, None
            continue
        if line.startswith("    ") and line.strip().startswith(COMMANDS) and not lines[number - 1].strip():
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield Block(number + 1, "indented", "".join(f"{x[4:]}\n" for x in lines[number:end]), None, reason)
            number, reason = end, None
            continue
        marked = _NOT_RUN.match(line)
        if marked:
            reason = marked[1]
        elif line.strip():
            reason = None
        number += 1


def commands(block: Block) -> list[Command]:
    """Return the commands of a block; a line without `$` is what the one above it says."""
    found: list[Command] = []
    text = block.text.replace("\\\n", " ")
    for line in text.splitlines():
        if block.language == "indented":
            if line.strip():
                found.append(Command(line, []))
        elif line.startswith("$ "):
            found.append(Command(line[2:], []))
        elif found:
            found[-1].says.append(line)
    return found


def fits(says: list[str], said: str) -> bool:
    """Whether a command said what the page shows; `...` stands for anything, and spaces count as one."""
    pattern = r"\s+".join(re.escape(word).replace(r"\.\.\.", ".*") for word in " ".join(says).split())
    return re.search(pattern, said, re.DOTALL) is not None if pattern else True


def title_of(path: Path, root: Path) -> str:
    """Return a page's name for a test."""
    return str(path.relative_to(root))
