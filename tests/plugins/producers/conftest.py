"""Running a simulator by hand."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from streamweaver import Record
from streamweaver.testing import FakeContext


@pytest.fixture
def take() -> Callable[..., Any]:
    """Open a simulator and return its next `count` records, as a run would that had brought `emitted` before."""

    async def records(simulator: Any, count: int, emitted: int = 0) -> list[Record]:
        context = FakeContext(emitted=emitted)
        await simulator.open(context)
        return list(itertools.islice(simulator.produce(context), count))

    return records
