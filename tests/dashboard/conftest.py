"""What the dashboard's tests share: batches of records made of values."""

from collections.abc import Sequence
from typing import Any

import pytest

from streamweaver_dashboard.column import to_json
from streamweaver_dashboard.seen import Seen


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


@pytest.fixture(scope="session")
def seen():
    return make_seen
