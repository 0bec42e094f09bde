"""A stranger's plugins run by name in a pipeline, through the command line only."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples/shout_plugin"
STREAMWEAVER = Path(sys.executable).parent / "streamweaver"


def run(*arguments: object, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command line and return what it said."""
    return subprocess.run(
        [STREAMWEAVER, *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True, timeout=100
    )


def test_its_plugins_are_listed(with_shout_plugin: dict[str, str], tmp_path: Path) -> None:
    """The list names them with their distribution."""
    done = run("plugin", "list", cwd=tmp_path, env=with_shout_plugin)
    assert done.returncode == 0, done.stderr
    assert {"countdown", "shout", "text_file", "shout-plugin"} <= set(done.stdout.split())


def test_its_pipeline_runs_to_its_end(with_shout_plugin: dict[str, str], tmp_path: Path) -> None:
    """All three work together by name; every record arrives, in order, once, and the run ends by itself."""
    done = run(
        *("pipeline", "up", EXAMPLE / "pipeline.yaml", "--until-idle", "--no-dashboard", "--data", tmp_path / "data"),
        cwd=tmp_path,
        env=with_shout_plugin,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "announcements.txt").read_text() == "3: 3 TO GO\n2: 2 TO GO\n1: 1 TO GO\n"


def test_without_it_the_pipeline_is_refused(tmp_path: Path) -> None:
    """A plugin that is not installed is a mistake in the file, at its line, and nothing is started."""
    done = run("pipeline", "check", EXAMPLE / "pipeline.yaml", cwd=tmp_path, env=dict(os.environ))
    assert done.returncode == 2
    assert "pipeline.yaml:4:" in done.stdout + done.stderr
    assert "countdown" in done.stdout + done.stderr
