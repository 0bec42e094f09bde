"""What the page costs while much flows: time of its main thread, memory, frames."""

import os
import re
import statistics
from typing import Any

import attrs
import pytest
from playwright.sync_api import Page, expect

FLOOD = """
name: flood
topics:
  trades: {{partitions: 2}}
  priced: {{partitions: 2}}
producers:
  stocks: {{use: stock_trades, to: trades, rate: 10000}}
flows:
  prices:
    from: trades
    steps:
      - {{use: moving_average, field: price, by: symbol, size: 20}}
    to: priced
dashboard:
  port: {port}
  panels:
    - {{title: Prices, from: priced, kind: line, y: [price, moving_average], by: symbol, top: 6, span: 1m, decimals: 2}}
    - {{title: Trades, from: priced, kind: feed, fields: [symbol, price, quantity]}}
    - {{title: Symbols, from: priced, kind: bar, by: symbol, split: type, span: 10s}}
    - {{title: Rate, from: priced, kind: number, decimals: 0}}
"""

BUSY = """
name: busy
topics:
  trades: {{partitions: 2}}
  priced: {{partitions: 2}}
producers:
  stocks: {{use: stock_trades, to: trades, rate: 1200, steps: [{{use: stamp, field: made, format: ms}}]}}
flows:
  prices:
    from: trades
    steps:
      - {{use: moving_average, field: price, by: symbol, size: 20}}
    to: priced
dashboard:
  port: {port}
  panels:
    - {{title: Prices, from: priced, kind: line, y: [price, moving_average], by: symbol, top: 6, decimals: 2}}
    - {{title: Trades, from: priced, kind: feed, fields: [symbol, made], top: 100}}
"""

DELAYS = """
// Once a frame that moves the chart has been drawn, its records are on the screen with the next picture.
window.delays = [];
let waiting = [];
window.WebSocket = class extends WebSocket {
    constructor(...from) {
        super(...from);
        this.addEventListener("message", (event) => {
            const parts = JSON.parse(event.data).panels ?? [];
            if (!parts.some((part) => part.kind === "line" && !part.snapshot)) return;
            const fed = parts.filter((part) => part.kind === "feed" && !part.snapshot);
            for (const part of fed) waiting.push(...part.data.records.value.map((value) => value.made));
        });
    }
};
const clear = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.clearRect = function (...area) {
    clear.apply(this, area);
    const shown = waiting;
    waiting = [];
    if (shown.length) requestAnimationFrame(() => window.delays.push(...shown.map((made) => Date.now() - made)));
};
"""

FRAMES = """(ms) => new Promise((done) => {
    let frames = 0;
    const end = performance.now() + ms;
    const count = (now) => { frames += 1; if (now < end) requestAnimationFrame(count); else done(frames * 1000 / ms); };
    requestAnimationFrame(count);
})"""

PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") done(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""


class Meter:
    """Chromium's own figures of a page: processor time of its main thread, and its heap."""

    def __init__(self, page: Page) -> None:
        self.cdp = page.context.new_cdp_session(page)
        self.cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.cdp.send("HeapProfiler.enable")

    def figures(self) -> dict[str, float]:
        return {each["name"]: each["value"] for each in self.cdp.send("Performance.getMetrics")["metrics"]}

    def heap(self) -> float:
        self.cdp.send("HeapProfiler.collectGarbage")
        return self.figures()["JSHeapUsedSize"]


def measure(page: Page, seconds: float) -> dict[str, Any]:
    """Watch the page for a while: share of a core, growth of the heap in bytes."""
    meter = Meter(page)
    heap = meter.heap()
    busy, wall = meter.figures()["TaskDuration"], page.evaluate("performance.now()")
    page.wait_for_timeout(seconds * 1000)
    busy_after, wall_after = meter.figures()["TaskDuration"], page.evaluate("performance.now()")
    return {
        "share": (busy_after - busy) / ((wall_after - wall) / 1000),
        "heap": heap,
        "growth": meter.heap() - heap,
        "nodes": meter.figures()["Nodes"],
    }


def warm(page: Page) -> None:
    """Wait until all panels show data that flows."""
    expect(page.locator(".legend-item").first).to_be_visible()
    expect(page.locator(".feed-row").first).to_be_visible()
    expect(page.locator(".bar").first).to_be_visible()
    expect(page.locator(".number-value")).to_have_text(re.compile(r"[1-9]"))
    # What the first paint costs is not what is measured.
    page.wait_for_timeout(1000)


def delays(shop, view, records: int) -> list[int]:
    """Return how long after they were made so many records (sampled evenly) were on the screen, in ms, sorted."""
    page = view(shop, fresh=True)
    page.add_init_script(DELAYS)
    page.goto(f"{shop.address}#/streams")
    expect(page.locator(".legend-item").first).to_be_visible()
    # The first pictures of a page come slower.
    while page.evaluate("delays.length") < 100:
        page.wait_for_timeout(20)
    page.evaluate("delays.length = 0")
    while page.evaluate("delays.length") < records:
        page.wait_for_timeout(100)
    return sorted(page.evaluate("delays"))


def test_page_shows_records_soon(pipeline, view, record_property):
    """At 1,200 records a second a record is on the screen soon after it was made, on a machine that is busy, too."""
    found = delays(pipeline(BUSY), view, 300)
    print(f"p50 {found[len(found) // 2]} ms, p95 {found[len(found) * 95 // 100]} ms, of {len(found)}")
    record_property("p95_ms", found[len(found) * 95 // 100])
    assert found[len(found) * 95 // 100] < 2_000


@pytest.mark.soak
def test_page_shows_records_within_150_ms(pipeline, view):
    """At 1,200 records a second, on a machine that does nothing else, 95 % are on the screen within 150 ms."""
    found = delays(pipeline(BUSY), view, 3_000)
    print(f"p50 {found[len(found) // 2]} ms, p95 {found[len(found) * 95 // 100]} ms, of {len(found)}")
    assert found[len(found) * 95 // 100] < 150


@pytest.fixture(scope="module")
def flood(shared_pipeline):
    """A pipeline through which 10,000 records go each second, to the end of this file: tests without it stand above."""
    return shared_pipeline(FLOOD)


def test_page_is_cheap_at_ten_thousand_records_a_second(flood, view, record_property):
    """With 10,000 records a second through the pipeline the page needs under a fifth of a core and its heap is flat."""
    page = view(flood)
    warm(page)
    figures = measure(page, 5)
    print(figures, page.locator(".number-value").inner_text())
    for name, value in figures.items():
        record_property(name, value)
    assert figures["share"] < 0.2
    assert figures["growth"] < 3_000_000


@attrs.frozen
class Window:
    """What was seen of a page in a part of a long run."""

    share: float
    """Of a core, by its main thread."""
    frames: float
    """A second."""
    heap: float
    """In MB, after a collection."""


def windows(page: Page, seconds: float, count: int) -> list[Window]:
    """Watch a page for long; what a collection of garbage costs is not the page's, and stands between the windows."""
    meter, found = Meter(page), []
    for _ in range(count):
        busy, wall = meter.figures()["TaskDuration"], page.evaluate("performance.now()")
        frames = page.evaluate(FRAMES, seconds / count * 1000)
        busy_after, wall_after = meter.figures()["TaskDuration"], page.evaluate("performance.now()")
        found.append(Window((busy_after - busy) * 1000 / (wall_after - wall), frames, meter.heap() / 1e6))
    return found


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_page_stays_cheap_for_ten_minutes(flood, view):
    """Over ten minutes of 10,000 records a second: under a fifth of a core, over 50 frames a second, a flat heap."""
    seconds = float(os.environ.get("STREAMWEAVER_SOAK_SECONDS", "600"))
    page = view(flood)
    warm(page)
    # The window of the chart is a minute: before it is full something grows that will not go on growing.
    page.wait_for_timeout(65_000)
    seen = windows(page, seconds, max(6, round(seconds / 20)))
    third = len(seen) // 3
    heap_at_first = statistics.median(window.heap for window in seen[:third])
    heap_in_the_end = statistics.median(window.heap for window in seen[-third:])
    share, frames = [statistics.mean(of) for of in zip(*((w.share, w.frames) for w in seen), strict=True)]
    print(
        f"{seconds:.0f} s at {page.locator('.number-value').inner_text()} records/s: "
        f"main thread {share:.1%} of a core (worst part {max(w.share for w in seen):.1%}), "
        f"{frames:.1f} frames/s (worst part {min(w.frames for w in seen):.1f}), "
        f"heap {heap_at_first:.2f} MB at first, {heap_in_the_end:.2f} MB in the end, "
        f"highest {max(w.heap for w in seen):.2f} MB; the page says {page.locator('.view-facts').inner_text()!r}"
    )
    assert share < 0.2
    assert frames > 50
    assert heap_in_the_end - heap_at_first < 1


def test_page_first_paint_is_quick(flood, view):
    """On this machine the first paint comes within a second, and a panel's first data within three."""
    for _ in range(5):
        # Each in a browser context of its own: nothing of the page is in a cache.
        page = view(flood, fresh=True)
        page.goto(f"{flood.address}#/streams")
        found = page.evaluate(PAINT)
        if found < 1000:
            break
        # A busy neighbour spoils some loads of the page; what is slow spoils all of them.
        page.close()
    assert found < 1000
    expect(page.locator(".legend-item").first).to_be_visible(timeout=3000)
