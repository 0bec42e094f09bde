"""What the tests of the conformance kit share: what it finds fault with in a plugin."""

from collections.abc import Callable
from typing import Any

import pytest

from streamweaver.plugin import plugin_of
from streamweaver.testing.conformance import Suite, run

Caught = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def caught() -> Caught:
    """Returns a function that runs the whole suite of a plugin: names of the behaviours it fails, and how."""

    def fails(target: object, **said: Any) -> dict[str, str]:
        said = {"patience_seconds": 1.0, **said}
        verdicts = run(Suite(plugin=plugin_of(target), targets=(target,), **said))
        return {verdict.behaviour.name: verdict.reason for verdict in verdicts if verdict.outcome == "failed"}

    return fails
