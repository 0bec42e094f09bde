"""`--health-file`: its age says whether all is well."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streamweaver.cli.health_file import HealthFile

OLD = 1_000_000_000


def figures(*healths: str, published: int | None = 1_000_000) -> dict[str, Any]:
    stages = {f"stage{number}": {"health": health} for number, health in enumerate(healths)}
    return {"time": 1_000_000, "published": published, "stages": stages}


@pytest.mark.parametrize(
    ("healths", "is_renewed"),
    [(("ok",), True), (("ok", "ended"), True), (("ok", "stuck"), False), (("failed",), False)],
)
def test_it_is_renewed_while_every_stage_is_well(tmp_path: Path, healths: tuple[str, ...], is_renewed: bool) -> None:
    """One stage that is stuck or failed lets the file grow old; one that has ended is well."""
    path = tmp_path / "healthy"
    health = HealthFile(path)
    health.metrics_published(figures("ok"))
    os.utime(path, (OLD, OLD))
    health.metrics_published(figures(*healths))
    assert (path.stat().st_mtime > OLD) is is_renewed


@pytest.mark.parametrize(
    ("published", "is_renewed"),
    [(1_000_000, True), (1_000_400, True), (995_000, True), (994_999, False), (None, False)],
)
def test_it_grows_old_while_nothing_can_be_published(tmp_path: Path, published: int | None, is_renewed: bool) -> None:
    """Stages that are well, as idle producers are, say nothing of a broker that is away; 5 seconds of it do no harm."""
    path = tmp_path / "healthy"
    HealthFile(path).metrics_published(figures("ok", published=published))
    assert path.exists() is is_renewed


def test_what_an_earlier_run_left_is_removed(tmp_path: Path) -> None:
    """Before the first figures, and after the end, there is no file."""
    path = tmp_path / "healthy"
    path.touch()
    health = HealthFile(path)
    assert not path.exists()
    health.metrics_published(figures("ok"))
    assert path.exists()
    health.end()
    assert not path.exists()


def test_a_file_that_holds_something_is_left_alone(run: Any, shop: Path) -> None:
    """A wrong name costs nobody a file: exit status 2."""
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--health-file", "shop.yaml")
    assert said.status == 2
    assert "shop.yaml holds something" in said.err
    assert Path("shop.yaml").stat().st_size


def test_a_place_that_cannot_be_written_is_wrong_usage(run: Any, shop: Path) -> None:
    """Nothing is started: exit status 2, with the path."""
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--health-file", "none/healthy")
    assert said.status == 2
    assert "none/healthy: no such file or directory" in said.err
    assert not Path(".streamweaver").exists()


def test_a_run_renews_it_and_removes_it(shop: Path, fresh_env: dict[str, str]) -> None:
    """It appears while the pipeline runs, and is gone when the process has ended."""
    path = shop / "healthy"
    command = (Path(sys.executable).with_name("streamweaver"), "pipeline", "up", "shop.yaml", "--health-file", path)
    with subprocess.Popen(command, cwd=shop, env=fresh_env, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert path.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not path.exists()
