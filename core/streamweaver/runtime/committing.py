"""Committing a unit of work so that its outcome is known, also when the stage is cancelled meanwhile."""

import asyncio

from streamweaver.contracts import UnitOfWork

COMMIT_SECONDS = 2.0
"""How long a cancelled stage waits for a commit that is under way."""


async def commit(unit: UnitOfWork) -> asyncio.CancelledError | None:
    """Commit; returns the cancellation that came meanwhile, to be raised once what is stored has been counted.

    Raises what the commit raises. A cancellation is raised at once only where the commit does not end in time: then
    nobody knows whether it is stored, and who comes next asks the lane.
    """
    committing = asyncio.ensure_future(unit.commit())
    try:
        await asyncio.shield(committing)
    except asyncio.CancelledError as cancelled:
        if committing.cancelled():
            raise
        await asyncio.wait({committing}, timeout=COMMIT_SECONDS)
        if not committing.done():
            committing.cancel()
            raise
        committing.result()
        return cancelled
    return None
