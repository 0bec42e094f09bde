"""`pipeline move`: what it asks for; that everything goes on is shown in tests/operate."""

from pathlib import Path
from typing import Any


def test_the_same_broker_is_no_move(run: Any, ran: Path) -> None:
    """Wrong usage, and nothing is touched."""
    said = run("pipeline", "move", "shop.yaml", "--to", "broker.use=embedded")
    assert said.status == 2
    assert "names the broker that the pipeline has already" in said.err


def test_only_the_broker_may_be_another(run: Any, ran: Path) -> None:
    """Another name would be another pipeline."""
    said = run("pipeline", "move", "shop.yaml", "--to", "name=store")
    assert said.status == 2
    assert "expected another broker" in said.err


def test_a_broker_that_does_not_answer_is_said(run: Any, ran: Path) -> None:
    """One line, status 1, and the old place is as it was."""
    before = run("topic", "list", "shop.yaml", "--json").json
    to = ("--to", "broker.use=kafka", "--to", 'broker.servers=["127.0.0.1:1"]')
    said = run("pipeline", "move", "shop.yaml", *to)
    assert said.status == 1
    assert "127.0.0.1" in said.err
    assert run("topic", "list", "shop.yaml", "--json").json == before
