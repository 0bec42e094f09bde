"""`pipeline up --workers N`: the supervisor of N worker processes. It needs no broker; the workers do the work."""

import asyncio
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import msgspec

from streamweaver.cli.health_file import HealthFile
from streamweaver.cli.live import LiveTable, LogLines, on_terminal
from streamweaver.cli.logs import Logger
from streamweaver.cli.loop import soon
from streamweaver.cli.signals import Stopper, handled
from streamweaver.cli.up import Wishes
from streamweaver.graph.plan import Plan
from streamweaver.retry import Backoff, RestartTracker
from streamweaver.runtime.engine import Summary
from streamweaver.runtime.workers import SILENT_SECONDS, added, merged

ROUND_SECONDS = 0.25
"""Between two rounds of asking whether everything has gone through."""

ABORT_SECONDS = 2.0
"""How long workers may take to stop at once, until they are killed; shorter than what a second signal allows us."""

GONE_SECONDS = 10.0
"""How much longer than the pipeline's own deadline workers may take to drain and close."""

RESTARTS = 10
RESET_SECONDS = 60.0
BACKOFF = Backoff(0.5, 30.0)
"""A worker that dies is started again at once, the next times after these waits, and so often in a row."""

LINE_BYTES = 64 * 1024 * 1024

SHOW_SECONDS = 1.0
"""Between two looks at what the workers have told of themselves."""

REST_SECONDS = 1.0
"""How long we read what a worker that has ended said last: what it started may live on, and keep its pipes open."""


@attrs.frozen
class Outcome:
    """How the run ended, and what to tell of the workers beside it."""

    summary: Summary
    more: dict[str, Any]


@attrs.define(eq=False)
class Slot:
    """The place of one worker, whoever fills it: its name lasts."""

    name: str
    number: int
    tracker: RestartTracker = attrs.field(factory=lambda: RestartTracker(RESTARTS, RESET_SECONDS, BACKOFF))
    process: asyncio.subprocess.Process | None = None
    writer: asyncio.StreamWriter | None = None
    has_started: bool = False
    metrics: dict[str, Any] | None = None
    """The newest figures of the worker that is there now."""
    told_at: float = 0.0
    """When it told them, in seconds on the monotonic clock."""
    standing: dict[str, Any] | None = None
    """Its newest answer."""
    last: dict[str, Any] | None = None
    """What it said last: its summary, or why it refused to start."""
    counts: list[dict[str, dict[str, int]]] = attrs.field(factory=list)
    drained: bool | None = None
    """How it ended; None for one that did not say."""
    restarts: int = 0
    missing: int = 0
    """Workers that died with what they had counted."""

    def has_answered(self, number: int) -> bool:
        """Whether the worker that is there now has answered in a round."""
        return self.standing is not None and self.standing["round"] == number


def run_workers(
    file: Path,
    overrides: tuple[str, ...],
    plan: Plan,
    chosen: frozenset[str],
    wishes: Wishes,
    log: Logger,
    health: HealthFile | None = None,
) -> Outcome:
    """Run a pipeline in several processes, to its end."""
    command = ["pipeline", "up", str(file), "--only", ",".join(sorted(chosen)), "--log-level", wishes.log_level]
    command += [part for override in overrides for part in ("--set", override)]
    command += [] if wishes.data is None else ["--data", str(wishes.data)]
    producers = frozenset(name for name in chosen if plan.stages[name].kind == "producer")
    return asyncio.run(Supervisor(command, producers, plan.drain_seconds, wishes, log, health).run())


class Supervisor:
    """Starts the workers, keeps them running, and ends them together."""

    def __init__(
        self,
        command: list[str],
        producers: frozenset[str],
        drain_seconds: float,
        wishes: Wishes,
        log: Logger,
        health: HealthFile | None = None,
    ) -> None:
        self._command = command
        self._producers = producers
        self._drain_seconds = drain_seconds
        self._wishes = wishes
        self._log = log
        self._slots = [Slot(f"{wishes.worker_name}-{number}", number) for number in range(wishes.workers)]
        self._table = LiveTable() if on_terminal() else None
        self._show = (LogLines(log, time.monotonic) if self._table is None else self._table).metrics_published
        self._health = health
        self._stopping = asyncio.Event()
        self._error: str | None = None
        self._released = False
        self._killing: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    async def run(self) -> Outcome:
        """Run until the pipeline has ended."""
        loop = asyncio.get_running_loop()
        stopper = Stopper(lambda: soon(loop, self.stop), lambda: soon(loop, self.abort))
        with handled(stopper):
            if self._table is not None:
                self._table.start()
            timer = None
            if self._wishes.duration_seconds is not None:
                timer = loop.call_later(self._wishes.duration_seconds, self.stop)
            beside = {asyncio.create_task(self._ask_round_by_round()), asyncio.create_task(self._show_now_and_then())}
            try:
                async with asyncio.TaskGroup() as tasks:
                    for slot in self._slots:
                        tasks.create_task(self._keep(slot))
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.wait(beside)
                if timer is not None:
                    timer.cancel()
                if self._killing is not None:
                    self._killing.cancel()
                if self._table is not None:
                    self._table.stop()
        return self._outcome()

    # -- ending -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Drain: producers stop, and everything they made goes through."""
        if not self._stopping.is_set():
            self._log("info", "stopping: draining; again to stop at once", most_seconds=self._drain_seconds)
            self._stopping.set()
            self._tell("stop")
            self._kill_after(self._drain_seconds + GONE_SECONDS)

    def abort(self) -> None:
        """End at once; a worker that does not is killed."""
        self._log("warning", "stopping at once")
        self._end("abort", ABORT_SECONDS)

    def _fail(self, error: str) -> None:
        """End because of an error; the first one is told."""
        if self._error is None:
            self._error = error
            self._end("abort", ABORT_SECONDS)

    def _end(self, how: str, most_seconds: float) -> None:
        self._stopping.set()
        self._tell(how)
        self._kill_after(most_seconds)

    def _kill_after(self, seconds: float) -> None:
        if self._killing is not None:
            self._killing.cancel()
        self._killing = asyncio.get_running_loop().call_later(seconds, self._kill)

    def _kill(self) -> None:
        for slot in self._slots:
            if slot.process is not None:
                self._log("error", "worker does not end, and is killed", worker=slot.name)
                with contextlib.suppress(ProcessLookupError):
                    slot.process.kill()

    def _tell(self, kind: str, **fields: Any) -> None:
        line = msgspec.json.encode({"kind": kind, **fields}) + b"\n"
        for slot in self._slots:
            if slot.writer is not None:
                slot.writer.write(line)

    # -- when everything has gone through ---------------------------------------------------------

    async def _ask_round_by_round(self) -> None:
        """Let the workers go when all of them, asked in one round, have nothing left."""
        number = 0
        while not self._released:
            await asyncio.sleep(ROUND_SECONDS)
            asked = [(slot, slot.writer) for slot in self._slots if slot.writer is not None]
            everybody = len(asked) == len(self._slots) and all(slot.has_started for slot in self._slots)
            if not self._stopping.is_set() and not (self._wishes.until_idle and everybody):
                continue
            number += 1
            self._tell("ask", round=number)
            # One that has died since will not answer, nor will its successor, whom nobody has asked.
            while any(slot.writer is writer and not slot.has_answered(number) for slot, writer in asked):
                self._changed.clear()
                await self._changed.wait()
            answers = [slot.standing for slot, _ in asked if slot.has_answered(number) and slot.standing]
            if answers and len(answers) == len(asked) and self._is_through(answers):
                self._released = True
                self._end("release", self._drain_seconds + GONE_SECONDS)

    def _is_through(self, answers: list[dict[str, Any]]) -> bool:
        if not all(answer["quiet"] for answer in answers):
            return False
        # A producer runs in one worker, and only that one knows that it has come to its end.
        return self._stopping.is_set() or self._producers <= {name for answer in answers for name in answer["ended"]}

    # -- how it goes ------------------------------------------------------------------------------

    async def _show_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SHOW_SECONDS)
            if (figures := self.figures(time.monotonic())) is not None:
                self._show(figures)
                if self._health is not None and not figures["silent"]:
                    # Where it cannot be renewed it grows old, which is what it is there to say.
                    with contextlib.suppress(OSError):
                        self._health.metrics_published(figures)

    def figures(self, now: float) -> dict[str, Any] | None:
        """Return what the workers tell of themselves, taken together; None as long as none has told anything.

        What is old is not told as if it were new: who says nothing is in `silent`, with the seconds, and only there.
        """
        fresh, silent = [], {}
        for slot in self._slots:
            if slot.metrics is not None and now - slot.told_at <= SILENT_SECONDS:
                fresh.append(slot.metrics)
            elif slot.metrics is not None:
                silent[slot.name] = now - slot.told_at
        if not fresh and not silent:
            return None
        return {**(merged(fresh) if fresh else {"stages": {}}), "silent": silent}

    # -- workers ----------------------------------------------------------------------------------

    async def _keep(self, slot: Slot) -> None:
        """Have a worker in a slot until the end of the run."""
        while True:
            started = time.monotonic()
            returned = await self._live(slot)
            self._changed.set()
            wait = self._ended(slot, returned, time.monotonic() - started)
            if wait is None:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return
            slot.restarts += 1

    def _ended(self, slot: Slot, returned: int, ran: float) -> float | None:
        """Take note of how a worker ended; return the wait until its successor, None when there is to be none."""
        said = slot.last or {}
        if "counts" in said:
            slot.counts.append(said["counts"])
        elif slot.has_started:
            slot.missing += 1
        slot.drained = said.get("drained")
        how = f"ended by {_signal(-returned)}" if returned < 0 else f"ended with status {returned}"
        if "counts" in said and said["error"]:
            self._fail(said["error"])
        elif not slot.has_started and returned >= 0 and not self._stopping.is_set():
            # It never came as far as to open the broker, and would not the next time.
            self._fail(said.get("error") or f"worker {slot.name} did not start: {how}; its last lines say why")
        if self._stopping.is_set():
            return None
        wait = slot.tracker.failed(ran)
        if wait is None:
            self._fail(f"worker {slot.name} {how}, after {slot.tracker.attempts} restarts in a row; its lines say why")
            return None
        if slot.tracker.failures == 1:
            wait = 0.0
        why = {"error": said["error"]} if said.get("error") else {}
        self._log("warning", f"worker {how} and is started again", worker=slot.name, in_seconds=round(wait, 1), **why)
        return wait

    async def _live(self, slot: Slot) -> int:
        """Start a worker and follow it to its end; returns what its process returned."""
        ours, theirs = socket.socketpair()
        # Not a pipe of asyncio's: with one, a process has not ended as long as anything it started has the pipe open.
        read, written = os.pipe()
        with ours, os.fdopen(read, "rb", buffering=0) as errors:
            with theirs, os.fdopen(written, "wb", buffering=0) as their_errors:
                process = await self._start(slot, theirs, their_errors)
            return await self._follow(slot, process, ours, errors)

    async def _follow(
        self, slot: Slot, process: asyncio.subprocess.Process, ours: socket.socket, errors: io.FileIO
    ) -> int:
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
        slot.metrics = slot.standing = slot.last = None
        slot.process, slot.writer = process, writer
        if self._stopping.is_set():
            self._tell("stop")
        try:
            async with asyncio.TaskGroup() as tasks:
                rest = {tasks.create_task(self._hear(slot, reader)), tasks.create_task(self._overhear(slot, errors))}
                returned = await process.wait()
                await asyncio.wait(rest, timeout=REST_SECONDS)
                for task in rest:
                    task.cancel()
            return returned
        finally:
            slot.process = slot.writer = slot.metrics = slot.standing = None
            if process.returncode is None:
                process.kill()
            writer.transport.abort()

    async def _start(self, slot: Slot, theirs: socket.socket, errors: io.FileIO) -> asyncio.subprocess.Process:
        # -P: as the installed program, without the current folder on the path.
        program = [sys.executable, "-P", "-c", "from streamweaver.cli.main import main; main()"]
        # One dashboard is enough.
        alone = [] if slot.number == 0 else ["--set", "dashboard.enabled=false"]
        own = ["--worker-name", slot.name, "--supervisor", str(theirs.fileno())]
        # A session of its own: Ctrl-C on the terminal is for the supervisor alone.
        return await asyncio.create_subprocess_exec(
            *(*program, *self._command, *alone, *own),
            stdin=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    async def _hear(self, slot: Slot, reader: asyncio.StreamReader) -> None:
        """Take what a worker tells."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                if line.endswith(b"\n"):  # else it died in the middle of it
                    self._heard(slot, msgspec.json.decode(line))

    def _heard(self, slot: Slot, said: dict[str, Any]) -> None:
        match said["kind"]:
            case "log":
                self._log(said["level"], said["event"], **{**said["fields"], "worker": slot.name})
            case "started":
                slot.has_started = True
            case "metrics":
                slot.metrics, slot.told_at = said["metrics"], time.monotonic()
            case "standing":
                slot.standing = said
                self._changed.set()
            case "summary" | "refused":
                slot.last = said

    async def _overhear(self, slot: Slot, errors: io.FileIO) -> None:
        """Log what a worker, or what it started, writes to standard error by itself."""
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), errors
        )
        with contextlib.closing(pipe):
            while line := await reader.readline():
                if text := line.decode(errors="backslashreplace").rstrip():
                    self._log("warning", text, worker=slot.name)

    # -- the end ----------------------------------------------------------------------------------

    def _outcome(self) -> Outcome:
        counts = added(part for slot in self._slots for part in slot.counts)
        # One that died while the others drained left its work to them.
        ends = [slot.drained for slot in self._slots if slot.drained is not None]
        summary = Summary(counts, self._error is None and bool(ends) and all(ends), self._error)
        missing = [slot.name for slot in self._slots for _ in range(slot.missing)]
        if missing:
            self._log(
                "warning",
                "workers died, and what they had counted is missing in the summary; nothing is lost",
                workers=",".join(dict.fromkeys(missing)),
                times=len(missing),
            )
        workers = {
            "started": len(self._slots),
            "restarts": sum(slot.restarts for slot in self._slots),
            "counts_missing": len(missing),
        }
        return Outcome(summary, {"workers": workers})


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
