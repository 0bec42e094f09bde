"""Keeping records as they are, since what is tried with them may change them in place before it fails."""

import copy
import marshal
from collections.abc import Callable
from typing import Any

from streamweaver.record import Record


def copier(records: list[Record]) -> Callable[[], list[Record]]:
    """Return a function that makes the records anew, as they are now."""
    fields = [(r.key, r.timestamp, r.headers, r.position, r.origin) for r in records]

    def remake(values: list[Any]) -> list[Record]:
        return [Record(value, *others) for value, others in zip(values, fields, strict=True)]

    values = [record.value for record in records]
    try:
        # Several times quicker than deepcopy; takes plain values only, and leaves their types as they are.
        frozen = marshal.dumps(values)
    except ValueError:
        held = copy.deepcopy(values)
        return lambda: remake(copy.deepcopy(held))
    return lambda: remake(marshal.loads(frozen))  # noqa: S302 - made three lines above


def restorer(record: Record) -> Callable[[], None]:
    """Return a function that brings a record itself back to what it is now."""
    again = copier([record])

    def restore() -> None:
        (before,) = again()
        record.value, record.key, record.timestamp = before.value, before.key, before.timestamp
        record.headers, record.position, record.origin = before.headers, before.position, before.origin

    return restore
