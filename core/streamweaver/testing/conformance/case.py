"""A suite as a test function, one test for each behaviour."""

from collections.abc import Callable
from pathlib import Path

from streamweaver.testing.conformance.run import behaviours, check
from streamweaver.testing.conformance.suite import Behaviour, Suite


def as_test(suite: Suite) -> Callable[..., None]:
    """Return a function that pytest collects as one test for each behaviour that applies, with its name as id."""
    import pytest  # not on top: the kit also runs from the command line, where nothing needs pytest

    chosen = [behaviour for behaviour in behaviours(suite.plugin.kind) if behaviour.left_out(suite) is None]

    @pytest.mark.parametrize("behaviour", chosen, ids=[behaviour.name for behaviour in chosen])
    def test(behaviour: Behaviour, tmp_path: Path) -> None:
        """The plugin keeps the promise."""
        wrong = ""
        try:
            check(suite, behaviour, tmp_path)
        except AssertionError as error:
            # The sentence says it; how the kit has found out is of no use to the plugin's author.
            wrong = str(error)
        if wrong:
            pytest.fail(wrong, pytrace=False)

    return test
