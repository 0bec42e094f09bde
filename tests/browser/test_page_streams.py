"""The streams in a real browser: what is on the screen is what is in the topics."""

import re

import pytest
from playwright.sync_api import Page, expect

TRADES = [
    {"symbol": "AAPL", "price": "175.25", "note": "first"},
    {"symbol": "MSFT", "price": "60.5", "note": "second"},
    {"symbol": "AAPL", "price": "176.75", "note": "third"},
]


def panel(page: Page, title: str):
    return page.get_by_role("region", name=title, exact=True)


@pytest.fixture(scope="module")
def stocked(shared_pipeline):
    """A pipeline that has three trades, for tests that write nothing."""
    made = shared_pipeline()
    made.write(*TRADES)
    return made


def test_page_values_are_those_of_the_topics(pipeline, view):
    """Lines, feeds, bars, tables, numbers, gauges and heatmaps show exactly what the topics hold."""
    shop = pipeline()
    page = view(shop)
    shop.write(*TRADES)
    expect(panel(page, "Price now").locator(".number-value")).to_have_text("176.75")
    values = shop.values("trades")
    assert [value["price"] for value in values] == [175.25, 60.5, 176.75]

    table = panel(page, "Latest").locator("tbody tr")
    expect(table).to_have_count(2)
    expect(table.nth(0).locator("th, td")).to_have_text(["AAPL", "176.75", "third", re.compile(r"\d\d:\d\d:\d\d")])
    expect(table.nth(1).locator("th, td")).to_have_text(["MSFT", "60.50", "second", re.compile(r"\d\d:\d\d:\d\d")])

    rows = panel(page, "Notes").locator(".feed-row")
    expect(rows).to_have_count(3)
    shown = [[cell.inner_text() for cell in row.locator(".feed-cell").all()] for row in rows.all()]
    assert shown == [[value["symbol"], f"{value['price']:g}", value["note"]] for value in reversed(values)]

    expect(panel(page, "Symbols").locator(".bar-name")).to_have_text(["AAPL", "MSFT"])
    expect(panel(page, "Symbols").locator(".bar-value")).to_have_text(["2", "1"])
    expect(panel(page, "Level").get_by_role("meter")).to_have_attribute("aria-valuenow", "176.75")
    expect(panel(page, "Level").locator(".badge")).to_have_text("bad")
    cells = [row.locator("th, td").all_inner_texts() for row in panel(page, "Map").locator("tbody tr").all()]
    assert cells == [["first", "1", "·"], ["second", "·", "1"], ["third", "1", "·"]]
    legend = panel(page, "Prices").locator(".legend-item")
    expect(legend).to_have_text([re.compile(r"AAPL\s*176\.75"), re.compile(r"MSFT\s*60\.50")])


def test_page_panels_move(pipeline, view, keep):
    """Three panels of one pipeline change by themselves while records come."""
    shop = pipeline()
    page = view(shop)
    shop.write({"symbol": "A", "price": 1, "note": "one"})
    watched = {
        "Price now": panel(page, "Price now").locator(".number-value"),
        "Notes": panel(page, "Notes").locator(".feed-row").first,
        "Symbols": panel(page, "Symbols").locator(".bar-value").first,
    }
    expect(watched["Price now"]).to_have_text("1.00")
    before = {name: place.inner_text() for name, place in watched.items()}
    shop.write({"symbol": "A", "price": 2, "note": "two"})
    for name, place in watched.items():
        expect(place).not_to_have_text(before[name])
    keep(page, "streams-light")


def test_page_pause_holds_and_goes_on(pipeline, view):
    """A paused panel keeps what it shows; going on it shows what came meanwhile."""
    shop = pipeline()
    page = view(shop)
    shop.write({"symbol": "A", "price": 1})
    now = panel(page, "Price now").locator(".number-value")
    notes = panel(page, "Notes")
    expect(now).to_have_text("1.00")
    expect(notes.locator(".feed-row")).to_have_count(1)
    notes.get_by_role("button", name="Pause Notes").click()
    shop.write({"symbol": "A", "price": 2})
    expect(now).to_have_text("2.00")
    expect(notes.locator(".feed-row")).to_have_count(1)
    notes.get_by_role("button", name="Go on with Notes").click()
    expect(notes.locator(".feed-row")).to_have_count(2)


def test_page_filter_finds_in_the_topic(pipeline, view):
    """A feed's filter looks through the topic, not only through what is shown, and stays live."""
    shop = pipeline()
    shop.write(*({"symbol": "A", "price": 1, "note": f"needle {n}" if n == 3 else f"hay {n}"} for n in range(200)))
    page = view(shop)
    notes = panel(page, "Notes")
    expect(notes.locator(".feed-row").first).to_be_visible()
    notes.get_by_role("button", name="Filter Notes").click()
    notes.get_by_role("searchbox").fill("NEEDLE")
    expect(notes.locator(".feed-row")).to_have_count(1)
    expect(notes.locator(".feed-row")).to_contain_text("needle 3")
    shop.write({"symbol": "A", "price": 1, "note": "needle again"})
    expect(notes.locator(".feed-row")).to_have_count(2)
    notes.get_by_role("searchbox").press("Escape")
    expect(notes.locator(".feed-row").first).to_contain_text("needle again")


def test_page_history_and_back(pipeline, view):
    """Dragging over a chart shows that past time; one click leads back to live."""
    shop = pipeline()
    page = view(shop)
    shop.write({"symbol": "A", "price": 1})
    prices = panel(page, "Prices")
    expect(prices.locator(".legend-item")).to_have_count(1)
    box = prices.locator(".u-over").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.6, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, y, steps=5)
    page.mouse.up()
    expect(prices.get_by_role("group", name="Past time shown")).to_be_visible()
    expect(prices.locator(".badge", has_text="paused")).to_have_count(0)
    prices.get_by_role("button", name="Back to live").click()
    shop.write({"symbol": "A", "price": 3})
    expect(prices.locator(".legend-item")).to_have_text(re.compile(r"A\s*3\.00"))


def test_page_chart_tells_values_by_keyboard(stocked, view):
    """Arrow keys move through a chart and the legend tells the value there, with its time."""
    page = view(stocked)
    prices = panel(page, "Prices")
    expect(prices.locator(".legend-time")).to_have_text("now")
    prices.get_by_role("application").focus()
    page.keyboard.press("ArrowLeft")
    expect(prices.locator(".legend-time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d"))


def test_page_full_screen(stocked, view):
    """A panel fills the whole page, and Escape gives the page back."""
    page = view(stocked)
    prices = panel(page, "Prices")
    prices.get_by_role("button", name="Full screen: Prices").click()
    expect(prices).to_have_class(re.compile("is-full"))
    box = prices.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) >= (1280, 790)
    prices.get_by_role("button", name="Leave full screen").click()
    expect(prices).not_to_have_class(re.compile("is-full"))


def test_page_keys_lead_through_the_views(stocked, view):
    """The number keys lead to the views, and typing into a field does not."""
    page = view(stocked)
    for key, title in (("2", "Pipeline"), ("3", "Dead letters"), ("4", "Alerts"), ("1", "Streams")):
        page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.get_by_role("navigation").get_by_role("link", name=title)).to_have_attribute("aria-current", "page")
    panel(page, "Notes").get_by_role("button", name="Filter Notes").click()
    page.keyboard.type("2")
    expect(page.get_by_role("heading", level=1)).to_have_text("Streams")


@pytest.mark.parametrize("size", [(390, 844), (1280, 800), (2560, 1440)], ids=["phone", "laptop", "large"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_fits(stocked, view, keep, size, theme):
    """From a phone to a large screen nothing is wider than the page, in both colour schemes."""
    width, height = size
    page = view(stocked, width=width, height=height, theme=theme)
    for where in ("streams", "pipeline/stage/parse", "pipeline/topic/trades", "dead-letters", "alerts"):
        page.goto(f"{stocked.address}#/{where}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if where == "streams":
            expect(panel(page, "Latest").locator("tbody tr")).to_have_count(2)
        elif where != "alerts":
            expect(page.locator(".card, .detail, .letters").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        keep(page, f"{where.replace('/', '-')}-{width}-{theme}")
