"""The image by itself: what is in it, that two builds are alike, extras, and signals."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from compose.stack import ROOT, docker, until

pytestmark = pytest.mark.timeout(900)
OWN_MB = 60
"""What we add to the base image, at most."""
CONTENT = "find /opt/streamweaver /etc/passwd /etc/group -type f | sort | xargs sha256sum | sha256sum"


def sh(image: str, script: str, *options: str) -> str:
    return docker("run", "--rm", "--read-only", *options, "--entrypoint", "sh", image, "-c", script)


@pytest.fixture
def name() -> Iterator[str]:
    """A name for an image or container, removed afterwards."""
    made = f"streamweaver-test-{uuid.uuid4().hex[:8]}"
    yield made
    subprocess.run(["docker", "rm", "-f", made], capture_output=True)
    subprocess.run(["docker", "rmi", "-f", made], capture_output=True)


def test_it_holds_what_runs_and_nothing_that_builds(image: str) -> None:
    """The page is in it; pip, compilers' output folders and the sources are not; it is small."""
    assert "index.html" in sh(image, "ls /opt/streamweaver/lib/python3*/site-packages/streamweaver_dashboard/static")
    assert sh(image, "ls /opt/streamweaver/bin; ls -d /src /tools /wheels 2>&1 || true").count("pip") == 0
    layers = docker(
        "history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image
    ).splitlines()
    own = next(line for line in layers if "/opt/streamweaver" in line and "COPY" in line)
    assert int(own.split()[0]) / 1e6 < OWN_MB


def test_two_builds_hold_the_same(image: str, name: str, standins: ModuleType) -> None:
    """Built again without any cache, every file of ours is the same."""
    standins.run("docker", "build", "-q", "--no-cache", "-t", name, ROOT, env=standins.classic())
    assert sh(name, CONTENT) == sh(image, CONTENT)


def test_extras_and_plugins_come_in_by_build_arguments(name: str, standins: ModuleType) -> None:
    """The extra's package can be imported, and a pipeline's help still answers."""
    arguments = ("--build-arg", "EXTRAS=compression", "--build-arg", "PLUGINS=humanize==4.12.3")
    standins.run("docker", "build", "-q", *arguments, "-t", name, ROOT, env=standins.classic())
    assert sh(name, "python3 -c 'import cramjam, humanize; print(humanize.__version__)'").strip() == "4.12.3"
    assert "streamweaver, version" in docker("run", "--rm", name, "--version")


def test_a_pipeline_in_it_is_healthy_and_drains_on_a_stop(image: str, name: str, tmp_path: Path) -> None:
    """Without compose, with a read-only root: its health is seen, its data is in the volume, a stop drains with 0."""
    tmp_path.chmod(0o755)
    (tmp_path / "p.yaml").write_text(
        "name: small\nproducers: {trades: {use: stock_trades, to: trades, rate: 50}}\n"
        "sinks: {out: {use: file, from: trades, path: out.ndjson}}\n"
    )
    mount = ("-v", f"{tmp_path / 'p.yaml'}:/etc/p.yaml:ro")
    docker("run", "-d", "--init", "--read-only", "--name", name, *mount, image, "pipeline", "up", "/etc/p.yaml")
    until(lambda: docker("inspect", "--format", "{{.State.Health.Status}}", name).strip() == "healthy", "its health")
    began = time.monotonic()
    docker("stop", "--time", "30", name)
    assert time.monotonic() - began < 15
    assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
    said = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
    assert "trades" in said.stdout
