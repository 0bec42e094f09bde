"""Telling who keeps the event loop from running: a thread that looks at the loop's stack when it stands still.

A plain function that blocks holds up every stage of the process, and nothing in the loop can say so. The running code
pays nothing for this: what is where is read off the stack, and only then.
"""

import asyncio
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import attrs

import streamweaver
from streamweaver.runtime.context import Log
from streamweaver.runtime.scope import Scope
from streamweaver.runtime.step import AsyncRecordStep, BatchStep, RecordStep

BLOCKED_SECONDS = 3.0
"""Told when the loop has stood still for so long, and again each time that it has been twice as long."""

BEAT_SECONDS = 0.5

SHOWN_SECONDS = 15.0
"""A stage that has blocked the loop is not well for so much longer, so that somebody gets to see it."""

_RUNTIME = str(Path(__file__).parent) + os.sep
_CORE = str(Path(streamweaver.__file__).parent) + os.sep
_LIBRARY = sysconfig.get_path("stdlib")
_INSTALLED = sysconfig.get_path("purelib")


@attrs.frozen
class Culprit:
    """Where the loop stands."""

    scope: Scope | None
    """The stage; None when it is none of them (an observer, the engine itself)."""
    step: str | None
    plugin: str | None
    at: str
    """The outermost place in code that is neither ours nor Python's: the plugin's own line."""
    inside: str
    """The innermost place."""


@attrs.define
class Silence:
    """Decides when the silence of a loop is to be told. Pure; asked again and again by the thread that watches."""

    least_seconds: float
    asleep_seconds: float
    """When we have not been asked for so long, we have not run either: the process was stopped, the machine slept."""
    _asked: float
    _awake: float = 0.0
    _told: float = 0.0

    def to_tell(self, now: float, beaten: float) -> float | None:
        """Return how long the loop has been silent, if that is news: at first, and when it is twice as long."""
        before, self._asked = self._asked, now
        if now - before > self.asleep_seconds:
            self._awake = now
        silent = now - max(beaten, self._awake)
        if silent < self.least_seconds:
            self._told = 0.0
        elif silent >= 2 * self._told:
            self._told = silent
            return silent
        return None


class Watchdog:
    """Watches the event loop in which `start` is called, until `stop`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._thread = threading.Thread(target=self._watch, name="streamweaver-watchdog", daemon=True)
        self._ended = threading.Event()
        self._beaten = time.monotonic()
        self._culprits: list[Culprit] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop_thread = 0

    def start(self) -> None:
        """Begin."""
        self._loop_thread = threading.get_ident()
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()

    # -- in the loop ------------------------------------------------------------------------------

    def _beat(self) -> None:
        now = time.monotonic()
        silent, self._beaten = now - self._beaten, now
        culprits, self._culprits = self._culprits, []
        for culprit in culprits:
            if culprit.scope is not None:
                culprit.scope.blocked.over(silent, now + SHOWN_SECONDS)
        if culprits:
            self._log("warning", "the event loop runs again", at=culprits[-1].at, seconds=round(silent, 1))
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    # -- in the thread ----------------------------------------------------------------------------

    def _watch(self) -> None:
        silence = Silence(BLOCKED_SECONDS, 4 * BEAT_SECONDS, time.monotonic())
        while not self._ended.wait(BEAT_SECONDS):
            seconds = silence.to_tell(time.monotonic(), self._beaten)
            if seconds is not None:
                self._tell(seconds)

    def _tell(self, silent: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - there is no other way
        if frame is None:
            return
        culprit = find(frame)
        scope = culprit.scope
        if scope is not None:
            scope.blocked.begun(culprit.at)
        self._culprits.append(culprit)
        named = {"stage": scope.stage.name if scope else None, "step": culprit.step, "plugin": culprit.plugin}
        self._log(
            "error",
            "event loop blocked: no stage of this process can go on; "
            "await instead, declare the plugin blocking=True, or use context.run_blocking",
            **{name: value for name, value in named.items() if value},
            at=culprit.at,
            inside=culprit.inside,
            seconds=round(silent, 1),
        )


def find(innermost: FrameType) -> Culprit:
    """Read off a stack which stage, step and plugin it is in."""
    frames = list(_outwards(innermost))
    ours = [index for index, frame in enumerate(frames) if frame.f_code.co_filename.startswith(_RUNTIME)]
    # Looked at in our frames only: nobody knows what a plugin's objects do when they are asked for an attribute.
    scope = next(filter(None, (_scope(frames[index]) for index in ours)), None)
    step = next(filter(None, (_step(frames[index]) for index in ours)), None)
    # From the outermost of our frames inwards: above it is whoever runs the loop, and a plugin may call us again.
    called = frames[: ours[-1]] if ours else frames
    theirs = [frame for frame in called if _is_foreign(frame)]
    return Culprit(
        scope,
        step,
        None if scope is None else _plugin(scope, step),
        at=_place(theirs[-1] if theirs else innermost),
        inside=_place(innermost),
    )


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_foreign(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    ours = file.startswith((_CORE, "<"))
    return not ours and (file.startswith(_INSTALLED) or not file.startswith(_LIBRARY))


def _scope(frame: FrameType) -> Scope | None:
    here = frame.f_locals
    itself = here.get("self")
    for found in (here.get("scope"), getattr(itself, "scope", None), getattr(itself, "_scope", None)):
        if isinstance(found, Scope):
            return found
    return None


def _step(frame: FrameType) -> str | None:
    itself = frame.f_locals.get("self")
    return itself.name if isinstance(itself, RecordStep | AsyncRecordStep | BatchStep) else None


def _plugin(scope: Scope, step: str | None) -> str | None:
    if step is not None:
        return next((found.use.plugin.name for found in scope.stage.steps if found.name == step), None)
    return None if scope.stage.use is None else scope.stage.use.plugin.name


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
