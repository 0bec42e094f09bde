"""Build the release and try it as a stranger would: `make release-check`.

    python -m tools.release.check [--released] [--require 3.11,3.12]

1. Versions and the changelog keep the rules (`rules.py`); with --released they are those of a release.
2. What is committed, without git, gives a source distribution; that gives a wheel. Twice the same, bit by bit.
3. The wheel holds the page, templates, types and licence, and nothing else than the packages.
4. For each Python from 3.11 to 3.14 on this machine: a clean environment, the wheel, `pip check`, and outside of the
   repository `pipeline init`, `check` and `up`, with records coming out and the page being served.
"""

import argparse
import email.parser
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tools.release.rules import changelog_mistakes, version_mistakes

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PACKAGES = (
    "streamweaver",
    "streamweaver_producers",
    "streamweaver_transforms",
    "streamweaver_sinks",
    "streamweaver_brokers",
    "streamweaver_dashboard",
)
NEEDED = (
    "streamweaver/py.typed",
    "streamweaver/scaffold/pipeline.yaml.template",
    "streamweaver/scaffold/templates/common/pyproject.toml.template",
    "streamweaver_dashboard/static/index.html",
    "streamweaver_dashboard/static/index.html.gz",
    "streamweaver_dashboard/static/manifest.json",
)
UP_SECONDS = 90.0


class ReleaseError(Exception):
    """Something that keeps this from being a release; the text says what."""


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201


def run(*command: object, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a program; its output, or an error with it."""
    done = subprocess.run(  # noqa: S603
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise ReleaseError(f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


# -- 1: rules -------------------------------------------------------------------------------------


def check_rules(*, released: bool) -> str:
    """Check versions and the changelog; returns the version."""
    version = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])

    def found(path: str, pattern: str) -> str | None:
        match = re.search(pattern, (ROOT / path).read_text(), re.MULTILINE)
        return match and match[1]

    elsewhere = {
        "Dockerfile": found("Dockerfile", r"^ARG VERSION=(.+)$"),
        "compose/compose.yaml": found("compose/compose.yaml", r"image: streamweaver:\$\{STREAMWEAVER_VERSION:-(.+)\}"),
    }
    mistakes = version_mistakes(version, elsewhere)
    mistakes += changelog_mistakes((ROOT / "CHANGELOG.md").read_text(), version, released=released)
    if mistakes:
        raise ReleaseError("\n".join(mistakes))
    return version


# -- 2: building ----------------------------------------------------------------------------------


def copy_of_the_tree(target: Path) -> None:
    """Copy what is committed, and nothing of git; a tree without git is copied as it is."""
    archived = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True)  # noqa: S607
    if archived.returncode:
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".venv", "node_modules", ".streamweaver", "dist"))
        return
    if run("git", "status", "--porcelain", cwd=ROOT):
        say("there are changes that are not committed; what is committed is tried")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(target, filter="data")


def build(copy: Path, folder: Path) -> tuple[Path, Path]:
    """Build a source distribution from a copy of the tree, and a wheel from that alone; returns both."""
    tree, out = folder / "tree", folder / "dist"
    shutil.copytree(copy, tree)
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", out, cwd=tree)
    (sdist,) = out.glob("*.tar.gz")
    shutil.rmtree(tree)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, sdist, cwd=folder)
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- 3: contents ----------------------------------------------------------------------------------


def check_contents(sdist: Path, wheel: Path, version: str) -> None:
    """Check what the files hold."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"streamweaver-{version}.dist-info"
        metadata = email.parser.Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        manifest = json.loads(archive.read("streamweaver_dashboard/static/manifest.json"))
    missing = [name for name in (*NEEDED, f"{info}/licenses/LICENSE", f"{info}/entry_points.txt") if name not in names]
    missing += [name for name in manifest["files"] if f"streamweaver_dashboard/static/{name}" not in names]
    strangers = sorted(name for name in names if name.split("/")[0] not in (*PACKAGES, info))
    if missing or strangers:
        raise ReleaseError(f"{wheel.name}: missing {missing}, not ours {strangers[:10]}")
    if metadata["Version"] != version or metadata["License-Expression"] != "Apache-2.0" or not metadata.get_payload():
        raise ReleaseError(f"{wheel.name}: its metadata lack the version, the licence or the description")
    with tarfile.open(sdist) as archive_of_sources:
        sources = {name.partition("/")[2] for name in archive_of_sources.getnames()}
    unwanted = [name for name in sources if "node_modules" in name or name.startswith((".git/", "tests/"))]
    if unwanted or not {"pyproject.toml", "LICENSE", "CHANGELOG.md", "dashboard/build_page.py"} <= sources:
        raise ReleaseError(f"{sdist.name}: lacks what it is built of, or holds {unwanted[:5]}")


# -- 4: trying ------------------------------------------------------------------------------------


def pythons() -> Iterator[tuple[str, Path | None]]:
    """Go through the Pythons that are supported: the version, and where it is."""
    for version in PYTHONS:
        places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
        yield version, next((Path(place) for place in places if place and _works(place, version)), None)


def _works(place: str | Path, version: str) -> bool:
    try:
        said = subprocess.run(  # noqa: S603
            [place, "-c", "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
        )
    except OSError:
        return False
    return said.returncode == 0 and said.stdout.strip() == version


def try_out(python: Path, wheel: Path, version: str, folder: Path) -> str:
    """Install the wheel into a clean environment and run a pipeline there; returns what was seen."""
    began = time.monotonic()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "VIRTUAL_"))}
    run(python, "-m", "venv", folder / "env", cwd=folder, env=env)
    own, streamweaver = folder / "env/bin/python", folder / "env/bin/streamweaver"
    run(own, "-m", "pip", "install", "--quiet", wheel, cwd=folder, env=env)
    run(own, "-m", "pip", "check", cwd=folder, env=env)
    if version not in run(streamweaver, "--version", cwd=folder, env=env):
        raise ReleaseError(f"{python}: --version does not say {version}")
    place = folder / "place"
    run(streamweaver, "pipeline", "init", "place", cwd=folder, env=env)
    run(streamweaver, "pipeline", "check", "pipeline.yaml", cwd=place, env=env)
    page = _run_with_page(streamweaver, place, env)
    rows = [json.loads(line) for line in (place / "rising.ndjson").read_text().splitlines()]
    if not rows or not all(row["price"] > row["moving_average"] for row in rows):
        raise ReleaseError(f"{python}: the pipeline wrote {len(rows)} records, or wrong ones")
    return f"{len(rows)} records, page of {page} bytes, {time.monotonic() - began:.0f} s"


def _run_with_page(streamweaver: Path, place: Path, env: dict[str, str]) -> int:
    """Run the pipeline until records have come out and the page was served; returns the page's size."""
    with subprocess.Popen(  # noqa: S603
        [streamweaver, "pipeline", "up", "pipeline.yaml", "--port", "0"],
        cwd=place,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said, page = [], 0
        try:
            for line in process.stdout:
                said.append(line)
                if match := re.search(r"event=dashboard address=(\S+)", line):
                    with urllib.request.urlopen(match[1], timeout=20) as answer:  # noqa: S310  # our own
                        body = answer.read()
                    page = len(body) if b"<script" in body else 0
                    break
            deadline = time.monotonic() + UP_SECONDS
            rising = place / "rising.ndjson"
            while not (rising.exists() and rising.stat().st_size > 1_000) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            process.terminate()
        said += process.stdout.readlines()
        if process.wait(60) or not page:
            raise ReleaseError(f"the pipeline ended with {process.returncode}, page of {page} bytes:\n{''.join(said)}")
    return page


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="build the release and try it as a stranger would")
    parser.add_argument("--released", action="store_true", help="ask for the changelog of a release")
    parser.add_argument("--require", default="", metavar="VERSIONS", help="Pythons that must be here, comma-separated")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="put what was built here")
    chosen = parser.parse_args()
    try:
        version = check_rules(released=chosen.released)
        say(f"version {version}: versions and changelog keep the rules")
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            copy = Path(first) / "copy"
            copy_of_the_tree(copy)
            sdist, wheel = built = build(copy, Path(first))
            differ = [a.name for a, b in zip(built, build(copy, Path(second)), strict=True) if digest(a) != digest(b)]
            if differ:
                raise ReleaseError(f"two builds of the same tree differ: {', '.join(differ)}")
            check_contents(sdist, wheel, version)
            for path in (sdist, wheel):
                say(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, sha256 {digest(path)[:16]}…, the same twice")
            missing = _try_all(wheel, version)
            if chosen.keep:
                chosen.keep.mkdir(parents=True, exist_ok=True)
                for path in (sdist, wheel):
                    shutil.copy(path, chosen.keep)
    except ReleaseError as error:
        say(f"not a release: {error}")
        return 1
    lacking = sorted(missing & set(filter(None, chosen.require.split(","))))
    if lacking or len(missing) == len(PYTHONS):
        say(f"not tried on Python {', '.join(lacking or PYTHONS)}, which must be: install it")
        return 1
    return 0


def _try_all(wheel: Path, version: str) -> set[str]:
    """Try the wheel on every Python there is; returns those that are not here."""
    missing = set()
    for name, python in pythons():
        if python is None:
            say(f"Python {name}: not on this machine")
            missing.add(name)
            continue
        with tempfile.TemporaryDirectory() as folder:
            say(f"Python {name}: {try_out(python, wheel, version, Path(folder))}")
    return missing


if __name__ == "__main__":
    raise SystemExit(main())
