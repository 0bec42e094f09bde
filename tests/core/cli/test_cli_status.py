"""`pipeline status` of pipelines that run, ran, and never ran."""

import asyncio
import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

import streamweaver.cli.status as status_module
from core.cli.conftest import GOOD
from core.runtime.runtime_kit import Slow
from streamweaver import BrokerContext, Rows, TopicSpec
from streamweaver.testing.broker import append
from streamweaver.testing.harness import plan_of
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.embedded.lock import RunLock


def test_after_a_run_it_says_since_when_it_is_stopped(run, ran: Path) -> None:
    """A pipeline that has ended is stopped, exit status 1, with its last figures; no stage is well, and none flows."""
    said = run("pipeline", "status", "shop.yaml")
    assert said.status == 1
    assert said.out.startswith("pipeline shop: stopped since 20")
    ends = {line.split()[0]: line.split()[-1] for line in said.out.splitlines()[2:]}
    assert ends == {"file": "ended", "prices": "stopped", "out": "stopped"}
    stages = run("pipeline", "status", "shop.yaml", "--json").json["stages"]
    assert {(stage["in_per_second"], stage["out_per_second"]) for stage in stages.values()} == {(0.0, 0.0)}


def test_what_had_failed_still_says_so(run, ran: Path) -> None:
    """Stopped or not, a failed stage shows its error: it is what has to be mended."""
    figures = run("pipeline", "status", "shop.yaml", "--json").json
    figures["stages"]["out"] |= {"health": "failed", "error": "no room left"}
    publish(figures, ended=0)
    assert "failed: no room left" in run("pipeline", "status", "shop.yaml").out


def test_nothing_flows_and_nothing_is_done_in_a_stage_at_rest(run, ran: Path) -> None:
    """Every rate is 0, whatever it is of, and what a stage was doing when it was last heard it does no more."""
    figures = run("pipeline", "status", "shop.yaml", "--json").json
    figures["stages"]["out"] |= {"errors_per_second": 2.5, "dead_letters_per_second": 1.5, "activity": "writing"}
    publish(figures, ended=0)
    stages = run("pipeline", "status", "shop.yaml", "--json").json["stages"]
    out = stages["out"]
    assert (out["errors_per_second"], out["dead_letters_per_second"], out["activity"]) == (0.0, 0.0, "stopped")
    assert stages["file"]["activity"] == "ended"


async def test_a_broker_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    """Figures that come late are no figures that there are none of."""
    plan = plan_of("name: shop\ntopics: {a: {external: true}}\nsinks: {out: {use: console, from: a}}\n")
    broker = Embedded()
    await broker.open(BrokerContext(pipeline="shop", data_dir=tmp_path))
    await broker.create([TopicSpec(name="shop.metrics")])
    await append(broker, "shop.metrics", 0, Rows([b"0"], [b'{"stages": {}}'], [1]))
    late: Any = Slow(broker, 2)
    assert await status_module._figures(late, plan, 0) == {b"0": {"stages": {}}}
    await broker.close()


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


@pytest.mark.parametrize(
    ("age_ms", "state", "running"),
    [(1_000, "running", True), (5_000, "running", True), (5_001, "unheard", None), (-500, "running", True)],
)
def test_silence_of_five_seconds_means_that_nobody_knows(
    run, shop: Path, monkeypatch: pytest.MonkeyPatch, age_ms: int, state: str, running: bool | None
) -> None:
    """Where no broker knows who runs it: dead or cut off, both look alike; a clock that runs ahead is neither."""
    now = 1_750_000_000_000
    monkeypatch.setattr(status_module.time, "time_ns", lambda: now * 1_000_000)
    monkeypatch.setattr(status_module, "newest", newest(True, now - age_ms))
    said = run("pipeline", "status", "shop.yaml", "--json")
    assert (said.json["state"], said.json["running"], said.json["silent"]) == (state, running, state == "unheard")
    assert said.status == (0 if running else 1)


def test_only_who_said_goodbye_is_stopped(run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However old its last word is; one that did not is said not to be heard of, for how long, and what that may be."""
    now = 1_750_000_000_000
    monkeypatch.setattr(status_module.time, "time_ns", lambda: now * 1_000_000)
    monkeypatch.setattr(status_module, "newest", newest(True, now - 14_000))
    said = run("pipeline", "status", "shop.yaml")
    assert said.out.startswith("pipeline shop: not heard of for 14 s, last seen 2025-06-15 ")
    assert said.err.startswith("it cannot reach the broker, or it has ended without a word")
    monkeypatch.setattr(status_module, "newest", newest(False, now - 14_000))
    assert run("pipeline", "status", "shop.yaml").out.startswith("pipeline shop: stopped since 2025-06-15 ")
    found = run("pipeline", "status", "shop.yaml", "--json").json
    assert (found["state"], found["running"], found["silent"]) == ("stopped", False, False)


def test_of_a_stage_that_is_not_heard_of_nobody_knows_how_it_does(run, ran: Path) -> None:
    """Its health, rates and lag are unknown, its counts the last that there are; what had failed or ended says so."""
    figures = run("pipeline", "status", "shop.yaml", "--json").json
    figures["stages"]["prices"] |= {"health": "failed", "error": "no room left"}
    publish(figures, **{"0": 20_000})
    lock = RunLock(Path(".streamweaver/shop"), "shop")
    stages = run("pipeline", "status", "shop.yaml", "--json").json["stages"]
    shown = run("pipeline", "status", "shop.yaml").out.splitlines()
    lock.release()
    unknown = {"in_per_second", "out_per_second", "lag_records", "lag_seconds"}
    assert all(stage[name] is None for stage in stages.values() for name in unknown)
    assert shown[-1].split() == ["out", "sink", "?", "?", "8", "0", "0", "?", "?", *shown[-1].split()[-3:-1], "unknown"]
    assert {name: stage["health"] for name, stage in stages.items()} == {
        "file": "ended",
        "prices": "failed",
        "out": "unknown",
    }
    assert stages["out"]["out"] == GOOD


def publish(figures: dict[str, Any], **ages_ms: int) -> None:
    """Publish the same figures as several workers, each some time ago; where they say stopped, nothing was wrong."""
    for stage in figures["stages"].values():
        stage["health"] = {"stopped": "ok"}.get(stage["health"], stage["health"])

    async def go() -> None:
        broker = Embedded()
        await broker.open(BrokerContext(pipeline="shop", data_dir=Path(".streamweaver/shop"), role="tool"))
        for worker, age in ages_ms.items():
            now = time.time_ns() // 1_000_000 - age
            value = json.dumps(
                {**copy.deepcopy(figures), "time": now, "running": not worker.startswith("ended")}
            ).encode()
            unit = broker.begin()
            unit.append("shop.metrics", 0, Rows([worker.encode()], [value], [now]))
            await unit.commit()
        await broker.close()

    asyncio.run(go())


def test_workers_that_run_are_taken_together(run, ran: Path) -> None:
    """The newest figures of each worker seen within five seconds; not of one that is silent, or has ended."""
    figures = run("pipeline", "status", "shop.yaml", "--json").json
    publish(figures, silent=20_000, a=3_000, ended=2_000, b=1_000)
    publish(figures, a=0)
    lock = RunLock(Path(".streamweaver/shop"), "shop")
    found = run("pipeline", "status", "shop.yaml", "--json").json
    assert (found["running"], found["silent"], found["workers"]) == (True, False, 2)
    assert found["stages"]["out"]["out"] == 2 * figures["stages"]["out"]["out"]
    assert run("pipeline", "status", "shop.yaml").out.startswith("pipeline shop: running, 2 workers\n")
    lock.release()


def test_a_pipeline_whose_process_is_gone_does_not_run(run, ran: Path) -> None:
    """It is said at once, however new its last figures are: nobody holds its data any more."""
    figures = run("pipeline", "status", "shop.yaml", "--json").json
    publish(figures, a=0)
    said = run("pipeline", "status", "shop.yaml")
    assert said.status == 1
    assert said.out.startswith("pipeline shop: not running, last seen ")


def test_a_pipeline_that_holds_its_data_and_says_nothing_is_silent(run, ran: Path) -> None:
    """Its process is named; exit status 1, since nothing is known of how it does."""
    figures = run("pipeline", "status", "shop.yaml", "--json").json
    publish(figures, a=20_000)
    lock = RunLock(Path(".streamweaver/shop"), "shop")
    said = run("pipeline", "status", "shop.yaml")
    assert said.status == 1
    assert said.out.startswith(f"pipeline shop: silent, though pipeline shop (process {os.getpid()} on ")
    found = run("pipeline", "status", "shop.yaml", "--json")
    assert (found.status, found.json["running"], found.json["silent"]) == (1, True, True)
    lock.release()


def test_all_workers_of_the_last_run_are_told_when_none_runs(run, ran: Path) -> None:
    """Counts are the sum of those that ran together, whoever ended last; what ran before them is not among them."""
    figures = run("pipeline", "status", "shop.yaml", "--json").json
    figures["started"] = time.time_ns() // 1_000_000
    for worker, out in (("ended-0", 70), ("ended-1", 7)):
        figures["stages"]["out"]["out"] = out
        publish(figures, **{worker: 0})
    said = run("pipeline", "status", "shop.yaml")
    assert said.out.splitlines()[0].endswith(" ago), 2 workers")
    found = run("pipeline", "status", "shop.yaml", "--json").json
    assert (found["state"], found["workers"], found["stages"]["out"]["out"]) == ("stopped", 2, 77)


def test_one_worker_that_has_not_said_that_it_ends_may_still_run(run, ran: Path, monkeypatch: Any) -> None:
    """Another one's goodbye is not its own; its silence counts from its own last word."""
    monkeypatch.delattr(Embedded, "holder")
    figures = run("pipeline", "status", "shop.yaml", "--json").json
    figures["started"] = time.time_ns() // 1_000_000 - 30_000
    publish(figures, **{"0": 14_000, "ended": 2_000})
    found = run("pipeline", "status", "shop.yaml", "--json").json
    assert (found["state"], found["running"], found["silent"]) == ("unheard", None, True)
    assert 14_000 <= found["age_ms"] < 44_000


def test_overrides_are_taken(run, ran: Path) -> None:
    """What `up` was given by --set `status` takes, too, checked like the file."""
    said = run("pipeline", "status", "shop.yaml", "--set", "broker.use=kafka", "--set", 'broker.servers=["nowhere:x"]')
    assert said.status in (1, 2)
    assert "stopped since" not in said.out
    assert run("pipeline", "status", "shop.yaml", "--set", "topics.orders.partitions=many").status == 2


def test_where_it_has_never_run_the_next_step_is_said(run, shop: Path) -> None:
    """Which broker was asked, and that what `up` was given by --set has to be given here, or in the environment."""
    for command in (("pipeline", "status"), ("topic", "list"), ("dlq", "list")):
        said = run(*command, "shop.yaml")
        assert said.status == 1
        assert "log.sqlite: no log here" in said.err
        assert "the broker here is embedded: what `pipeline up` is given by --set this command needs, too" in said.err
        assert "STREAMWEAVER_SET" in said.err
    Path(".streamweaver/shop").mkdir(parents=True)
    assert "STREAMWEAVER_SET" in run("pipeline", "status", "shop.yaml").err
