"""Images, and the files that the stacks run; one stack at a time."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from compose.balance import seeded
from compose.stack import COMPOSE, ROOT, Stack
from compose.standins import build


@pytest.fixture(scope="session")
def standins() -> ModuleType:
    """The program that has the images that ours are built on; they are here when this returns."""
    try:
        build.images()
    except build.MissingPartError as error:
        pytest.fail(str(error))
    return build


@pytest.fixture(scope="session")
def image(standins: ModuleType) -> str:
    """Our image, built from this tree."""
    name = "streamweaver:compose-test"
    standins.run("docker", "build", "-q", "-t", name, ROOT, env=standins.classic())
    return name


@pytest.fixture(scope="session")
def secrets(standins: ModuleType) -> Path:
    """Certificates, passwords and tokens."""
    standins.run("sh", COMPOSE / "secure/generate.sh")
    return COMPOSE / "secure/secrets"


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with producers that always make the same."""
    return seeded(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def start(image: str, pipeline: Path) -> Iterator[Callable[..., Stack]]:
    """Return a way to bring up a stack of some files from nothing; it is removed at the end of the module."""
    with ExitStack() as ended, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()

        def begin(*files: str, services: tuple[str, ...] = ()) -> Stack:
            stack = Stack("compose.yaml", *files, port=port, pipeline=pipeline)
            stack.down()
            if os.environ.get("STREAMWEAVER_KEEP") != "1":
                ended.callback(stack.down)
            stack.up(*services)
            return stack

        yield begin
