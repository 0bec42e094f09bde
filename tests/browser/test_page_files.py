"""The built page: small, complete, without a foreign address, made of exactly its sources."""

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest

BUDGET = 60_000
"""Bytes that the first load may weigh in all, packed."""
ROOT = Path(__file__).parents[2]


def first_load(static: Path) -> set[str]:
    """Every file that the browser fetches before anybody clicks: what index.html names, and what those import."""
    found: set[str] = set()
    queue = ["index.html"]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        text = (static / name).read_text(encoding="utf-8")
        if name.endswith(".html"):
            queue += re.findall(r'(?:src|href)="\./([^"]+)"', text)
        elif name.endswith(".js"):
            queue += ["assets/" + each for each in re.findall(r'(?:from|import)\s*"\./([^"]+\.js)"', text)]
    return found


def test_page_first_load_is_small(static):
    """The first load is at most 60 kB packed, with everything that it imports."""
    files = first_load(static)
    assert any(name.endswith(".css") for name in files)
    assert sum(name.endswith(".js") for name in files) >= 1
    assert sum(len(gzip.compress((static / name).read_bytes(), 9)) for name in files) <= BUDGET


def test_page_names_no_foreign_address(static):
    """No file of the page has an address of another machine, except names of namespaces, which are never fetched."""
    for file in static.rglob("*"):
        if file.suffix in (".js", ".css", ".html", ".svg"):
            found = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\"'\s)]*", file.read_text(encoding="utf-8"))
            assert [each for each in found if not each.startswith("http://www.w3.org/")] == [], file.name


def test_page_has_no_inline_code(static):
    """The page's document has neither inline script nor inline style."""
    text = (static / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", text) == []
    assert "<style" not in text
    assert " style=" not in text


def test_page_lock_file_names_no_host():
    """The lock file tells versions and hashes, not where one machine got them from."""
    lock = json.loads((ROOT / "dashboard" / "web" / "package-lock.json").read_text(encoding="utf-8"))
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


@pytest.fixture
def copy(tmp_path, static, build_page):
    """A checkout with sources and built page, and nothing that could build it."""
    shutil.copytree(ROOT / build_page.WEB, tmp_path / build_page.WEB, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(static, tmp_path / build_page.STATIC)
    return tmp_path


def test_page_is_not_built_again_while_it_fits(copy, build_page, monkeypatch):
    """With built files that fit the sources nothing is run, so a source distribution needs no Node."""
    monkeypatch.setattr(build_page, "find_npm", lambda: None)
    for file in (copy / build_page.WEB).rglob("*"):
        file.touch()
    assert build_page.build(copy) is False


@pytest.mark.parametrize(
    "change",
    [
        lambda web, static: (web / "src" / "main.tsx").write_text("changed"),
        lambda web, static: (web / "src" / "new.ts").write_text("new"),
        lambda web, static: (web / "package-lock.json").write_text("{}"),
        lambda web, static: (static / "index.html").write_text("changed"),
        lambda web, static: next((static / "assets").glob("*.js")).unlink(),
        lambda web, static: (static / "manifest.json").write_text("[]"),
    ],
    ids=["source", "new source", "lock file", "built file", "missing file", "manifest"],
)
def test_page_must_be_built_when_something_differs(copy, build_page, monkeypatch, change):
    """A changed source, or a built file that is not as it was made, asks for a build, and says so without Node."""
    change(copy / build_page.WEB, copy / build_page.STATIC)
    monkeypatch.setattr(build_page, "find_npm", lambda: None)
    with pytest.raises(build_page.PageError, match=r"there is no npm: install Node\.js"):
        build_page.build(copy)


def test_page_without_sources_is_taken_as_it_is(copy, build_page):
    """A complete built page is good where its sources were not brought along; without both there is an error."""
    shutil.rmtree(copy / build_page.WEB)
    assert build_page.build(copy) is False
    (copy / build_page.STATIC / "index.html").unlink()
    with pytest.raises(build_page.PageError, match="not built and its sources are not here"):
        build_page.build(copy)
