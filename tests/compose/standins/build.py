"""The images that the compose files name: what is here, what a registry gives, or else stand-ins made on this machine.

    python -m tests.compose.standins.build

Stand-ins need root, mmdebstrap and a Debian mirror; Kafka's jars come by Maven, Prometheus from its package. They are
made once; a change of their folders makes them anew. Where no Docker daemon answers, one is started (`dockerd`, from
Debian's docker.io).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.kafka import local

HERE = Path(__file__).parent
PYTHON, KAFKA, PROMETHEUS = "python:3.11-slim-bookworm", "apache/kafka:4.1.1", "prom/prometheus:v3.5.0"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LABEL = "streamweaver.standin"
DAEMON_FOLDER = Path("/var/tmp/streamweaver-docker")


class MissingPartError(RuntimeError):
    """Something that is needed is not on this machine; the text says what to install."""


def run(*command: object, seconds: float = 900, **options: Any) -> str:
    """Run a program; its output, or an error with it."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def needed(program: str, package: str) -> str:
    """Return where a program is."""
    found = shutil.which(program)
    if found is None:
        raise MissingPartError(f"no {program} found: install it (Debian: {package})")
    return found


def daemon() -> None:
    """Have a Docker daemon, with Compose v2; it stays up."""
    needed("docker", "docker.io")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        raise MissingPartError("no Compose v2 found: put docker-compose into ~/.docker/cli-plugins")
    if subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        return
    DAEMON_FOLDER.mkdir(parents=True, exist_ok=True)
    with (DAEMON_FOLDER / "log").open("ab") as log:
        subprocess.Popen(
            [needed("dockerd", "docker.io"), "--data-root", DAEMON_FOLDER, "--default-ulimit", "nofile=1024:1024"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while subprocess.run(["docker", "info"], capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise MissingPartError("dockerd does not start:\n" + (DAEMON_FOLDER / "log").read_text()[-2000:])
        time.sleep(0.5)


def has(image: str) -> bool:
    """Whether an image is here that is no stand-in, or a registry gives it."""
    label = ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image]
    found = subprocess.run(label, capture_output=True, text=True)
    if found.returncode == 0:
        return found.stdout.strip() != "yes"
    try:
        return subprocess.run(["docker", "pull", "-q", image], capture_output=True, timeout=300).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def debian(image: str, *packages: str) -> None:
    """Make an image of a minimal Debian with some packages."""
    if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode == 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "root.tar"
        include = ",".join(("ca-certificates", *packages))
        run(needed("mmdebstrap", "mmdebstrap"), "--variant=minbase", f"--include={include}", "bookworm", tar)
        run("docker", "import", tar, image)


def build(image: str, source: Path, add: Callable[[Path], None]) -> None:
    """Build an image from a folder of ours and what `add` puts beside it."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        shutil.copytree(source, context)
        add(context)
        run("docker", "build", "-q", "--label", f"{LABEL}=yes", "-t", image, context, env=classic())


def classic() -> dict[str, str]:
    """The environment in which images are built also where there is no buildx."""
    has_buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode == 0
    return dict(os.environ) if has_buildx else {**os.environ, "DOCKER_BUILDKIT": "0"}


def _python(context: Path) -> None:
    shutil.copy(CERTIFICATES, context)


def _kafka(context: Path) -> None:
    (context / "jars").mkdir()
    for jar in local.jars().glob("*.jar"):
        shutil.copy(jar, context / "jars")


def _prometheus(context: Path) -> None:
    for program in ("prometheus", "promtool"):
        shutil.copy(needed(program, "prometheus"), context)


def images() -> list[str]:
    """Have all images; returns those that are stand-ins."""
    daemon()
    made = []
    for image, base, packages, folder, add in (
        (PYTHON, "standin/python", ("python3", "python3-venv"), "python", _python),
        (KAFKA, "standin/java", ("openjdk-17-jre-headless",), "kafka", _kafka),
        (PROMETHEUS, "standin/python", ("python3", "python3-venv"), "prometheus", _prometheus),
    ):
        if not has(image):
            debian(base, *packages)
            build(image, HERE / folder, add)
            made.append(image)
    return made


if __name__ == "__main__":
    try:
        print("\n".join(images()) or "every image is here")
    except MissingPartError as error:
        sys.exit(str(error))
