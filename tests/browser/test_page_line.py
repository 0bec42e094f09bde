"""The page's line to the server: lost, silent, with missing messages, hidden; it heals, and shows what it missed."""

import json
import re

from playwright.sync_api import Page, expect

SILENCE_MS = 12_000
"""After so long without a word what is shown is stale."""
LONGEST_PAUSE_MS = 31_000
"""Longer than any pause before the next try to connect."""


def panel(page: Page, title: str):
    return page.get_by_role("region", name=title, exact=True)


def number(page: Page):
    return panel(page, "Price now").locator(".number-value")


def health(page: Page, said: str):
    """The badge in the page's head, as it is named to those who do not see it."""
    return page.get_by_role("link", name=f"Health of the pipeline: {said}", exact=True)


def heap_of(page: Page) -> float:
    """Bytes of the page's heap that are in use, after a collection."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("HeapProfiler.enable")
    cdp.send("HeapProfiler.collectGarbage")
    return float(cdp.send("Runtime.getHeapUsage")["usedSize"])


def test_page_survives_a_restart_of_the_server(pipeline, view):
    """When the server dies the page says since when it is stale and knows no health; with the next one it goes on."""
    shop = pipeline()
    page = view(shop, fresh=True)
    page.clock.install()
    page.goto(f"{shop.address}#/streams")
    shop.write({"symbol": "A", "price": 1, "note": "before"})
    expect(number(page)).to_have_text("1.00")
    expect(panel(page, "Notes").locator(".feed-row")).to_have_count(1)
    expect(health(page, "ok").locator(".tone-ok")).to_have_text("ok")
    shop.stop()
    expect(page.get_by_role("status").filter(has_text=re.compile(r"stale since \d\d:\d\d:\d\d"))).to_be_visible()
    expect(health(page, "unknown").locator(".badge.tone-calm")).to_have_text("unknown")
    expect(page.get_by_role("banner").locator(".tone-ok")).to_have_count(0)
    shop.start()
    page.clock.fast_forward(LONGEST_PAUSE_MS)
    expect(page.get_by_text("stale since")).to_have_count(0)
    expect(health(page, "ok")).to_be_visible()
    shop.write({"symbol": "A", "price": 2, "note": "after"})
    expect(number(page)).to_have_text("2.00")
    rows = panel(page, "Notes").get_by_role("listitem")
    expect(rows).to_have_text([re.compile("after"), re.compile(r"not connected \d\d:\d\d:\d\d"), re.compile("before")])


def test_page_notices_silence(pipeline, view):
    """A line that stays open but says nothing for 12 seconds is stale too, and is made anew."""
    shop = pipeline()
    page = view(shop, fresh=True)
    page.clock.install()
    page.goto(f"{shop.address}#/streams")
    shop.write({"symbol": "A", "price": 1})
    expect(number(page)).to_have_text("1.00")
    with shop.pause():
        page.clock.fast_forward(SILENCE_MS // 2)
        expect(page.get_by_text("stale since")).to_have_count(0)
        page.clock.fast_forward(SILENCE_MS)
        expect(page.get_by_text("stale since")).to_be_visible()
    shop.write({"symbol": "A", "price": 2})
    page.clock.fast_forward(LONGEST_PAUSE_MS)
    expect(number(page)).to_have_text("2.00")
    expect(page.get_by_text("stale since")).to_have_count(0)


def test_page_fills_and_shows_a_gap(pipeline, view):
    """When an update goes missing on the way, the panel is filled anew from a snapshot and says so."""
    shop = pipeline()
    page = view(shop, fresh=True)
    drop = {"next": False, "dropped": 0}

    def route(ws):
        server = ws.connect_to_server()

        def to_page(message):
            parts = json.loads(message).get("panels", [])
            if drop["next"] and any(part["id"] == "notes" and not part.get("snapshot", True) for part in parts):
                drop["next"] = False
                drop["dropped"] += 1
                return
            ws.send(message)

        server.on_message(to_page)
        ws.on_message(server.send)

    page.route_web_socket(re.compile("/live$"), route)
    page.goto(f"{shop.address}#/streams")
    notes = panel(page, "Notes")
    shop.write({"symbol": "A", "price": 1, "note": "one"})
    expect(notes.locator(".feed-row")).to_have_count(1)
    drop["next"] = True
    shop.write({"symbol": "A", "price": 2, "note": "lost on the way"})
    expect(panel(page, "Latest").locator("tbody tr").first).to_be_visible()
    while not drop["dropped"]:
        page.wait_for_timeout(20)
    # What follows the lost update shows that one is missing. One record only: a list shows as many as it has room for.
    shop.write({"symbol": "A", "price": 3, "note": "later"})
    expect(notes.get_by_text("1 update gap, filled")).to_be_visible()
    expect(notes.locator(".feed-row", has_text="lost on the way")).to_be_visible()


def test_page_hidden_for_an_hour_watches_nothing_and_catches_up(pipeline, view):
    """A hidden page asks for no panels, gets none and grows by nothing; shown again it begins with a fresh snapshot."""
    shop = pipeline()
    page = view(shop, fresh=True)
    page.clock.install()
    frames: list[dict] = []
    wishes: list[dict] = []
    servers = []

    def route(ws):
        server = ws.connect_to_server()
        servers.append(server)

        def to_page(message):
            frames.append(json.loads(message))
            ws.send(message)

        def to_server(message):
            wishes.append(json.loads(message))
            server.send(message)

        server.on_message(to_page)
        ws.on_message(to_server)

    page.route_web_socket(re.compile("/live$"), route)
    page.goto(f"{shop.address}#/streams")
    shop.write({"symbol": "A", "price": 1})
    expect(number(page)).to_have_text("1.00")

    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    while wishes[-1]["panels"]:
        page.wait_for_timeout(20)
    assert wishes[-1]["metrics"] is False
    # A frame may be on its way; what the server says after it has answered is in the sense of the new wish.
    servers[-1].send('{"type": "ping", "id": 1}')
    while not any(frame["type"] == "pong" for frame in frames):
        page.wait_for_timeout(20)
    seen, heap = len(frames), heap_of(page)
    shop.write(*({"symbol": "A", "price": n} for n in range(2, 500)))
    # An hour for the page: all its timers, and thousands of records that it might have kept.
    for _ in range(60):
        page.clock.fast_forward(60_000)
    # Another page shows that the server had frames to send.
    expect(number(view(shop))).to_have_text("499.00")
    assert not any(frame.get("panels") or frame.get("metrics") for frame in frames[seen:])
    assert number(page).inner_text() == "1.00"
    assert heap_of(page) - heap < 1_000_000

    page.evaluate(hide, False)
    expect(number(page)).to_have_text("499.00")
    back = [part for frame in frames[seen:] for part in frame.get("panels", []) if part["kind"] == "feed"]
    assert back[0]["snapshot"] is True
