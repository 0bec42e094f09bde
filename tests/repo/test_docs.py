"""The pages of the repository: links that resolve, nothing of one machine, decisions that can be found."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs/decisions"

TEXT = {".md", ".py", ".toml", ".yaml", ".yml", ".sh", ".cfg", ".ts", ".tsx", ".html", ".css", ".json"}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
CODE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
OF_ONE_MACHINE = re.compile(
    r"(?<![\w.}*])/(?:home|root|work|Users)/\w"  # a folder of somebody's own
    r"|\b(?:192\.168|10\.\d{1,3})\.\d{1,3}\.\d{1,3}\b"  # an address inside some network
    r"|\b[\w-]+\.(?:internal|corp|lan)\b(?!\()"  # a host inside some network
)


def files(*, pages_only: bool = False) -> Iterator[Path]:
    """Go through the repository's own files: those that git knows, or would if they were added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = ROOT / name
        if path.is_file() and (path.suffix == ".md" if pages_only else path.suffix in TEXT or not path.suffix):
            yield path


PAGES = list(files(pages_only=True))


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def broken_links(page: Path, root: Path = ROOT) -> list[str]:
    """Return the links of a page that lead nowhere below `root`."""
    broken = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        where, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", where):
            continue
        target = (page.parent / where).resolve() if where else page
        anchors = (
            {slug(h) for h in HEADING.findall(CODE.sub("", target.read_text()))}
            if target.suffix == ".md" and target.exists()
            else set()
        )
        if not target.is_relative_to(root) or not target.exists() or (anchor and anchor not in anchors):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_relative_links_resolve(page: Path) -> None:
    """Every link within the repository names a file that is there, and a heading that it has."""
    assert broken_links(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    """The check above sees what is missing, file or heading, or outside, and leaves code and addresses alone."""
    (tmp_path / "there.md").write_text("# A `b`\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# A b\n[1](there.md) [2](there.md#a-b) [3](#a-b) [4](https://example.org/q)\n```\n[5](code.py)\n```\n"
        "[6](none.md) [7](#c) [8](there.md#c) [9](../)\n"
    )
    assert broken_links(page, tmp_path) == ["none.md", "#c", "there.md#c", "../"]


def test_nothing_is_of_one_machine() -> None:
    """No file names a folder, an address or a host that exists on one machine only."""
    found = [
        f"{short(path)}: {match[0]}"
        for path in files()
        for match in OF_ONE_MACHINE.finditer(path.read_text(errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("see /" + "home/me/x", True),
        ("at 192.168" + ".1.7", True),
        ("db.prod" + ".internal", True),
        ("https://example.org/home/page", False),
        ("/etc/hosts", False),
        ("127.0.0.1:9092", False),
        ("kafka" + ".lan", True),
    ],
)
def test_what_is_of_one_machine(text: str, is_found: bool) -> None:
    """The check above knows folders, addresses and hosts of one machine from what is everywhere."""
    assert bool(OF_ONE_MACHINE.search(text)) is is_found


def required_sections() -> list[str]:
    """Return the sections that the index asks of a decision page."""
    return re.findall(r"^- \*\*(\w+)\*\*:", (DECISIONS / "README.md").read_text(), re.MULTILINE)


def test_the_index_names_the_sections() -> None:
    """The rules for decision pages are read from the page that states them."""
    assert required_sections() == ["Choice", "Why", "Rejected"]


def decision_pages() -> list[Path]:
    return sorted(page for page in DECISIONS.glob("*.md") if page.name != "README.md")


def test_every_decision_is_in_the_index() -> None:
    """A decision that is not linked from the index is not found by anybody."""
    linked = set(LINK.findall((DECISIONS / "README.md").read_text()))
    assert {page.name for page in decision_pages()} - linked == set()


def test_every_decision_has_the_sections() -> None:
    """A decision says what, why, and what else was weighed, in this order."""
    headings = {page.name: re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) for page in decision_pages()}
    wrong = {
        name: found
        for name, found in headings.items()
        if [h for h in found if h in required_sections()] != required_sections()
    }
    assert wrong == {}


def test_pages_name_only_recipes_that_exist() -> None:
    """Every `make NAME` in a page is a target of the Makefile, so that no guide tells of a door that is gone."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (short(page), name)
        for page in PAGES
        for name in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {(page, name) for page, name in named if name not in targets} == set()
    assert ("CONTRIBUTING.md", "test") in named
