"""What panels show, as arithmetic on records: no I/O, no clock of their own."""

from streamweaver.config.dashboard import Panel
from streamweaver_dashboard.view.bar import Bar, Heatmap
from streamweaver_dashboard.view.feed import Feed
from streamweaver_dashboard.view.line import Line
from streamweaver_dashboard.view.number import Number
from streamweaver_dashboard.view.table import Table
from streamweaver_dashboard.view.update import Update, View

__all__ = ["Bar", "Feed", "Heatmap", "Line", "Number", "Table", "Update", "View", "make_view"]


def make_view(panel: Panel, tick_ms: int) -> View:
    """Make the empty view of a panel."""
    match panel.kind:
        case "line":
            return Line(panel, tick_ms)
        case "bar":
            return Bar(panel)
        case "heatmap":
            return Heatmap(panel)
        case "feed":
            return Feed(panel)
        case "table":
            return Table(panel)
        case "number" | "gauge":
            return Number(panel)
