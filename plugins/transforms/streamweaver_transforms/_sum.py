"""Sums of floats without any rounding error, kept as a short list of parts."""

from collections.abc import Iterable
from math import fsum


def add(parts: list[float], number: float) -> None:
    """Add to an exact sum, whose value is the sum of `parts`: non-overlapping floats, smallest first.

    Subtracting what was added before leaves no trace, so a running sum never drifts (Shewchuk's algorithm, as in
    `math.fsum`). There are two or three parts for numbers of like size, never more than some forty. Raises
    OverflowError when the sum leaves the range of floats.
    """
    kept = 0
    for part in parts:
        if abs(number) < abs(part):
            large, small = part, number
        else:
            large, small = number, part
        number = large + small
        lost = small - (number - large)
        if lost:
            parts[kept] = lost
            kept += 1
    if number - number != 0.0:  # infinity and what comes of it
        raise OverflowError("the sum is beyond the range of floats")
    parts[kept:] = [number]


def exact(numbers: Iterable[float]) -> list[float]:
    """Return the parts of the exact sum of some numbers."""
    parts: list[float] = []
    for number in numbers:
        add(parts, number)
    return parts


def total(parts: Iterable[float]) -> float:
    """Return the sum, rounded once."""
    return fsum(parts)
