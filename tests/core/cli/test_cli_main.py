"""The program: what it lists, how quickly it answers, and what its users never see."""

import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from streamweaver.cli.main import TABLE, LazyGroup, Program, cli

PROGRAM = Path(sys.executable).parent / "streamweaver"
PIPELINES = Path(__file__).parents[3] / "pipelines"

COMMANDS = {
    "pipeline": ["up", "check", "graph", "status", "schema", "init", "move"],
    "plugin": ["list", "show", "new", "test"],
    "topic": ["list", "tail"],
    "dlq": ["list", "show", "replay", "discard"],
    "log": ["check"],
}


def test_every_command_of_the_surface_is_there(run) -> None:
    """The groups and commands have the names that people script against."""
    assert sorted(TABLE) == sorted([*COMMANDS, "completion", "dashboard"])
    for group, names in COMMANDS.items():
        found = cli.get_command(click.Context(cli), group)
        assert isinstance(found, click.Group)
        assert sorted(found.commands) == sorted(names)


@pytest.mark.parametrize(
    "path", [(g, c) for g, names in COMMANDS.items() for c in names] + [("completion",), ("dashboard",)]
)
def test_the_help_of_each_command_has_an_example(run, path: tuple[str, ...]) -> None:
    """Its help shows a whole command line."""
    said = run(*path, "--help")
    assert said.status == 0
    command = f"streamweaver {' '.join(path)}"
    lines = [line.strip().removeprefix("Example: ") for line in said.out.split("Example", 1)[1].splitlines()]
    # On a line of its own, unbroken: it is there to be copied.
    assert any(command in line.removeprefix(": ") for line in lines)
    assert "\\b" not in said.out


def test_help_imports_only_what_it_shows(fresh_env: dict[str, str]) -> None:
    """Neither the program's help nor a group's loads the engine, a YAML parser, Rich, or asyncio."""
    code = (
        "import sys\n"
        "from streamweaver.cli.main import cli\n"
        "for words in ([], ['pipeline'], ['pipeline', 'up'], ['topic', 'tail'], ['dlq', 'replay']):\n"
        "    cli.main([*words, '--help'], standalone_mode=False)\n"
        "heavy = {'asyncio', 'yaml', 'rich', 'structlog', 'stevedore', 'pluggy', 'cattrs', 'sqlite3', 'uvloop'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=fresh_env, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def fastest(*arguments: object) -> float:
    """Return the seconds of the quickest of some runs: what the program takes when nothing else is in its way."""
    times = []
    for _ in range(8):
        started = time.perf_counter()
        subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    return min(times)


@pytest.mark.bench
def test_help_answers_within_150_ms() -> None:
    """The target for a small machine."""
    assert fastest("--help") <= 0.150


@pytest.mark.bench
def test_check_of_the_demo_answers_within_400_ms() -> None:
    """The target for a small machine."""
    assert fastest("pipeline", "check", PIPELINES / "demo.yaml") <= 0.400


def test_a_command_that_does_not_exist_is_suggested(run) -> None:
    """A misspelt group is answered with the one that may be meant, exit status 2."""
    said = run("pipelin")
    assert said.status == 2
    assert "did you mean 'pipeline'?" in said.err


def test_the_version_is_told(run) -> None:
    """`--version` names the program and its version."""
    assert run("--version").out.startswith("streamweaver, version ")


def test_an_internal_error_is_one_line() -> None:
    """Whatever a command raises becomes one line and exit status 1."""

    @click.command()
    def broken() -> None:
        raise ZeroDivisionError("division\nby zero")

    program = Program(name="streamweaver", table={})
    program.get_command = lambda ctx, name: broken  # type: ignore[method-assign]
    program.table["broken"] = ("", "", "")
    from click.testing import CliRunner

    result = CliRunner().invoke(program, ["broken"])
    assert result.exit_code == 1
    assert result.stderr == (
        "internal error: ZeroDivisionError: division by zero; run with STREAMWEAVER_TRACEBACK=1 for the traceback\n"
    )


def test_a_lazy_group_lists_without_importing() -> None:
    """A table that names modules that do not exist can be listed."""
    group = LazyGroup(name="g", table={"one": ("no.such.module", "x", "the first")})
    with click.Context(group) as context:
        assert group.list_commands(context) == ["one"]
        assert "the first" in group.get_help(context)
        assert group.get_command(context, "two") is None


MISUSE: list[list[str]] = [
    ["pipeline", "up"],
    ["pipeline", "up", "none.yaml"],
    ["pipeline", "up", "."],
    ["pipeline", "up", "shop.yaml", "--duration", "soon"],
    ["pipeline", "up", "shop.yaml", "--duration", "-1s"],
    ["pipeline", "up", "shop.yaml", "--duration", "0s"],
    ["pipeline", "up", "shop.yaml", "--only", "nobody"],
    ["pipeline", "up", "shop.yaml", "--only", ","],
    ["pipeline", "up", "shop.yaml", "--only", "file", "--except", "file"],
    ["pipeline", "up", "shop.yaml", "--workers", "0"],
    ["pipeline", "up", "shop.yaml", "--workers", "3"],
    ["pipeline", "up", "shop.yaml", "--set", "no-value"],
    ["pipeline", "up", "shop.yaml", "--set", "producers.file.rate=fast"],
    ["pipeline", "up", "shop.yaml", "--log-level", "loud"],
    ["pipeline", "check", "orders.ndjson"],
    ["pipeline", "check", "binary.yaml"],
    ["pipeline", "graph", "shop.yaml", "--format", "png"],
    ["pipeline", "nothing"],
    ["plugin", "list", "gadget"],
    ["plugin", "show"],
    ["plugin", "show", "nothing"],
    ["plugin", "show", "sink", "convert"],
    ["plugin", "show", "sink", "file", "x"],
    ["topic", "tail", "shop.yaml", "orders", "--from", "middle"],
    ["topic", "tail", "shop.yaml", "orders", "--partition", "-1"],
    ["topic", "tail", "shop.yaml", "orders", "--limit", "0"],
    ["topic", "tail", "none.yaml", "orders"],
    ["dlq", "show", "shop.yaml", "first"],
    ["dlq", "replay", "shop.yaml"],
    ["dlq", "replay", "shop.yaml", "--all", "--set", "nothing"],
    ["dlq", "discard", "shop.yaml", "--since", "yesterday"],
    ["log", "check"],
    ["completion", "tcsh"],
]


@pytest.mark.parametrize("arguments", MISUSE, ids=" ".join)
def test_wrong_usage_is_explained_and_writes_nothing(run, shop: Path, arguments: list[str]) -> None:
    """Exit status 2, a text on standard error, nothing on standard output, no file made, no traceback."""
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    before = sorted(path.name for path in shop.rglob("*"))
    said = run(*arguments)
    assert said.status == 2
    assert said.err.strip()
    assert not said.out
    assert sorted(path.name for path in shop.rglob("*")) == before


FAILING: list[list[str]] = [
    ["pipeline", "status", "shop.yaml"],
    ["topic", "list", "shop.yaml"],
    ["topic", "tail", "shop.yaml", "orders"],
    ["dlq", "list", "shop.yaml"],
    ["dlq", "replay", "shop.yaml", "--all"],
    ["log", "check", "."],
    ["log", "check", "shop.yaml/x"],
]


@pytest.mark.parametrize("arguments", FAILING, ids=" ".join)
def test_tools_say_that_there_is_no_data_yet(run, shop: Path, arguments: list[str]) -> None:
    """Before the first run a tool says so in one line, exit status 1, and makes nothing."""
    before = sorted(path.name for path in shop.rglob("*"))
    said = run(*arguments)
    assert said.status == 1
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert sorted(path.name for path in shop.rglob("*")) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["plugin", "list"], ["pipeline", "schema"]])
def test_output_that_cannot_be_written_is_one_line(fresh_env: dict[str, str], words: list[str]) -> None:
    """No traceback, exit status 1, whoever prints."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, *words], env=fresh_env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "error: standard output cannot be written: no space left on device\n",
    )
