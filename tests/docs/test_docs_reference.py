"""The reference pages are those that the code makes, and nothing is missing from them."""

import ast
import html
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import streamweaver
from streamweaver import describe, errors, testing
from streamweaver.cli.main import cli
from streamweaver.hooks import Hooks
from streamweaver.plugin import Kind, option_fields
from streamweaver.registry import KINDS, Registry
from streamweaver.testing import conformance, fixtures

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/reference"

FIRST_PARTY = [
    pytest.param(kind, origin.name, id=f"{kind} {origin.name}")
    for kind in KINDS
    for origin in Registry().origins(kind)
    if origin.distribution == "streamweaver"
]


def make(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the generator."""
    command = [sys.executable, "-m", "tools.reference", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)


def headings(page: str) -> set[str]:
    """Return the code in the headings of a page."""
    return set(re.findall(r"^#{1,4} .*?`([^`]+)`", (PAGES / page).read_text(), re.MULTILINE))


def plain(text: str) -> str:
    """Return text without what makes it Markdown, and with single spaces."""
    return " ".join(html.unescape(re.sub(r"\\(.)", r"\1", text)).split())


def test_no_page_is_stale() -> None:
    """What the generator would write is what is there; `make reference` writes it."""
    done = make("--check")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_what_is_stale_is_named(tmp_path: Path) -> None:
    """A page that was changed, one that is missing, and one that nothing makes any more."""
    shutil.copytree(PAGES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "errors.md").write_text("changed")
    (tmp_path / "hooks.md").unlink()
    (tmp_path / "plugins/sink-gone.md").write_text("old")
    done = make("--check", "--to", tmp_path)
    assert done.returncode == 1
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"errors.md", "hooks.md", "plugins/sink-gone.md"}


def test_every_public_name_has_its_place() -> None:
    """Each name of the facade, and each of the testing kit, is a heading; errors are on their own page."""
    public = {name for name in streamweaver.__all__ if name not in vars(errors)}
    assert public - headings("api.md") == set()
    kit = {*testing.__all__, *fixtures.__all__, *conformance.__all__}
    assert kit - headings("testing.md") == set()
    behaviours = {behaviour.name for kind in KINDS for behaviour in conformance.behaviours(kind)}
    assert behaviours - set(re.findall(r"^\| `(\w+)`", (PAGES / "testing.md").read_text(), re.MULTILINE)) == set()


def test_every_error_has_its_place() -> None:
    """Each class of `errors.py`, public or not: an error text may name any of them."""
    classes = [
        node.name for node in ast.parse(Path(errors.__file__).read_text()).body if isinstance(node, ast.ClassDef)
    ]
    assert len(classes) > 10
    assert set(classes) - headings("errors.md") == set()


def test_every_hook_has_its_place() -> None:
    """Each hook, with the names of its arguments."""
    text = (PAGES / "hooks.md").read_text()
    specified = {name: hook for name, hook in vars(Hooks).items() if not name.startswith("_")}
    assert specified.keys() - headings("hooks.md") == set()
    for name, hook in specified.items():
        arguments = ", ".join(argument for argument in hook.__code__.co_varnames if argument != "self")
        assert re.search(rf"def {name}\({re.sub(', ', r'.*?, ', arguments)}", text), name


def commands(group: click.Group, words: str) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def test_every_command_has_its_place() -> None:
    """Each command is a heading, with a row for each of its options."""
    parts = dict(re.findall(r"^## `(.+?)`\n(.*?)(?=^## |\Z)", (PAGES / "cli.md").read_text(), re.MULTILINE | re.DOTALL))
    found = dict(commands(cli, "streamweaver"))
    assert len(found) > 15
    assert found.keys() == parts.keys()
    for words, command in found.items():
        options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
        missing = [option.opts[0] for option in options if f"| `{option.opts[0]}" not in parts[words]]
        assert missing == [], words


@pytest.mark.parametrize(("kind", "name"), FIRST_PARTY)
def test_every_plugin_has_its_page(kind: Kind, name: str) -> None:
    """With each of its options and its example; a page says the same as `plugin show`."""
    page = (PAGES / f"plugins/{kind}-{name}.md").read_text()
    plugin = Registry().load(kind, name)
    assert [option for option in option_fields(plugin.options) if f"| `{option}` |" not in page] == []
    assert plugin.example.strip() in page
    told = plain(page)
    said = CliRunner().invoke(cli, ["plugin", "show", kind, name]).output
    found = describe.plugin(Registry(), kind, name)
    for sentence in (found["doc"], *describe.facts(found).values(), *(row["help"] for row in found["options"])):
        assert plain(sentence) in told
        assert plain(sentence) in plain(said)
    for row in found["options"]:
        assert f"{row['name']}: {plain(describe.takes(row))}" in plain(said)
        assert f"`{row['name']}` | {plain(describe.takes(row))} |" in told


def test_every_page_is_in_the_menu_or_in_a_list() -> None:
    """Each page that people write is in the menu of the site; the others are linked from the page that lists them."""
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    menu = set(re.findall(r"[\w/-]+\.md", str(settings["nav"])))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    listed = {
        f"reference/plugins/{name}"
        for name in re.findall(r"\]\(([\w-]+\.md)\)", (PAGES / "plugins/index.md").read_text())
    }
    elsewhere = {page for page in pages if page.startswith("decisions/")}
    assert pages - menu - listed - elsewhere == set()
    assert menu | listed <= pages
