"""The pages do what they say: every block of code and every command in them is run."""

import importlib
import json
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.blocks import Block, blocks, commands, fits
from docs.shell import Shell, missing
from streamweaver.config import parse, resolve, structure
from streamweaver.config.node import Findings
from streamweaver.graph.build import build
from streamweaver.plugin import Plugin
from streamweaver.registry import KINDS, RESERVED, Registry

ROOT = Path(__file__).parents[2]

NOT_RUN = {
    "docs/kafka.md": "needs a cluster; tests/plugins/brokers/kafka runs pipelines on one",
    "docs/operate": "needs other machines or containers; tests beside them run what can be run",
    "docs/dashboard-protocol.md": "shows what is sent; tests/dashboard compares it",
}
"""Pages whose commands are only looked up, not run, and where they are run instead."""

SECTIONS = {"delivery", "broker", "topics", "producers", "flows", "sinks", "dashboard", "drain_timeout"}


def pages() -> list[Path]:
    """Return the pages that people write; those made from the code have a test of their own."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    found += (ROOT / "examples").rglob("*.md")
    return sorted(path for path in found if "reference" not in path.relative_to(ROOT).parts)


def only_looked_up(page: Path) -> bool:
    name = str(page.relative_to(ROOT))
    return any(name == place or name.startswith(f"{place}/") for place in NOT_RUN)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def check_yaml(text: str, registry: Registry) -> None:
    """Check what a block of YAML can be: a pipeline, some of its sections, steps, or a plugin with its options."""
    value: Any = yaml.safe_load(text)
    if isinstance(value, list):
        value = {"flows": {"page": {"from": "input", "steps": value, "to": "output"}}}
    elif "use" in value:
        for plugin in plugins(registry, value["use"]):
            structure(parse(json.dumps(value), "page"), plugin.options, ignore=RESERVED)
        return
    elif not value.keys() & SECTIONS:
        raise AssertionError(f"got the words {sorted(value)}, expected a pipeline, a part of it, or a plugin")
    whole = {"name": "page", **value}
    if "producers" not in whole:
        stages = [*value.get("flows", {}).values(), *value.get("sinks", {}).values()]
        written = {stage["to"] for stage in value.get("flows", {}).values()}
        read = {topic for stage in stages for topic in _listed(stage["from"])} - written
        whole["topics"] = {**{name: {"external": True} for name in sorted(read)}, **whole.get("topics", {})}
    findings = Findings()
    tree = resolve(parse(yaml.safe_dump(whole, sort_keys=False), "page"), os.environ, ROOT, findings)
    if any(section in value for section in ("producers", "flows", "sinks")):
        build(tree, registry)


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def plugins(registry: Registry, name: str) -> list[Plugin]:
    """Return the plugins of a name, at least one."""
    found = [registry.load(kind, name) for kind in KINDS if name in registry.names(kind)]
    assert found, f"no plugin is named {name!r}"
    return found


def use(block: Block, shell: Shell, namespace: dict[str, Any], registry: Registry) -> None:
    """Do with a block what a reader would."""
    if block.title:
        shell.write(block.title, block.text)
        if block.language == "python":
            compile(block.text, block.title, "exec")
    elif block.language == "python":
        importlib.invalidate_caches()
        exec(compile(block.text, f"line {block.line}", "exec"), namespace)
    elif block.language == "yaml":
        check_yaml(block.text, registry)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        for part in [block.text] if block.text.count("\n}") == 1 else block.text.splitlines():
            json.loads(part)
    elif block.language in ("console", "indented"):
        run_commands(block, shell)
    elif block.language not in ("text", "mermaid"):
        raise AssertionError(f"got a block of {block.language or 'no language'}: it could not be run")


def run_commands(block: Block, shell: Shell) -> None:
    """Run the commands of a block; each must succeed, or be followed by `echo $?`, and say what the page shows."""
    found = commands(block)
    assert found, "got no command: a command begins with `$ `"
    for number, command in enumerate(found):
        if command.words.startswith("make "):
            continue  # That the recipe exists is tested with the other names; what it does, where it belongs.
        said = shell.run(command.words)
        after = found[number + 1].words if number + 1 < len(found) else ""
        assert shell.status == 0 or after == "echo $?", f"{command.words}: exit status {shell.status}\n{said}"
        assert fits(command.says, said), f"{command.words}: the page shows\n{command.says}\nit said\n{said}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, from which Python imports; what it has imported there is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", [page for page in pages() if not only_looked_up(page)], ids=short)
def test_every_block_does_what_the_page_says(
    page: Path, folder: Path, environment: Callable[[], dict[str, str]]
) -> None:
    """Files are written, commands run in order in one folder, Python is executed, YAML is checked."""
    shell, namespace, registry = Shell(folder, environment), {"__name__": "page"}, Registry()
    if page.is_relative_to(ROOT / "examples"):
        shutil.copytree(page.parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks(page.read_text()):
        if block.not_run is None:
            try:
                use(block, shell, namespace, registry)
            except Exception as error:
                raise AssertionError(f"{short(page)}:{block.line}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("page", pages(), ids=short)
def test_every_command_exists(page: Path) -> None:
    """Also where a block cannot be run: each command and option of `streamweaver` is one that there is."""
    found = [
        f"{short(page)}:{block.line}: {wrong}"
        for block in blocks(page.read_text())
        if block.language in ("console", "indented")
        for command in commands(block)
        if (wrong := missing(command.words))
    ]
    assert found == []


def test_few_blocks_are_not_run() -> None:
    """Each says why; should they become many, the pages are no longer known to be right."""
    marked = [block for page in pages() if not only_looked_up(page) for block in blocks(page.read_text())]
    reasons = [block.not_run for block in marked if block.not_run]
    assert all(len(reason) > 10 for reason in reasons)
    assert len(reasons) <= len(marked) / 8
