"""Live views of records, for everything that shows them: the dashboard, the websocket sink, or a plugin of yours.

A panel (`PanelConfig`, with its defaults filled in by `make_panel`) says what is shown. A `LiveView` of it takes
records and gives numbered parts: a snapshot first, then what changed. Arithmetic only: no I/O, no clock of its own.
"""

from streamweaver.panel import Panel, PanelConfig, PanelKind, Show, make_panel
from streamweaver.views.bar import Grouped, bars, cells
from streamweaver.views.feed import Feed
from streamweaver.views.filter import Filter, parse_where
from streamweaver.views.line import Line
from streamweaver.views.live import LiveView, fresh_parts, named
from streamweaver.views.make import make_view
from streamweaver.views.number import Number
from streamweaver.views.seen import Seen, seen_of
from streamweaver.views.table import Table
from streamweaver.views.update import Update, View

__all__ = [
    "Feed",
    "Filter",
    "Grouped",
    "Line",
    "LiveView",
    "Number",
    "Panel",
    "PanelConfig",
    "PanelKind",
    "Seen",
    "Show",
    "Table",
    "Update",
    "View",
    "bars",
    "cells",
    "fresh_parts",
    "make_panel",
    "make_view",
    "named",
    "parse_where",
    "seen_of",
]
