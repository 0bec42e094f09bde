"""Running a pipeline's event loop, and what of it would keep a process from ending."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamweaver.cli import loop
from streamweaver.cli.loop import Leftovers, leave, run_loop
from streamweaver.runtime.context import THREAD_NAME


@contextmanager
def stage_thread() -> Iterator[threading.Thread]:
    """A stage's thread that is busy until the block ends."""
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name=THREAD_NAME, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        go_on.set()
        thread.join()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit statuses with which the process would have been ended."""
    found: list[int] = []
    monkeypatch.setattr(os, "_exit", found.append)
    monkeypatch.setattr(loop, "LEFT_SECONDS", 0.01)
    return found


def test_a_run_returns_its_result_and_leaves_nothing(ended: list[int]) -> None:
    """Then the status is handed on, unless the run was ended at once."""

    async def work() -> str:
        return "done"

    result, left = run_loop(work())
    assert (result, left.tasks, left.threads()) == ("done", [], [])
    assert (leave(3, left, aborted=False), ended) == (3, [])
    leave(3, left, aborted=True)
    assert ended == [3]


def test_a_thread_that_was_there_before_is_not_the_runs(ended: list[int]) -> None:
    """One that has begun since is, and ends the process when it does not end."""
    with stage_thread():
        left = Leftovers()
        assert left.threads() == []
        assert (leave(0, left, aborted=False), ended) == (0, [])
        with stage_thread() as own:
            assert left.threads() == [own]
            leave(0, left, aborted=False)
            assert ended == [0]
