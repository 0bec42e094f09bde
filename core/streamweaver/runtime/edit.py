"""Small changes to a value before it is tried again: `PATH=VALUE`. Pure."""

import copy
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

WHOLE = "."
"""The path of the value as a whole."""


@attrs.frozen
class Edit:
    """Sets what stands at a path: keys of objects and indexes of lists."""

    path: tuple[str, ...]
    value: Any


def parse_edit(text: str) -> Edit:
    """Read `PATH=VALUE`; ValueError when it is none.

    PATH is keys and list indexes joined by dots, or `.` for the whole value. VALUE is JSON, or else a text as it
    stands: `price=12.5`, `symbol=AAPL`, `tags.0="7"`, `.={"a": 1}`.
    """
    path, equals, value = text.partition("=")
    parts = () if path == WHOLE else tuple(path.split("."))
    if not equals or not all(parts) or not path:
        raise ValueError(f"got {text!r}, expected PATH=VALUE, such as price=12.5 or items.0.name=x")
    try:
        return Edit(parts, msgspec.json.decode(value))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return Edit(parts, value)


def apply(edits: Sequence[Edit], value: Any) -> Any:
    """Return a copy of a value with edits applied in order; ValueError when a path leads nowhere.

    A missing key is added, also with objects on the way to it; list items are not.
    """
    try:
        value = copy.deepcopy(value)
        for edit in edits:
            value = _set(value, edit.path, copy.deepcopy(edit.value), "")
    except RecursionError as error:
        raise ValueError("it is nested too deep to be edited") from error
    return value


def added(edits: Sequence[Edit], value: Any) -> list[str]:
    """Return the paths of edits that name what a value does not have, and so add it: a field may be misspelt."""
    return [".".join(edit.path) for edit in edits if not _has(value, edit.path)]


def _has(there: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if isinstance(there, list):
            # An index that is none is an error of `apply`.
            there = there[int(part)] if part.isdigit() and int(part) < len(there) else None
        elif isinstance(there, dict) and part in there:
            there = there[part]
        else:
            return False
    return True


def _set(there: Any, path: tuple[str, ...], value: Any, at: str) -> Any:
    if not path:
        return value
    part, rest = path[0], path[1:]
    here = f"{at}.{part}" if at else part
    if isinstance(there, dict):
        there[part] = _set(there.get(part, {} if rest else None), rest, value, here)
    elif isinstance(there, list):
        if not (part.isascii() and part.isdigit() and int(part) < len(there)):
            raise ValueError(f"{here}: got a list of {len(there)} items, expected an index from 0 below that")
        there[int(part)] = _set(there[int(part)], rest, value, here)
    else:
        # Not a TypeError: it is the user's path that is wrong.
        raise ValueError(  # noqa: TRY004
            f"{here}: got {type(there).__name__} at {at or WHOLE!r}, expected an object or a list"
        )
    return there
