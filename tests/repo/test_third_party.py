"""A distribution of a stranger is built, installed and found, by the public route only and without a network."""

import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples/shout_plugin"


def test_its_entry_points_are_seen(with_shout_plugin: dict[str, str]) -> None:
    """Python's own metadata lists the three plugins, and each loads as a plugin of its kind and name."""
    code = (
        "from importlib.metadata import distribution\n"
        "from streamweaver.plugin import plugin_of\n"
        "for p in distribution('shout-plugin').entry_points:\n"
        "    found = plugin_of(p.load())\n"
        "    print(p.group, p.name, found.kind, found.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=with_shout_plugin, capture_output=True, text=True, check=True, timeout=60
    )
    assert sorted(done.stdout.splitlines()) == [
        "streamweaver.producers countdown producer countdown",
        "streamweaver.sinks text_file sink text_file",
        "streamweaver.transforms shout transform shout",
    ]


def test_it_is_not_seen_without_being_installed() -> None:
    """The test above tells of the installed example, not of one that happens to lie about."""
    code = "from importlib.metadata import distributions; print(*(d.name for d in distributions()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "shout-plugin" not in done.stdout.split()


def test_its_own_tests_pass(with_shout_plugin: dict[str, str], tmp_path: Path) -> None:
    """The tests that an author would write run against the installed plugin, with the author's own settings."""
    for name in ("pyproject.toml", "test_shout_plugin.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=with_shout_plugin,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
