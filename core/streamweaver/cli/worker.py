"""A worker process: one engine that is led by the supervisor at the other end of a socket.

Both sides send lines of JSON. The supervisor says `stop`, `abort`, `release`, or `ask`s where the worker stands; the
worker tells its log lines, its figures, its answers and, last, its summary. When the socket closes the supervisor is
gone, and the worker stops at once: whoever starts the pipeline again must not find it still at work.
"""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import attrs
import msgspec

from streamweaver.cli.failure import FAILED, NOT_DRAINED
from streamweaver.cli.load import Loaded, data_folder
from streamweaver.cli.logs import LEVELS, taken_over
from streamweaver.cli.loop import leave, run_loop, soon
from streamweaver.cli.signals import ABORT_SECONDS
from streamweaver.cli.up import Wishes, installed_observers, status_of_run
from streamweaver.errors import StreamWeaverError
from streamweaver.hooks import observer
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.context import Log
from streamweaver.runtime.engine import Engine, RunOptions, Summary
from streamweaver.text import clean


class Channel:
    """The worker's end of the socket; may be used from any thread."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        # What plugins start must not keep it open.
        end.set_inheritable(False)
        self._lock = threading.Lock()

    def tell(self, kind: str, **fields: Any) -> None:
        """Send a line; nothing happens when the supervisor is gone, which `listen` notices."""
        line = msgspec.json.encode({"kind": kind, **fields}, enc_hook=str) + b"\n"
        with self._lock:
            try:
                self._socket.sendall(line)
            except OSError:
                return

    def listen(self, heard: Callable[[dict[str, Any]], None], lost: Callable[[], None]) -> None:
        """Call `heard` with each line and `lost` when no more can come, both in a thread of their own.

        A thread, since a plugin may keep the event loop busy.
        """

        def listening() -> None:
            try:
                with self._socket.makefile("rb") as lines:
                    for line in lines:
                        heard(msgspec.json.decode(line))
            except OSError:
                pass
            lost()

        threading.Thread(target=listening, name="streamweaver-supervisor", daemon=True).start()


@attrs.frozen
class ChannelLog:
    """Sends log lines to the supervisor, which writes them."""

    channel: Channel
    level: str

    def __call__(self, level: str, event: str, /, **fields: Any) -> None:
        """Send one line."""
        if LEVELS[level] >= LEVELS[self.level]:
            try:
                self.channel.tell("log", level=level, event=event, fields=fields)
            except (TypeError, ValueError, OverflowError, RecursionError):
                # What a plugin says may be such as JSON has not: its line is told all the same.
                said = {clean(n): clean(v) if isinstance(v, str) else ascii(v) for n, v in fields.items()}
                self.channel.tell("log", level=level, event=clean(event), fields=said)


@attrs.frozen
class _Relay:
    """Tells the supervisor how the stages do."""

    channel: Channel

    @observer
    def pipeline_starting(self) -> None:
        """Say that the broker is open."""
        self.channel.tell("started")

    @observer
    def metrics_published(self, metrics: dict[str, Any]) -> None:
        """Pass the figures on."""
        self.channel.tell("metrics", metrics=metrics)


class _Led:
    """An engine that does what the supervisor says."""

    def __init__(self, engine: Engine, channel: Channel, log: Log) -> None:
        self._engine = engine
        self._channel = channel
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._answers: set[asyncio.Task[None]] = set()
        self.is_aborted = False

    async def run(self) -> Summary:
        """Run to the end."""
        # A service manager may signal every process at once; only the supervisor tells a first from a second signal.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: soon(self._loop, self._left_alone))
        self._channel.listen(self._heard, self._abort)
        try:
            return await self._engine.run()
        finally:
            for task in self._answers:
                task.cancel()

    def _left_alone(self) -> None:
        self._log("info", "signals are for the supervisor", process=os.getppid())

    def _heard(self, order: dict[str, Any]) -> None:
        match order["kind"]:
            case "ask":
                soon(self._loop, lambda: self._begin_answer(order["round"]))
            case "stop":
                soon(self._loop, self._engine.stop)
            case "release":
                soon(self._loop, self._engine.release)
            case "abort":
                self._abort()

    def _abort(self) -> None:
        self.is_aborted = True
        watchdog = threading.Timer(ABORT_SECONDS, _end)
        watchdog.daemon = True
        watchdog.start()
        soon(self._loop, self._engine.abort)

    def _begin_answer(self, number: int) -> None:
        task = self._loop.create_task(self._answer(number))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, number: int) -> None:
        standing = await self._engine.standing()
        self._channel.tell("standing", round=number, **attrs.asdict(standing))


def run_worker(loaded: Loaded, chosen: frozenset[str], wishes: Wishes) -> int:
    """Run the chosen stages as the supervisor says; returns the exit status."""
    assert wishes.supervisor is not None, "a worker has a supervisor"
    plan = loaded.plan
    channel = Channel(socket.socket(fileno=wishes.supervisor))
    log = ChannelLog(channel, wishes.log_level)

    async def go() -> tuple[bool, Summary]:
        observers = installed_observers(log)
        observers.connect(_Relay(channel))
        engine = Engine(
            plan,
            RunOptions(only=chosen, worker=wishes.worker_name or "0", led=True),
            data_dir=data_folder(plan, wishes.data),
            clock=SystemClock(),
            log=log,
            redact=plan.redact,
            observers=observers,
        )
        led = _Led(engine, channel, log)
        summary = await led.run()
        return led.is_aborted, summary

    with taken_over(log):
        try:
            (aborted, summary), left = run_loop(go())
        except StreamWeaverError as error:
            channel.tell("refused", error=clean(plan.redact(str(error))))
            return FAILED
    channel.tell("summary", counts=summary.counts, drained=summary.drained, error=summary.error)
    return leave(status_of_run(summary), left, aborted=aborted)


def _end() -> NoReturn:
    os._exit(NOT_DRAINED)
