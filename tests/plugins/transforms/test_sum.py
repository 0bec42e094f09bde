"""Exact sums."""

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver_transforms._sum import add, exact, total

floats = st.floats(-1e300, 1e300)


@given(st.lists(floats, max_size=60), st.lists(floats, max_size=30))
def test_adding_and_taking_away_leaves_the_exact_sum(stay: list[float], leave: list[float]) -> None:
    """The sum equals fsum over what is left, in whatever order numbers came and went."""
    parts: list[float] = []
    for number in leave + stay:
        add(parts, number)
    for number in leave:
        add(parts, -number)
    assert total(parts) == fsum(stay)
    assert total(exact(stay)) == fsum(stay)


def test_overflow_raises() -> None:
    """A sum beyond the range of floats is an error."""
    with pytest.raises(OverflowError, match="beyond the range"):
        exact([1.7e308, 1.7e308])
