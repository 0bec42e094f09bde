"""Running `streamweaver` in a process of its own without importing it each time: forked from one that has it all.

A test that starts a pipeline waits half a second for imports; many such tests wait for minutes. Here one server
process imports once and each start is a fork of it, so a start costs milliseconds and still is a process that can be
stopped, frozen and killed like any other.
"""

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

PRELOADED = (
    "streamweaver.cli.main",
    "streamweaver.cli.pipeline",
    "streamweaver.cli.up",
    "streamweaver_brokers.embedded",
    "streamweaver_dashboard.run",
    "streamweaver_producers.file_tail",
    "streamweaver_producers.stock_trades",
    "streamweaver_transforms.convert",
    "streamweaver_transforms.moving_average",
    "streamweaver_transforms.parse_log",
    "uvloop",
)


def _run(arguments: Sequence[str], folder: Path, output: Connection) -> None:
    """Be the program: its arguments, its folder, and its output to the pipe."""
    os.chdir(folder)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()
    from streamweaver.cli.main import main

    main(list(arguments))


class Forker:
    """Starts the program again and again."""

    def __init__(self) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))

    def start(self, *arguments: str, folder: Path) -> tuple[ForkServerProcess, Connection]:
        """Start it; returns the process, and the pipe with what it says on standard output and standard error."""
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_run, args=(arguments, folder, writer), daemon=True)
        process.start()
        writer.close()
        return process, reader
