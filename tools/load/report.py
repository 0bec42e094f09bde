"""The report of a load as one HTML page: a table, and plots as inline SVG; nothing is fetched. Pure."""

from collections.abc import Sequence
from html import escape

from tools.load.result import Load

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 220, 56, 24, 12
COLOURS = ("#1f6feb", "#d9480f", "#2b8a3e", "#862e9c", "#5c4813", "#c2255c", "#0b7285")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } figure { display: inline-block; margin: .5rem 1rem .5rem 0 }
figcaption { font-weight: 600 } svg { background: #fafafa } text { font: 11px system-ui, sans-serif; fill: #444 }
.bad { color: #c92a2a; font-weight: 600 }
"""

Series = dict[str, list[tuple[float, float]]]


def page(loads: Sequence[Load], about: str) -> str:
    """Return the page."""
    parts = [f"<h1>Load through Kafka to WebSocket clients</h1><p>{escape(about)}</p>", _table(loads)]
    for load in loads:
        parts.append(f"<h2>{load.rate:,} records a second</h2>")
        rows = load.over_time()
        parts.append(
            plot("Age on arrival", "ms", {"p50": [(r[0], r[2]) for r in rows], "p99": [(r[0], r[3]) for r in rows]})
        )
        parts.append(plot("Records a second at each client", "", {"records": [(r[0], r[1]) for r in rows]}))
        parts.append(plot("Lag of the slowest stage", "s", {"lag": [(s.second, s.lag_seconds) for s in load.samples]}))
        names = load.samples[0].memory_mb if load.samples else {}
        memory = {name: [(s.second, s.memory_mb[name]) for s in load.samples] for name in names}
        parts.append(plot("Resident memory", "MB", memory))
        cpu = {name: [(s.second, s.cpu[name]) for s in load.samples] for name in names}
        parts.append(plot("Processor", "cores", cpu))
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Load</title><style>{STYLE}</style>{body}</html>\n'
    )


def _table(loads: Sequence[Load]) -> str:
    heads = ("rate", "reached", "made", "lost", "dropped", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "most lag s")
    lines = ["<table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for load in loads:
        found = load.summary()
        ages = found["latency_ms"]
        cells = [
            f"{load.rate:,}",
            f"{found['reached']:,}",
            f"{found['made']:,}",
            _bad_unless_zero(found["lost"]),
            _bad_unless_zero(found["dropped"]),
            *(str(ages[name]) for name in ("p50", "p90", "p99", "p999")),
            f"{found['lag_seconds_most']:.2f}",
        ]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _bad_unless_zero(count: int) -> str:
    return f'<span class="bad">{count:,}</span>' if count else "0"


def plot(title: str, unit: str, series: Series) -> str:
    """Return a line chart as SVG, from 0 up, with a legend."""
    points = [point for held in series.values() for point in held]
    if not points:
        return ""
    right = max(x for x, _ in points) or 1
    top = _round_up(max(y for _, y in points))

    def place(x: float, y: float) -> str:
        return f"{LEFT + x / right * (WIDTH - LEFT - 8):.1f},{HEIGHT - BOTTOM - y / top * (HEIGHT - BOTTOM - TOP):.1f}"

    drawn = []
    for share in (0, 0.5, 1):
        y = float(place(0, share * top).split(",")[1])
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{share * top:g}</text>')
    for share in (0, 0.5, 1):
        x = float(place(share * right, 0).split(",")[0])
        drawn.append(f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="middle">{share * right:.0f} s</text>')
    for number, (name, held) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(place(x, y) for x, y in held)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        drawn.append(f'<text x="{LEFT + 6 + number * 84}" y="{TOP + 8}" style="fill:{colour}">{escape(name)}</text>')
    caption = escape(f"{title}, {unit}" if unit else title)
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<figure><figcaption>{caption}</figcaption><svg {size} role="img">{"".join(drawn)}</svg></figure>'


def _round_up(value: float) -> float:
    """Return a round number that is not below a value."""
    if value <= 0:
        return 1.0
    power = 0.001
    while 10 * power < value:
        power *= 10
    return next(step * power for step in (1, 2, 5, 10, 20) if step * power >= value)
