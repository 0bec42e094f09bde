"""What a panel, or any other view of records, shows: its options and their defaults. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from streamweaver.plugin import option
from streamweaver.units import Seconds

PanelKind = Literal["line", "bar", "feed", "number", "table", "heatmap", "gauge"]
"""What a panel looks like."""

Show = Literal["last", "mean", "range", "min", "max", "sum", "count", "rate"]
"""Which figure stands for the values of a span."""

Scalar = str | int | float | bool | None

SHOWS: Mapping[str, tuple[Show, ...]] = {
    "line": ("last", "mean", "range"),
    "number": ("last", "mean", "min", "max", "sum", "count", "rate"),
    "gauge": ("last", "mean", "min", "max", "sum", "count", "rate"),
}
"""What the kinds that have a choice can show."""

TOP = {"line": 8, "bar": 20, "heatmap": 30, "feed": 20}
SPANS = {"line": 300.0, "bar": 60.0, "heatmap": 60.0, "number": 10.0, "gauge": 10.0}
LIMITS = {"feed": 100, "table": 100}
PATH = r"[^.\s]+(\.[^.\s]+)*"


def _kind_fits(panel: "PanelConfig", _attribute: Any, kind: PanelKind) -> None:
    for mistake in _mistakes(panel, kind):
        raise ValueError(mistake)


def _mistakes(panel: "PanelConfig", kind: PanelKind) -> Iterator[str]:
    if kind == "line" and not panel.y:
        yield "a line needs y: the field, or fields, with numbers"
    if kind in ("bar", "heatmap") and panel.by is None:
        yield f"a {kind} needs by: the field to group by"
    if kind == "heatmap" and panel.split is None:
        yield "a heatmap needs split: the field of its second axis"
    if kind in ("number", "gauge") and not panel.y and panel.show not in (None, "count", "rate"):
        yield f"show: {panel.show} needs y: the field with numbers"
    if kind == "gauge" and (panel.min is None or panel.max is None):
        yield "a gauge needs min and max"
    if kind in ("bar", "number", "gauge", "heatmap") and isinstance(panel.y, list) and len(panel.y) > 1:
        yield f"a {kind} takes one field as y, got {len(panel.y)}"
    if panel.show is not None and panel.show not in SHOWS.get(kind, ()):
        known = SHOWS.get(kind)
        yield f"a {kind} cannot show {panel.show}" + (f", it shows one of {', '.join(known)}" if known else "")
    if panel.split is not None and kind not in ("bar", "heatmap"):
        yield f"a {kind} takes no split, only a bar or a heatmap does"
    if panel.fields and kind not in ("feed", "table"):
        yield f"a {kind} takes no fields, only a feed or a table does"


@attrs.frozen
class PanelConfig:
    """One panel; its topic stands beside these as `from`."""

    kind: PanelKind = option(help="how it is drawn", example="line", validator=_kind_fits)
    title: str | None = option(default=None, help="heading; the topic's name when not set", example="Prices")
    id: str | None = option(
        default=None,
        help="name in addresses; made of the title",
        pattern=r"[a-z0-9]+([_-][a-z0-9]+)*",
        example="prices",
    )
    y: str | list[str] = option(factory=list, help="field, or fields, with numbers", pattern=PATH, example="price")
    by: str | None = option(
        default=None, help="field that tells series, bars, rows or columns apart", pattern=PATH, example="symbol"
    )
    split: str | None = option(
        default=None, help="second field: parts of a bar, rows of a heatmap", pattern=PATH, example="level"
    )
    fields: list[str] = option(factory=list, help="fields that a feed or table shows", pattern=PATH, example=["price"])
    where: dict[str, Scalar | list[Scalar]] = option(
        factory=dict, help="only records whose fields have these values", example={"level": ["WARN", "ERROR"]}
    )
    show: Show | None = option(default=None, help="which figure of the records of a span", example="mean")
    top: int | None = option(
        default=None, help="most series, bars or columns; for a feed most records a second", ge=1, le=100, example=8
    )
    limit: int | None = option(default=None, help="most records of a feed, rows of a table", ge=1, le=500, example=50)
    span: Seconds | None = option(default=None, help="time that is looked at", ge=1, le=86_400, example="5m")
    unit: str = option(default="", help="shown behind numbers", example="USD")
    decimals: int | None = option(default=None, help="places of numbers", ge=0, le=9, example=2)
    min: float | None = option(default=None, help="lower end of the axis or gauge", example=0)
    max: float | None = option(default=None, help="upper end of the axis or gauge", example=100)
    warn: float | None = option(default=None, help="value from which a gauge is yellow", example=70)
    bad: float | None = option(default=None, help="value from which a gauge is red", example=90)
    wide: bool = option(default=False, help="takes the whole width", example=True)


@attrs.frozen(kw_only=True)
class Panel:
    """A panel with all its defaults."""

    id: str
    title: str
    topic: str
    kind: PanelKind
    y: tuple[str, ...] = ()
    by: str | None = None
    split: str | None = None
    fields: tuple[str, ...] = ()
    where: Mapping[str, Any] = attrs.field(factory=dict)
    show: Show | None = None
    top: int | None = None
    limit: int | None = None
    span_seconds: float | None = None
    unit: str = ""
    decimals: int | None = None
    min: float | None = None
    max: float | None = None
    warn: float | None = None
    bad: float | None = None
    wide: bool = False


def make_panel(config: PanelConfig, topic: str, taken: set[str]) -> Panel:
    """Fill in the defaults of a panel; `taken` are the ids given so far, to which its own is added."""
    kind = config.kind
    title = config.title or topic
    y = (config.y,) if isinstance(config.y, str) else tuple(config.y)
    show = config.show
    if show is None and kind in SHOWS:
        show = "last" if y else "rate"
    return Panel(
        id=fresh_id(config.id or slug(title), taken),
        title=title,
        topic=topic,
        kind=kind,
        y=y,
        by=config.by,
        split=config.split,
        fields=tuple(config.fields),
        where=config.where,
        show=show,
        top=config.top or TOP.get(kind),
        limit=config.limit or LIMITS.get(kind),
        span_seconds=config.span or SPANS.get(kind),
        unit=config.unit,
        decimals=config.decimals,
        min=config.min,
        max=config.max,
        warn=config.warn,
        bad=config.bad,
        wide=config.wide,
    )


def slug(text: str) -> str:
    """Return a text as it can stand in an address."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "panel"


def fresh_id(name: str, taken: set[str]) -> str:
    """Return a name, with a number behind it where it is taken; it is taken then."""
    number, fresh = 1, name
    while fresh in taken:
        number += 1
        fresh = f"{name}-{number}"
    taken.add(fresh)
    return fresh
