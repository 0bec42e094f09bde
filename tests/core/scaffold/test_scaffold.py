"""A new plugin of each kind is complete: it installs, keeps its promises, runs in its pipeline, and is clean."""

import io
import os
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

from streamweaver.errors import PluginError
from streamweaver.plugin import Kind
from streamweaver.scaffold import create

KINDS: tuple[Kind, ...] = get_args(Kind)

LONGEST = {"transform": 6, "producer": 14, "sink": 20, "codec": 12, "broker": 6}
"""Code lines of a smallest plugin."""


def run(*command: object, cwd: Path, env: dict[str, str]) -> str:
    """Run a Python module in a folder; returns what it said, which is shown when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def code_lines(path: Path) -> int:
    """Count the lines that hold code: no blanks, comments, or texts that stand alone."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in skipped:
            begins = begins or token.type in (tokenize.NEWLINE, tokenize.INDENT)
            continue
        if not (begins and token.type == tokenize.STRING):
            lines.update(range(token.start[0], token.end[0] + 1))
        begins = False
    return len(lines)


def test_they_install_keep_their_promises_and_run(tmp_path: Path) -> None:
    """As they are made: built and installed, their own tests pass, and the pipeline of each runs to its end."""
    target, folders = tmp_path / "installed", {kind: tmp_path / kind for kind in KINDS}
    for kind, folder in folders.items():
        create(kind, f"brand_new_{kind}", folder)
    env = {**os.environ, "PYTHONPATH": str(target), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    pip = ("pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", target)
    run(*pip, *folders.values(), cwd=tmp_path, env=env)
    for kind, folder in folders.items():
        (folder / f"streamweaver_brand_new_{kind}.py").unlink()  # What is tested is what is installed.
        assert " passed" in run("pytest", "-q", "-p", "no:cacheprovider", cwd=folder, env=env)
        code = folder / "pipeline.yaml"
        code.write_text(code.read_text() + "dashboard: {enabled: false}\n")
        main = ["-c", "from streamweaver.cli.main import main; main()", "pipeline", "up", code.name, "--until-idle"]
        done = subprocess.run([sys.executable, *main], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_it_is_clean(tmp_path: Path) -> None:
    """Of every kind the code passes ruff and mypy --strict with the settings that come along."""
    for kind in KINDS:
        create(kind, f"brand_new_{kind}", tmp_path / kind)
        run("ruff", "check", "--no-cache", ".", cwd=tmp_path / kind, env=dict(os.environ))
        run("ruff", "format", "--no-cache", "--check", ".", cwd=tmp_path / kind, env=dict(os.environ))
    modules = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("*/*.py"))
    assert len(modules) == 2 * len(KINDS)
    env = {**os.environ, "MYPYPATH": os.pathsep.join(str(tmp_path / kind) for kind in KINDS)}
    run(
        "mypy",
        "--strict",
        "--explicit-package-bases",
        "--cache-dir",
        tmp_path / "cache",
        *modules,
        cwd=tmp_path,
        env=env,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_small(kind: Kind, tmp_path: Path) -> None:
    """A plugin in its smallest form, and a test of at most 8 code lines."""
    create(kind, "small", tmp_path)
    assert code_lines(tmp_path / "streamweaver_small.py") <= LONGEST[kind]
    assert code_lines(tmp_path / "test_small.py") <= 8


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_there(kind: Kind, tmp_path: Path) -> None:
    """Project, plugin, test, pipeline, README and CI file, each one complete and readable."""
    made = create(kind, "to_celsius", tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in made} == {
        *(".github/workflows/test.yml", ".gitignore", "README.md", "pipeline.yaml", "pyproject.toml"),
        *("streamweaver_to_celsius.py", "test_to_celsius.py"),
    }
    assert [path for path in made if "@name@" in path.read_text() or "@class@" in path.read_text()] == []
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["name"] == "streamweaver-to-celsius"
    assert list(project["entry-points"][f"streamweaver.{kind}s"]) == ["to_celsius"]
    assert yaml.safe_load((tmp_path / ".github/workflows/test.yml").read_text())["jobs"]
    assert yaml.safe_load((tmp_path / "pipeline.yaml").read_text())["name"] == "to_celsius_demo"


@pytest.mark.parametrize("name", ["To_Celsius", "to-celsius", "to__celsius", "3d", "class", "../up", ""])
def test_names_that_will_not_do(name: str, tmp_path: Path) -> None:
    """A name that is no plugin's name, or cannot name a function, is refused, and nothing is written."""
    with pytest.raises(PluginError, match="expected lower-case words"):
        create("transform", name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    """It says how long a name may be, and nothing is written."""
    with pytest.raises(PluginError, match="got a name of 300 characters, expected at most 60"):
        create("sink", "a" * 300, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("place", "why"), [("file/new", "Not a directory"), ("n" * 300, "File name too long")])
def test_a_place_that_cannot_be_written(place: str, why: str, tmp_path: Path) -> None:
    """One line says where, why, and what to do; these two refusals stand for every other, such as a read-only disk."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(PluginError, match=f"cannot be (written|read): {why}; choose another place with --dir"):
        create("sink", "shelf", tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_module_that_is_there_already(tmp_path: Path) -> None:
    """A name whose module is installed, such as one of ours, would hide it."""
    with pytest.raises(PluginError, match="'streamweaver_sinks' is installed already"):
        create("sink", "sinks", tmp_path / "new")


def test_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    """What stands in the way is not written over."""
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(PluginError, match="not empty: choose another place with --dir"):
        create("sink", "shelf", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
