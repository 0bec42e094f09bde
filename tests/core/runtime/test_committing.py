"""Commits whose outcome is known, also when the stage is cancelled meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from streamweaver.errors import StorageError
from streamweaver.runtime import committing
from streamweaver.runtime.committing import commit


class Unit:
    """A unit whose commit is told what to do; `entered` is set when it has begun."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self.entered = asyncio.Event()
        self._work = work

    async def commit(self) -> None:
        self.entered.set()
        await self._work()


async def cancelled_inside(work: Callable[[], Awaitable[None]], then: Callable[[], None]) -> Any:
    """Cancel a task within its commit, then do something; return what `commit` returned or raised."""
    unit = Unit(work)

    async def stage() -> Any:
        try:
            return await commit(unit)  # type: ignore[arg-type]
        except BaseException as error:
            return error

    task = asyncio.create_task(stage())
    await unit.entered.wait()
    task.cancel()
    asyncio.get_running_loop().call_soon(then)
    return await task


async def test_a_commit_that_nobody_disturbs_returns_nothing() -> None:
    """What it raises is raised."""

    async def fails() -> None:
        raise StorageError("the disk is full")

    assert await commit(Unit(lambda: asyncio.sleep(0))) is None  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="the disk is full"):
        await commit(Unit(fails))  # type: ignore[arg-type]


async def test_a_cancelled_stage_gets_to_know_what_became_of_its_commit() -> None:
    """It is not cut off: the cancellation is handed back when it is stored, and its failure is raised if it is not."""
    go = asyncio.Event()
    assert isinstance(await cancelled_inside(go.wait, go.set), asyncio.CancelledError)  # type: ignore[arg-type]

    again = asyncio.Event()

    async def fails() -> None:
        await again.wait()
        raise StorageError("the disk is full")

    assert isinstance(await cancelled_inside(fails, again.set), StorageError)


async def test_a_commit_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop must come to an end."""
    monkeypatch.setattr(committing, "COMMIT_SECONDS", 0.01)
    ended = asyncio.Event()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    assert isinstance(await cancelled_inside(hangs, lambda: None), asyncio.CancelledError)
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_commit_that_is_stored_while_it_is_given_up_counts_as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be cut off any more is told as any other: the cancellation is handed back, not raised."""
    monkeypatch.setattr(committing, "COMMIT_SECONDS", 0.01)
    returned = False

    async def stage() -> None:
        nonlocal returned
        cancelled = await commit(unit)  # type: ignore[arg-type]
        returned = True
        if cancelled is not None:
            raise cancelled

    async def finishes() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)

    unit = Unit(finishes)
    task = asyncio.create_task(stage())
    await unit.entered.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()
    assert returned


async def test_a_second_cancellation_does_not_leave_the_commit_alone() -> None:
    """Cancelled twice, the stage still waits for its commit: else it would give its lane back in the middle of it."""
    go = asyncio.Event()
    unit = Unit(go.wait)  # type: ignore[arg-type]
    task = asyncio.create_task(commit(unit))  # type: ignore[arg-type]
    await unit.entered.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    go.set()
    assert isinstance(await task, asyncio.CancelledError)


async def test_a_commit_that_is_given_up_has_ended_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does when it is cancelled is done before the stage goes on, whatever comes of it."""
    monkeypatch.setattr(committing, "COMMIT_SECONDS", 0.01)
    ended = False

    async def hangs() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended = True
            raise StorageError("cut off")

    assert isinstance(await cancelled_inside(hangs, lambda: None), asyncio.CancelledError)
    assert ended
