"""One dashboard from its start to its end."""

import asyncio
import contextlib
import socket
import time
from typing import Any

from streamweaver.graph.plan import Plan
from streamweaver.hooks import Surroundings
from streamweaver_dashboard.access import Access
from streamweaver_dashboard.app import make_app
from streamweaver_dashboard.hub import Hub
from streamweaver_dashboard.live import Live
from streamweaver_dashboard.port import address
from streamweaver_dashboard.server import Guard, serve


async def run(surroundings: Surroundings, taken: socket.socket, *, alone: bool) -> None:
    """Serve on a port that was taken, until cancelled."""
    plan: Plan = surroundings.plan
    options, log = plan.dashboard.options, surroundings.log
    hub = Hub(plan, surroundings.broker, log)
    access = Access(options, time.monotonic)
    live = Live(hub, access)
    app = make_app(hub, surroundings.broker, access, live, role="alone" if alone else "observer", log=log)
    if not access.is_local and access.has_login and not access.is_tls:
        log("warning", "the dashboard's token travels unencrypted; set tls_certificate and tls_key")
    log("info", "dashboard", address=address(options, taken))
    work: list[asyncio.Task[Any]] = [asyncio.create_task(hub.run())]
    if hub.judge.announcer is not None:
        work.append(asyncio.create_task(hub.judge.run()))
    work.append(asyncio.create_task(serve(app, options, taken, guard=Guard(), stopping=live.close_all)))
    try:
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in reversed(work):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
