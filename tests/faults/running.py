"""Running the real program in a process of its own, and looking at its log from outside."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from forked_program import Forked, Forker, Start
from streamweaver import BrokerContext, BrokerError, Headers, UnknownTopicError
from streamweaver_brokers.embedded import Embedded

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "pipelines"
PROGRAM = Path(sys.executable).with_name("streamweaver")

ADDED = "in", "added"
SETTLED = "out", "filtered", "dead_lettered", "skipped", "in_flight"


def until(condition: Callable[[], T], what: str, *, seconds: float = 30.0) -> T:
    """Wait until a condition holds, and return what it returned; fail, saying what was waited for, after a time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)
    return found


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unmeasured(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without coverage: it slows a load down, and a kill would leave half a data file."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return kept | dict(more or {})


@attrs.define
class Running:
    """A pipeline that runs in a process of its own."""

    process: "subprocess.Popen[bytes] | Forked"
    output: Path
    errors: Path

    @property
    def stdout(self) -> str:
        """What it wrote to standard output so far."""
        return self.output.read_text()

    @property
    def stderr(self) -> str:
        """What it wrote to standard error so far."""
        return self.errors.read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for its end and return its exit status; a signal's number is negative."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s; its last words:\n{self.stderr[-2000:]}") from None

    def stop(self, seconds: float = 40.0) -> dict[str, dict[str, int]]:
        """Have it drain and stop; return the counts of its stages, which balance."""
        self.signal(signal.SIGTERM)
        return self.finish(seconds)

    def finish(self, seconds: float = 40.0) -> dict[str, dict[str, int]]:
        """Wait for its good end; return the counts of its stages, which balance."""
        status = self.wait(seconds)
        assert status == 0, f"exit status {status}:\n{self.stderr[-3000:]}"
        return self.counts()

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the counts that it printed at its end, having checked that each stage's balance."""
        stages: dict[str, dict[str, int]] = json.loads(self.stdout.splitlines()[-1])["stages"]
        for name, counts in stages.items():
            settled = sum(counts[word] for word in SETTLED)
            assert sum(counts[word] for word in ADDED) == settled, f"{name} does not balance: {counts}"
        return stages


@attrs.define
class Launcher:
    """Starts pipelines whose files and data lie in one folder, and leaves none behind."""

    folder: Path
    forker: Forker | None = None
    """What starts them quickly; without one each is the installed program, as a user starts it."""
    started: list[Running] = attrs.field(factory=list)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def up(
        self, file: Path, *options: str, script: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Running:
        """Start `pipeline up` on a file, with a last line of JSON; `script` stands in for the program."""
        number = len(self.started)
        output, errors = self.folder / f"{number:03d}.out", self.folder / f"{number:03d}.err"
        arguments = ["pipeline", "up", str(file), "--data", str(self.data), "--json", *options]
        start = Start(arguments, self.folder, dict(os.environ) if env is None else env, script)
        make = _installed if self.forker is None else self.forker.start_into
        running = Running(make(start, output, errors), output, errors)
        self.started.append(running)
        return running

    def kill_all(self) -> None:
        """End whatever still runs."""
        for running in self.started:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()


def _installed(start: Start, output: Path, errors: Path) -> "subprocess.Popen[bytes]":
    """Start the installed program."""
    program = [str(PROGRAM)] if start.script is None else [sys.executable, str(start.script)]
    with output.open("ab") as out, errors.open("ab") as err:
        return subprocess.Popen(
            [*program, *start.arguments],
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            cwd=start.folder,
            env=dict(start.environment),
        )


def options(**values: object) -> list[str]:
    """Return `--set` options; two underscores stand for a dot."""
    return [
        part for path, value in values.items() for part in ("--set", f"{path.replace('__', '.')}={_option_text(value)}")
    ]


def _option_text(value: object) -> str:
    if isinstance(value, str | Path):
        return str(value)
    return json.dumps(value)


# -- the log, from outside ------------------------------------------------------------------------


@attrs.frozen
class Row:
    """One record as it is stored."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    timestamp: int
    headers: Headers

    @property
    def json(self) -> Any:
        """The value, decoded."""
        return json.loads(self.value)


@attrs.define
class LogView:
    """The embedded log of a pipeline, running or not, as a tool sees it."""

    _runner: "asyncio.Runner"
    _broker: Embedded

    def size(self, topic: str) -> int:
        """Return how many offsets a topic has given out; 0 while it does not exist."""
        return self._runner.run(self._size(topic))

    def read(self, topic: str) -> list[Row]:
        """Return everything that a topic holds, partition by partition, in order."""
        return self._runner.run(self._read(topic))

    async def _size(self, topic: str) -> int:
        # One turn of the loop, so that what other processes have appended meanwhile is taken in.
        await asyncio.sleep(0)
        try:
            return sum(held.end for held in await self._broker.ranges(topic))
        except UnknownTopicError:
            return 0

    async def _read(self, topic: str) -> list[Row]:
        await asyncio.sleep(0)
        rows: list[Row] = []
        for partition, held in enumerate(await self._broker.ranges(topic)):
            reader = await self._broker.reader({(topic, partition): held.begin})
            at = held.begin
            while at < held.end:
                for part in await reader.poll():
                    headers = part.headers or [()] * len(part)
                    columns = zip(part.offsets, part.keys, part.values, part.timestamps, headers, strict=True)
                    rows += [Row(partition, o, k, v or b"", t, h) for o, k, v, t, h in columns]
                    at = part.next_offset
            await reader.close()
        return rows


@contextmanager
def log_of(data: Path) -> Iterator[LogView]:
    """Open the log of a data folder as a tool, as soon as there is one."""
    with asyncio.Runner() as runner:

        def opened() -> Embedded | None:
            broker = Embedded()
            try:
                runner.run(broker.open(BrokerContext(pipeline="test", data_dir=data, role="tool")))
            except BrokerError:
                return None
            return broker

        broker = until(opened, f"a log in {data}")
        assert broker is not None
        try:
            yield LogView(runner, broker)
        finally:
            runner.run(broker.close())
