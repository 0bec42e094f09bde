"""The rules for versions and the changelog. Pure.

A version is MAJOR.MINOR.PATCH, perhaps with a1, b1 or rc1 behind it. The changelog begins with `## Unreleased`, then
has one section `## VERSION - DATE` for each release, newest first; sections hold groups with the names of Keep a
Changelog, none empty.
"""

import re
from datetime import date

VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:(a|b|rc)([1-9]\d*))?")
GROUPS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
_STAGES = {"a": 0, "b": 1, "rc": 2, None: 3}


def order(version: str) -> tuple[int, ...]:
    """Return what versions are sorted by; ValueError for what is none."""
    match = VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"got version {version!r}, expected MAJOR.MINOR.PATCH, such as 1.4.0 or 1.4.0rc1")
    major, minor, patch, stage, number = match.groups()
    return int(major), int(minor), int(patch), _STAGES[stage], int(number or 0)


def changelog_mistakes(text: str, version: str, *, released: bool) -> list[str]:
    """Return what is wrong with a changelog; `released` asks for a section of the version, and nothing above."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    heads = [section.partition("\n")[0].strip() for section in sections]
    mistakes = [f"the first section is {heads[:1]}, expected Unreleased"] if heads[:1] != ["Unreleased"] else []
    versions = []
    for head in heads[1:]:
        match = re.fullmatch(r"(\S+) - (\d{4}-\d{2}-\d{2})", head)
        if match is None:
            mistakes.append(f"section {head!r}, expected VERSION - YYYY-MM-DD")
            continue
        try:
            versions.append((order(match[1]), date.fromisoformat(match[2])))
        except ValueError as error:
            mistakes.append(f"section {head!r}: {error}")
    if versions != sorted(versions, reverse=True) or len({number for number, _ in versions}) < len(versions):
        mistakes.append("releases are not newest first, or one is there twice")
    for head, section in zip(heads, sections, strict=True):
        mistakes += _group_mistakes(head, section, may_be_empty=head == "Unreleased")
    numbers = [number for number, _ in versions]
    if released and numbers[:1] != [order(version)]:
        mistakes.append(f"the newest section is not of {version}: give Unreleased that name and a date")
    if released and sections and "- " in sections[0]:
        mistakes.append("Unreleased is not empty")
    if not released and numbers and numbers[0] > order(version):
        mistakes.append(f"the newest section is later than version {version}")
    return mistakes


def _group_mistakes(head: str, section: str, *, may_be_empty: bool) -> list[str]:
    groups = re.split(r"^### ", section, flags=re.MULTILINE)[1:]
    if not groups:
        return [] if may_be_empty else [f"section {head!r} says nothing"]
    mistakes = []
    for group in groups:
        name, _, body = group.partition("\n")
        if name.strip() not in GROUPS:
            mistakes.append(f"section {head!r} has a group {name.strip()!r}, expected one of {', '.join(GROUPS)}")
        if not re.search(r"^- \S", body, re.MULTILINE):
            mistakes.append(f"section {head!r}, group {name.strip()!r} is empty")
    return mistakes


def version_mistakes(version: str, elsewhere: dict[str, str | None]) -> list[str]:
    """Return the places (name to version found there) that do not name this version."""
    try:
        order(version)
    except ValueError as error:
        return [str(error)]
    return [f"{place} names {found}, expected {version}" for place, found in elsewhere.items() if found != version]
