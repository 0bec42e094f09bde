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


def test_the_dashboard_claims_its_port() -> None:
    """A sink on the same port is a mistake of the file, unless there is to be no dashboard."""
    door = Door
    port = PIPELINE % 2 + "dashboard: {port: %d%s}\n"

    @sink("listener")
    @attrs.frozen
    class Listener:
        """A sink that listens."""

        def claims(self) -> list[str]:
            """One port."""
            return ["port 8701"]

        def write(self, batch: Batch) -> None:
            """Write nothing."""

    text = port.replace("dashboard", "  live: {use: listener, from: a}\ndashboard")
    with pytest.raises(ConfigError) as raised:
        plan_of(text % (8701, ""), [numbers, door, Listener])
    (finding,) = raised.value.findings
    assert finding.message == "dashboard.port: port 8701 is taken by live already; choose another one"
    assert (finding.line, finding.column) == (9, 19)
    assert plan_of(text % (8701, ", enabled: false"), [numbers, door, Listener]).dashboard.options.port == 8701
    assert plan_of(text % (0, ""), [numbers, door, Listener]).dashboard.options.port == 0


def test_different_claims_are_fine() -> None:
    """A plugin may name the same thing twice, and most name nothing."""
    assert plan_of(PIPELINE % 2, [numbers, Door]).stages["two"].place.line == 7
