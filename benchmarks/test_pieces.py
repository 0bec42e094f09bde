"""The same pieces by pytest-benchmark, for its table: each group holds our piece and its reference."""

from collections.abc import Callable
from typing import Any

import pytest
from pairs import Pair, pairs

PAIRS = pairs()


@pytest.mark.bench
@pytest.mark.parametrize("whose", ["ours", "reference"])
@pytest.mark.parametrize("name", PAIRS)
def test_piece(benchmark: Any, name: str, whose: str) -> None:
    pair: Pair = PAIRS[name]
    function: Callable[[], Any] = pair[0] if whose == "ours" else pair[1]
    benchmark.group = f"{name}, 1,000 records"
    benchmark.pedantic(function, rounds=50, warmup_rounds=3)
