"""Running `streamweaver` in a process of its own without importing it each time: forked from one that has it all.

A test that starts a pipeline waits half a second for imports; many such tests wait for minutes. Here one server
process imports once and each start is a fork of it, so a start costs milliseconds and still is a process that can be
stopped, frozen and killed like any other.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import attrs

PRELOADED = (
    "streamweaver.cli.main",
    "streamweaver.cli.pipeline",
    "streamweaver.cli.up",
    "streamweaver_brokers.embedded",
    "streamweaver_brokers.kafka",
    "streamweaver_dashboard.run",
    "streamweaver_producers.file_tail",
    "streamweaver_producers.stock_trades",
    "streamweaver_sinks.file",
    "streamweaver_transforms.convert",
    "streamweaver_transforms.count_by",
    "streamweaver_transforms.moving_average",
    "streamweaver_transforms.parse_log",
    "uvloop",
)


@attrs.frozen
class Start:
    """What to start, and how."""

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ))
    script: Path | None = None
    """A Python file that stands in for the program."""


def _run(start: Start, output: Connection, errors: Connection) -> None:
    """Be the program: its arguments, its environment, its folder, and its output to what was given."""
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    output.close()
    errors.close()
    sys.argv = ["streamweaver", *start.arguments]
    if start.script is not None:
        runpy.run_path(str(start.script), run_name="__main__")
        return
    from streamweaver.cli.main import main

    main()


@attrs.frozen
class Forked:
    """A program that was started; what `subprocess.Popen` offers of the same name."""

    _process: ForkServerProcess

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired("streamweaver", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forker:
    """Starts the program again and again."""

    def __init__(self) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))

    def start(self, *arguments: str, folder: Path) -> tuple[Forked, Connection]:
        """Start it; returns the process, and the pipe with what it says on standard output and standard error."""
        reader, writer = self._context.Pipe(duplex=False)
        with writer:
            return self._fork(Start(arguments, folder), writer, writer), reader

    def start_into(self, start: Start, output: Path, errors: Path) -> Forked:
        """Start it; it appends what it says to two files, or to one."""
        with _to_file(output) as out, _to_file(errors) as err:
            return self._fork(start, out, err)

    def _fork(self, start: Start, output: Connection, errors: Connection) -> Forked:
        process = self._context.Process(target=_run, args=(start, output, errors), daemon=True)
        process.start()
        return Forked(process)


def _to_file(path: Path) -> Connection:
    # A connection is what can be handed to another process; any open file will do for one.
    return Connection(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), readable=False)
