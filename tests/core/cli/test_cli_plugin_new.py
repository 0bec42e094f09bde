"""`plugin new`."""

from pathlib import Path
from typing import Any

import pytest


def test_new_says_what_it_has_made_and_what_is_next(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files go to standard output, the next step to standard error; the folder is named like the distribution."""
    monkeypatch.chdir(tmp_path)
    said = run("plugin", "new", "transform", "to_celsius")
    assert said.status == 0
    made = [Path(line) for line in said.out.splitlines()]
    assert Path("streamweaver-to-celsius/pyproject.toml") in made
    assert all(path.is_file() for path in made)
    assert (
        "cd streamweaver-to-celsius && pip install --upgrade pip && pip install -e . --group test && pytest" in said.err
    )
    readme = Path("streamweaver-to-celsius/README.md").read_text()
    assert "pip install -e . --group test" in readme


def test_new_in_another_place(run: Any, tmp_path: Path) -> None:
    """--dir says where; the next step can be pasted into a shell, whatever the folder's name."""
    said = run("plugin", "new", "sink", "shelf", "--dir", tmp_path / "over here")
    assert said.status == 0
    assert (tmp_path / "over here/streamweaver_shelf.py").is_file()
    assert f"cd '{tmp_path}/over here' && pip" in said.err


def test_new_with_a_name_that_will_not_do(run: Any, tmp_path: Path) -> None:
    """Wrong usage: exit status 2, and a hint."""
    said = run("plugin", "new", "sink", "My-Sink", "--dir", tmp_path / "here")
    assert said.status == 2
    assert "expected lower-case words joined by underscores" in said.err
    assert not (tmp_path / "here").exists()


def test_new_warns_of_a_name_that_is_taken(run: Any, tmp_path: Path) -> None:
    """Two plugins of one kind and name cannot be used, so who makes the second one is told who has the first."""
    said = run("plugin", "new", "transform", "filter", "--dir", tmp_path / "here")
    assert said.status == 0
    assert "warning: streamweaver" in said.err
    assert "has a transform 'filter' already" in said.err
    assert "warning" not in run("plugin", "new", "sink", "filter", "--dir", tmp_path / "there").err


def test_new_where_nothing_can_be_written(run: Any, tmp_path: Path) -> None:
    """One line, exit status 2."""
    (tmp_path / "file").write_text("in the way")
    said = run("plugin", "new", "sink", "shelf", "--dir", tmp_path / "file/new")
    assert said.status == 2
    assert "cannot be" in said.err
    assert "internal error" not in said.err
