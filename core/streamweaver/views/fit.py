"""Making what a panel shows fit into a message: the oldest of it is left out, and counted. Pure.

Lines, bars, heatmaps and numbers are small by what they are made of; a feed or a table holds what records hold.
"""

from collections.abc import Mapping
from typing import Any

from streamweaver.panel import PanelKind

Data = dict[str, Any]

SPARE = 0.9
"""Records differ in size: so much of what would do if all had one size."""


def fit(kind: PanelKind, data: Data, size: int, most: int) -> Data | None:
    """Return data of `size` bytes without its oldest, so that it has about `most`; None when nothing can be left out.

    What is still too large may come again. How many are left out in all stands in it as `left_out`.
    """
    had = len(data["records"]["time"]) if kind == "feed" else len(data["keys"]) if kind == "table" else 0
    if had == 0:
        return None
    first = had - min(had - 1, int(had * most / size * SPARE))
    shorter = _feed_from(data, first) if kind == "feed" else _table_from(data, first)
    return {**shorter, "left_out": data.get("left_out", 0) + first}


def _feed_from(data: Data, first: int) -> Data:
    records: dict[str, Any] = {}
    for name, column in data["records"].items():
        if isinstance(column, list):
            records[name] = column[first:]
        elif moved := _moved(column, first):
            records[name] = moved
    return {**data, "records": records}


def _moved(column: Mapping[str, Any], first: int) -> dict[str, Any]:
    """Headers and raw texts stand under the number of their record."""
    return {str(int(number) - first): value for number, value in column.items() if int(number) >= first}


def _table_from(data: Data, first: int) -> Data:
    values = [column[first:] for column in data["values"]]
    return {**data, "keys": data["keys"][first:], "time": data["time"][first:], "values": values}
