"""`pipeline status` of pipelines that run, ran, and never ran."""

from pathlib import Path

import pytest

import streamweaver.cli.status as status_module


def test_after_a_run_it_says_when_it_was_seen(run, ran: Path) -> None:
    """A pipeline that has ended is not running, exit status 1, with its last figures."""
    said = run("pipeline", "status", "shop.yaml")
    assert said.status == 1
    assert said.out.startswith("pipeline shop: not running, last seen 20")
    assert "prices" in said.out


def test_json_has_the_figures_of_every_stage(run, ran: Path) -> None:
    """One object with running, age and the stages' snapshot."""
    found = run("pipeline", "status", "shop.yaml", "--json").json
    assert found["running"] is False
    assert found["age_ms"] >= 0
    assert found["stages"]["out"]["out"] == 8


def newest(running: bool, time: int):
    async def figures(plan, data):
        return {"pipeline": "shop", "time": time, "running": running, "stages": {}}

    return figures


@pytest.mark.parametrize(("age_ms", "running"), [(1_000, True), (5_000, True), (5_001, False), (-500, True)])
def test_silence_of_five_seconds_means_not_running(
    run, shop: Path, monkeypatch: pytest.MonkeyPatch, age_ms: int, running: bool
) -> None:
    """A pipeline that died without a word is told by the age of its figures; a clock that runs ahead is no death."""
    now = 1_750_000_000_000
    monkeypatch.setattr(status_module.time, "time_ns", lambda: now * 1_000_000)
    monkeypatch.setattr(status_module, "newest", newest(True, now - age_ms))
    said = run("pipeline", "status", "shop.yaml", "--json")
    assert said.json["running"] is running
    assert said.status == (0 if running else 1)
