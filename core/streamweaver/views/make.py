"""The view that a panel asks for."""

from streamweaver.panel import Panel
from streamweaver.views.bar import Grouped, bars, cells
from streamweaver.views.feed import Feed
from streamweaver.views.line import Line
from streamweaver.views.number import Number
from streamweaver.views.table import Table
from streamweaver.views.update import View


def make_view(panel: Panel, tick_ms: int) -> View:
    """Make the empty view of a panel."""
    match panel.kind:
        case "line":
            return Line(panel, tick_ms)
        case "bar":
            return Grouped(panel, bars)
        case "heatmap":
            return Grouped(panel, cells)
        case "feed":
            return Feed(panel)
        case "table":
            return Table(panel)
        case "number" | "gauge":
            return Number(panel)
