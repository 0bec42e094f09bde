"""The HTTP side put together: who answers what, behind the gate."""

import functools

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from streamweaver import Broker
from streamweaver_dashboard.access import Access
from streamweaver_dashboard.answer import Turns, answering
from streamweaver_dashboard.deal import Deal
from streamweaver_dashboard.gate import App, Gate
from streamweaver_dashboard.health import Health
from streamweaver_dashboard.hub import Hub
from streamweaver_dashboard.letters import Letters
from streamweaver_dashboard.live import Live
from streamweaver_dashboard.log import Log
from streamweaver_dashboard.look import Look
from streamweaver_dashboard.page import Page
from streamweaver_dashboard.session import Session


def make_app(hub: Hub, broker: Broker, access: Access, live: Live, *, role: str, log: Log) -> App:
    """Return the application of one dashboard; `role` is what it is to the pipeline, `observer` or `alone`."""
    turns = Turns()
    answer = functools.partial(answering, log)
    answerers = (
        Health(hub),
        Session(access, hub.plan.name),
        Look(hub, broker, turns, role=role),
        Deal(Letters(hub.plan, broker), turns),
        Page(),
    )
    routes = [route for answerer in answerers for route in answerer.routes(answer)]
    return Gate(Starlette(routes=[WebSocketRoute("/live", live), *routes]), access)
