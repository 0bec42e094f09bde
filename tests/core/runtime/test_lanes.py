"""Running the lanes of a group."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamweaver import Fatal
from streamweaver.errors import LaneLostError
from streamweaver.runtime.lanes import run_lanes
from streamweaver.runtime.scope import STANDBY, Activity


class Lane:
    released = False

    def __init__(self, partition: int = 0) -> None:
        self.partitions = [("t", partition)]

    async def release(self) -> None:
        self.released = True


class Group:
    """Hands out its lanes, then waits as a group does."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.given, self.left = lanes, False

    async def lanes(self) -> AsyncIterator[Lane]:
        for lane in self.given:
            yield lane
        await asyncio.Event().wait()

    async def leave(self) -> None:
        assert all(lane.released for lane in self.given)
        self.left = True


class Scope:
    """The part of a scope that is used."""

    def __init__(self, group: Group) -> None:
        self.joined = group
        self.broker = self.plan = self.stage = self
        self.name = "s"
        self.lines: list[str] = []
        self.held: set[tuple[str, int]] = set()
        self.lanes = 0
        self.activity = Activity()

    async def join(self, group: Any, topics: Any, *, single: bool) -> Group:
        return self.joined

    def group(self, name: str) -> str:
        return f"t.{name}"

    def log(self, level: str, event: str, **_: Any) -> None:
        self.lines.append(event)


def scope_of(*lanes: Lane) -> Any:
    return Scope(Group(list(lanes)))


async def run(scope: Any, run_lane: Any, **options: Any) -> None:
    async with asyncio.timeout(5):
        await run_lanes(scope, ["t"], run_lane, **options)
    assert scope.joined.left


async def test_with_once_the_first_that_returns_ends_it() -> None:
    """A producer that has no more to bring ends its stage; its lane is released before the group is left."""

    async def work(lane: Lane) -> None:
        await asyncio.sleep(0)

    await run(scope_of(Lane()), work, once=True)


@pytest.mark.parametrize("error", [Fatal("broken"), ValueError("odd"), SystemExit(3)])
async def test_one_that_fails_ends_the_others(error: BaseException) -> None:
    """Its error is raised as it is, but sys.exit as Fatal; every lane is released and the group left."""
    first, second = Lane(0), Lane(1)
    cancelled = False

    async def work(lane: Lane) -> None:
        nonlocal cancelled
        if lane is second:
            raise error
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    scope = scope_of(first, second)
    with pytest.raises(Fatal if isinstance(error, SystemExit) else type(error)) as caught:
        await run(scope, work)
    expected = "a plugin called sys.exit(3)" if isinstance(error, SystemExit) else str(error)
    assert str(caught.value) == expected
    assert cancelled
    assert scope.joined.left


async def test_a_lane_that_moved_ends_alone() -> None:
    """The others go on, and it is logged."""
    first, second = Lane(0), Lane(1)
    done = asyncio.Event()

    async def work(lane: Lane) -> None:
        if lane is first:
            raise LaneLostError("moved")
        while not first.released:
            await asyncio.sleep(0)
        done.set()
        raise Fatal("end of the test")

    scope = scope_of(first, second)
    with pytest.raises(Fatal):
        await run(scope, work)
    assert done.is_set()
    assert scope.lines == ["lane lost"]


async def test_what_is_held_is_known() -> None:
    """A stage without a lane stands by; a share that moved is not its own any more, one whose lane failed still is."""
    first, second = Lane(0), Lane(1)
    scope = scope_of(first, second)
    scope.held = {("old", 7)}
    seen = []

    async def work(lane: Lane) -> None:
        scope.activity.now("working")
        if lane is first:
            raise LaneLostError("moved")
        while not first.released:
            await asyncio.sleep(0)
        seen.append((set(scope.held), scope.lanes, scope.activity.what))
        raise Fatal("end of the test")

    with pytest.raises(Fatal):
        await run(scope, work)
    assert seen == [({("t", 1)}, 1, "working")]
    assert (scope.held, scope.lanes, scope.activity.what) == ({("t", 1)}, 0, STANDBY)


async def test_a_cancellation_releases_everything() -> None:
    """The stage was stopped from outside."""
    scope = scope_of(Lane())

    async def work(lane: Lane) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(run(scope, work))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert scope.joined.left


async def test_a_lane_that_is_cancelled_from_inside_fails() -> None:
    """It is no lane that is done: its stage would stand still, with nobody to start it again."""

    async def cancelled(_: Any) -> None:
        raise asyncio.CancelledError

    scope = scope_of(Lane())
    with pytest.raises(RuntimeError, match="cancelled from inside"):
        await run(scope, cancelled)
    assert scope.joined.left
