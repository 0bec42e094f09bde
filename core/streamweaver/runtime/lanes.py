"""Running every lane that a group is given; shared by all kinds of stages."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from streamweaver.contracts import Lane
from streamweaver.errors import Fatal, LaneLostError
from streamweaver.runtime.plugin_life import stray
from streamweaver.runtime.scope import STANDBY, Scope


class _FinishedError(Exception):
    """Ends the task group from inside."""


async def run_lanes(
    scope: Scope,
    topics: Sequence[str],
    run_lane: Callable[[Lane], Awaitable[None]],
    *,
    single: bool = False,
    once: bool = False,
) -> None:
    """Join the stage's group and run each lane in a task, until cancelled.

    The first lane that fails ends the others, and its error is raised. With `once`, the first that returns ends it.
    """
    group = await scope.broker.join(scope.plan.group(scope.stage.name), topics, single=single)
    scope.held.clear()
    scope.activity.now(STANDBY)

    async def run(lane: Lane) -> None:
        scope.lanes += 1
        try:
            scope.held.update(lane.partitions)
            await run_lane(lane)
            if once:
                raise _FinishedError
        except SystemExit as error:
            # Out of a task it would end the whole event loop.
            raise Fatal(f"a plugin called sys.exit({error.code})") from error
        except asyncio.CancelledError as error:
            # The group would take a lane that was cancelled for one that is done, and wait for the next for ever.
            raise stray(error) from error
        except LaneLostError as error:
            scope.held.difference_update(lane.partitions)
            # Whether that is worth more than a detail the broker knows, and tells.
            scope.log("debug", "lane lost", stage=scope.stage.name, reason=str(error))
        finally:
            scope.lanes -= 1
            if not scope.lanes:
                scope.activity.now(STANDBY)
            await lane.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            async for lane in group.lanes():
                tasks.create_task(run(lane))
    except BaseExceptionGroup as errors:
        failed = [error for error in errors.exceptions if not isinstance(error, _FinishedError)]
        if failed:
            raise failed[0] from None
    finally:
        await group.leave()
