"""The real command line, but killed (SIGKILL, by itself) the n-th time that it comes to a named point.

    STREAMWEAVER_KILL_AT='<point>#<n>' python kill_at.py pipeline up ...

The points are put around functions of the program from outside, so what ships holds no hooks. A point whose function is
not there any more is an error at once.
"""

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Literal

import attrs

VARIABLE = "STREAMWEAVER_KILL_AT"

EMBEDDED = "streamweaver_brokers.embedded."
FILE = "streamweaver_sinks.file."
RUNTIME = "streamweaver.runtime."
TAIL = "streamweaver_producers.file_tail.follower"


@attrs.frozen
class Point:
    """A place in the program: before or after a call of a function, or in the middle of what it writes."""

    module: str
    function: str
    when: Literal["before", "after", "half"]
    most: int = 4
    """Up to which n it is sure to be reached in a short run."""
    counts: Callable[..., bool] = lambda *_: True
    """Whether a call counts, by its arguments."""
    stopping: bool = False
    """It lies on the way of a stop, so the run has to be stopped."""


def _some(_self: Any, _unit: Any, letters: list[Any]) -> bool:
    return bool(letters)


POINTS = {
    # The broker's transaction.
    "rows inserted, offsets not": Point(EMBEDDED + "writer", "Writer._append", "after", 12),
    "rows and offsets written, state not": Point(EMBEDDED + "writer", "Writer._put", "after", 12),
    "all written, before COMMIT": Point(EMBEDDED + "writer", "Writer._change", "after", 12),
    "after COMMIT, before it is answered": Point(EMBEDDED + "writer", "Writer._settle", "before", 12),
    "before the checkpoint": Point(EMBEDDED + "writer", "Writer._checkpoint", "before", 1),
    "after the checkpoint": Point(EMBEDDED + "writer", "Writer._checkpoint", "after", 1),
    # State, which is folded into its table all the time here.
    "a layer frozen, nothing folded": Point(EMBEDDED + "recent", "Recent.freeze", "after", 3),
    "a piece folded, others not": Point(EMBEDDED + "fold", "Fold._write", "after", 12),
    "all folded, its changes still there": Point(EMBEDDED + "recent", "Recent.thaw", "after", 3),
    "some changes removed": Point(EMBEDDED + "fold", "Fold._forget", "after", 3),
    # The producer.
    "lines read, not yielded": Point(TAIL, "Follower.position", "after", 8),
    "producer: records in the unit, position not": Point(RUNTIME + "producer", "_Producing._process", "after", 8),
    "producer: unit made, not committed": Point(RUNTIME + "scope", "Scope.letter_unit", "after", 8),
    "producer: files found again": Point(TAIL, "Follower.resume", "after", 1),
    "a rotated or new file taken up": Point(TAIL, "Follower._adopt", "after", 3),
    "a generation between taken up": Point(TAIL, "Follower._adopt_between", "after", 2),
    "a truncation noticed": Point(TAIL, "Follower._truncated", "before", 2),
    "a truncation dealt with": Point(TAIL, "Follower._truncated", "after", 2),
    # The flow.
    "dead letters in the unit": Point(RUNTIME + "scope", "Scope.letter_unit", "after", 4, counts=_some),
    "flow: before its commit": Point(RUNTIME + "lane_work", "LaneWork.put_state", "after", 8),
    "flow: after its commit": Point(RUNTIME + "lane_work", "LaneWork.committed", "before", 8),
    # The file sink.
    "half of the rows in the file": Point(FILE + "writer", "write_all", "half", 8),
    "rows in the file, its state not": Point(FILE + "writer", "Writer._write", "after", 8),
    "half of the state": Point(
        FILE + "state", "write_all", "half", 8, counts=lambda _file, data, _at: len(data) < 99999
    ),
    "state saved, the mark not": Point(FILE + "state", "StateFile.save", "after", 8),
    "part renamed, the state not": Point(FILE + "writer", "Writer._next_part", "before", 1),
    "next part begun": Point(FILE + "writer", "Writer._next_part", "after", 1),
    "before the sink's mark": Point(RUNTIME + "sink", "_SinkLane._commit", "before", 1),
    "after the sink's mark": Point(RUNTIME + "sink", "_SinkLane._commit", "after", 1),
    # Start and stop.
    "tables made, the version not": Point(EMBEDDED + "schema", "_create", "after", 1),
    "topics made, nothing started": Point(RUNTIME + "engine", "Engine._start", "before", 1),
    "drain begun": Point(RUNTIME + "engine", "Engine._drain", "before", 1, stopping=True),
    "drained, stages not ended": Point(RUNTIME + "engine", "Engine._drain", "after", 1, stopping=True),
    "stages ended, broker open": Point(RUNTIME + "engine", "Engine._check_balance", "after", 1, stopping=True),
    "broker closed": Point(EMBEDDED + "broker", "Session.close", "after", 1, stopping=True),
}


def kill() -> None:
    """End this process as the system would: at once, nothing flushed, nothing closed."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: Point, number: int) -> None:
    """Put the kill around the point's function."""
    module = importlib.import_module(point.module)
    owner: Any = module
    *path, name = point.function.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    calls = 0

    def is_it(arguments: tuple[Any, ...]) -> bool:
        nonlocal calls
        calls += point.counts(*arguments)
        return calls == number

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def wrapped_async(*arguments: Any, **named: Any) -> Any:
            now = is_it(arguments)
            if now and point.when == "before":
                kill()
            result = await original(*arguments, **named)
            if now:
                kill()
            return result

        setattr(owner, name, wrapped_async)
        return

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        now = is_it(arguments)
        if now and point.when == "before":
            kill()
        if now and point.when == "half":
            file, data, at = arguments
            original(file, data[: len(data) // 2], at)
            kill()
        result = original(*arguments, **named)
        if now:
            kill()
        return result

    setattr(owner, name, wrapped)
    _replace_listed(module, original, wrapped)


def _replace_listed(module: Any, original: Any, wrapped: Any) -> None:
    """Put the wrapper also where a list of the module holds the function itself."""
    for value in vars(module).values():
        if isinstance(value, list) and original in value:
            value[value.index(original)] = wrapped


def fold_often() -> None:
    """Have the embedded log fold its state after every few changes, few at a time, not after some minutes."""
    for module, name, value in (
        ("recent", "LAYER_BYTES", 5_000),
        ("fold", "PIECE_VALUES", 2),
        ("fold", "PIECE_ROWS", 2),
    ):
        found = importlib.import_module(EMBEDDED + module)
        assert hasattr(found, name)
        setattr(found, name, value)


def run() -> None:
    """Arm what the environment names, and be the command line."""
    fold_often()
    name, _, number = os.environ[VARIABLE].rpartition("#")
    arm(POINTS[name], int(number))
    from streamweaver.cli.main import main

    main(sys.argv[1:])


if __name__ == "__main__":
    run()
