"""Opening embedded brokers on one folder, in this process and in others."""

import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from streamweaver import BrokerContext
from streamweaver_brokers.embedded import Embedded

Launch = Callable[..., Awaitable[Embedded]]
Spawn = Callable[..., "subprocess.Popen[str]"]

PREAMBLE = """
import asyncio, os, resource, signal, sys, time
from pathlib import Path
from streamweaver import *
from streamweaver.testing.broker import *
from streamweaver_brokers.embedded import Embedded

FOLDER = Path(sys.argv[1])

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def launch(role="run", **options):
    broker = Embedded(**options)
    await broker.open(BrokerContext(pipeline="child", data_dir=FOLDER, role=role))
    return broker
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"


@pytest_asyncio.fixture
async def launch(folder: Path) -> AsyncIterator[Launch]:
    """Opens brokers on the folder; those that are still open are closed at the end."""
    brokers: list[Embedded] = []

    async def opened(role: Literal["run", "tool"] = "run", **options: Any) -> Embedded:
        broker = Embedded(**options)
        await broker.open(BrokerContext(pipeline="test", data_dir=folder, role=role))
        brokers.append(broker)
        return broker

    yield opened
    for broker in brokers:
        await broker.close()


@pytest.fixture
def spawn(folder: Path) -> Iterator[Spawn]:
    """Runs Python in a child process on the folder; the code finds `launch`, `say` and the suite's helpers."""
    children: list[subprocess.Popen[str]] = []

    def started(code: str, *arguments: str, on: Path = folder) -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(code), str(on), *arguments],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        return child

    yield started
    for child in children:
        child.kill()
        child.communicate()
