"""A reader at work: types the commands of a page into a folder, with the files that the page gives."""

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs
import click
from click.testing import CliRunner

from streamweaver.cli.main import cli

_SHELL = re.compile(r"[|&;<>$`*]|\bcd\b")

TIMEOUT_SECONDS = 100

Environment = Callable[[], dict[str, str]]


@attrs.define
class Shell:
    """Runs commands one after the other, remembering the folder and the last exit status.

    A plain `streamweaver` command runs in this process, which is what its entry point would do, as long as nothing was
    installed; everything else is given to bash, in an environment in which things can be installed.
    """

    folder: Path
    environment: Environment
    status: int = 0
    installed: bool = False

    def run(self, command: str) -> str:
        """Run a command; returns what it said on both channels."""
        words = shlex.split(command, comments=True)
        if words == ["echo", "$?"]:
            status, self.status = self.status, 0
            return f"{status}\n"
        if words[:1] == ["cd"] and len(words) == 2:
            self.folder = (self.folder / words[1]).resolve()
            self.status = 0 if self.folder.is_dir() else 1
            return ""
        if words[:1] == ["streamweaver"] and not self.installed and not _SHELL.search(command):
            with contextlib.chdir(self.folder):
                result = CliRunner().invoke(cli, words[1:], prog_name="streamweaver")
            self.status = result.exit_code
            return result.output
        self.installed = self.installed or words[:2] == ["pip", "install"]
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        self.status = done.returncode
        return done.stdout

    def write(self, name: str, text: str) -> None:
        """Write a file of the page's."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def missing(command: str) -> str | None:
    """Say which word of a `streamweaver` command does not exist; None when all do, or it is another command."""
    words = shlex.split(command.split("|")[0], comments=True)
    while words and "=" in words[0]:
        del words[0]
    if not words or words[0].rpartition("/")[2] != "streamweaver":
        return None
    group: click.Command = cli
    words = words[1:]
    context = cli.make_context("streamweaver", [], resilient_parsing=True)
    while words and isinstance(group, click.Group):
        name = words.pop(0)
        if name.startswith("-"):
            return None
        found = group.get_command(context, name)
        if found is None:
            return f"no command {name!r}"
        group = found
    known = {"-h", "--help", *(name for option in group.params for name in (*option.opts, *option.secondary_opts))}
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    return next((f"no option {name!r} of {group.name}" for name in options if name not in known), None)


def virtual_environment(folder: Path, parent: list[str], scripts: dict[str, str]) -> Path:
    """Make an environment that has what this one has, and into which more can be installed; returns its programs.

    `parent` are the folders in which this one's packages are, `scripts` the programs and the Python that each runs.
    """
    import sys
    import venv

    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # `addsitedir`, and not only the path: so the editable installations in there are found as well.
    (site / "parent.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in parent))
    programs = folder / "bin"
    for name, code in scripts.items():
        script = programs / name
        script.write_text(f"#!{programs / 'python'}\nimport sys\n{code}\n")
        script.chmod(0o755)
    assert Path(sys.prefix) != folder
    return programs


def without_network(programs: Path) -> dict[str, str]:
    """Return the variables for working in such an environment: pip takes what is there, and asks no index."""
    return {
        # Programs of the pages are not what coverage is asked about, and it would double their time.
        **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(programs.parent),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the answer to "build isolation?"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_QUIET": "1",
        "PYTEST_ADDOPTS": "-q -p no:cacheprovider",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # Authors have not the plugins of these tests, which take time to load.
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
    }
