"""Records as views see them, made of values: for tests of everything that shows records."""

from collections.abc import Sequence
from typing import Any

from streamweaver.views.column import to_json
from streamweaver.views.seen import Seen


def make_seen(
    values: Sequence[Any], times: Sequence[int], *, keys: Sequence[bytes | None] | None = None, first: int = 0
) -> Seen:
    return Seen(
        topic="t",
        partition=0,
        offsets=range(first, first + len(values)),
        times=list(times),
        keys=list(keys) if keys is not None else [None] * len(values),
        values=list(values),
        raws=[None if value is None else to_json(value) for value in values],
    )
