"""Places in a stage's mapping."""

from typing import Any

from streamweaver.config import parse
from streamweaver.graph.draft import StageDraft


def test_a_key_that_is_missing_is_looked_for_at_the_stage() -> None:
    """So that every finding has a place."""
    node = parse("from: a\nto: b\n", "f.yaml")
    config: Any = None
    draft = StageDraft(name="s", kind="flow", node=node, config=config, use=None)
    assert (draft.place("to").mark.line, draft.place("use").mark.line) == (2, 1)
