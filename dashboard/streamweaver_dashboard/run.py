"""One dashboard from its start to its end."""

import asyncio
import contextlib
import time
from typing import Any

from streamweaver.graph.plan import Plan
from streamweaver.hooks import Surroundings
from streamweaver_dashboard.access import Access
from streamweaver_dashboard.announce import Announcer
from streamweaver_dashboard.app import Dashboard
from streamweaver_dashboard.hub import Hub
from streamweaver_dashboard.server import Guard, address, listen, serve


async def run(surroundings: Surroundings, *, alone: bool) -> None:
    """Serve until cancelled; Fatal when the port cannot be had."""
    plan: Plan = surroundings.plan
    options = plan.dashboard.options
    taken = listen(options)
    # Alone there may be several; only the one inside of the pipeline's process writes down what fired.
    announcer = None if alone else Announcer(plan, surroundings.broker, surroundings.log)
    hub = Hub(plan, surroundings.broker, surroundings.log, announce=announcer.announce if announcer else None)
    access = Access(options, time.monotonic)
    dashboard = Dashboard(
        plan, surroundings.broker, hub, access, role="alone" if alone else "observer", log=surroundings.log
    )
    if not access.is_local and access.has_login and not access.is_tls:
        surroundings.log("warning", "the dashboard's token travels unencrypted; set tls_certificate and tls_key")
    surroundings.log("info", "dashboard", address=address(options, taken))
    work: list[asyncio.Task[Any]] = [asyncio.create_task(hub.run())]
    if announcer is not None:
        work.append(asyncio.create_task(announcer.run()))
    work.append(
        asyncio.create_task(serve(dashboard.app(), options, taken, guard=Guard(), stopping=dashboard.live.close_all))
    )
    try:
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in reversed(work):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
