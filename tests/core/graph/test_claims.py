"""What plugins want for themselves alone."""

from typing import Any

import attrs
import pytest

from streamweaver import Batch, option, producer, sink
from streamweaver.errors import ConfigError
from streamweaver.testing.harness import plan_of


@producer
def numbers() -> Any:
    """Produce."""


@sink("door")
@attrs.frozen
class Door:
    """A sink that wants a number for itself."""

    number: int = option(help="number")

    def claims(self) -> list[str]:
        """Two doors have two numbers."""
        return [f"number {self.number}"] * 2

    def write(self, batch: Batch) -> None:
        """Write nothing."""


PIPELINE = """
name: t
producers:
  p: {use: numbers, to: a}
sinks:
  one: {use: door, from: a, number: 1}
  two: {use: door, from: a, number: %d}
"""


def test_two_that_claim_the_same_are_a_mistake() -> None:
    """It is told at the later one, which names the earlier."""
    with pytest.raises(ConfigError) as raised:
        plan_of(PIPELINE % 1, [numbers, Door])
    (finding,) = raised.value.findings
    assert (finding.line, finding.column) == (7, 14)
    assert finding.message == "sinks.two.use: number 1 is taken by one already; choose another one"


def test_different_claims_are_fine() -> None:
    """A plugin may name the same thing twice, and most name nothing."""
    assert plan_of(PIPELINE % 2, [numbers, Door]).stages["two"].place.line == 7
