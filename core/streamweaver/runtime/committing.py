"""Committing a unit of work so that its outcome is known, also when the stage is cancelled meanwhile."""

import asyncio
from typing import Any

from streamweaver.contracts import UnitOfWork

COMMIT_SECONDS = 2.0
"""How long a cancelled stage waits for a commit that is under way."""

GIVE_UP_SECONDS = 1.5
"""How long it then waits for the commit to take note that it was given up."""


async def commit(unit: UnitOfWork) -> asyncio.CancelledError | None:
    """Commit; returns the cancellation that came meanwhile, to be raised once what is stored has been counted.

    Raises what the commit raises. A cancellation is raised at once only where the commit does not end in time and is
    cut off: then nobody here knows whether it is stored, and who comes next asks the lane. Unless the broker hangs, so
    that even cutting off takes more than `GIVE_UP_SECONDS`, the stage never goes on (to give its lane back, say) beside
    a commit of its own, however often it is cancelled.
    """
    committing = asyncio.ensure_future(unit.commit())
    try:
        await asyncio.shield(committing)
    except asyncio.CancelledError as cancelled:
        if committing.cancelled():
            raise
        await _end_of(committing, COMMIT_SECONDS)
        if not committing.done():
            committing.cancel()
            await _end_of(committing, GIVE_UP_SECONDS)
            if committing.done() and not committing.cancelled() and committing.exception() is None:
                return cancelled  # it could not be cut off any more
            # Else its outcome is nobody's; asked for, so that an error is not reported as one that was never looked at.
            committing.add_done_callback(_look_at)
            raise
        committing.result()
        return cancelled
    return None


async def _end_of(committing: "asyncio.Future[Any]", seconds: float) -> None:
    """Wait for a commit; a cancellation asks for no more than the first one did, and does not cut the time short."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not committing.done() and (left := deadline - loop.time()) > 0:
        try:
            await asyncio.wait({committing}, timeout=left)
        except asyncio.CancelledError:
            continue


def _look_at(committing: "asyncio.Future[Any]") -> None:
    if not committing.cancelled():
        committing.exception()
