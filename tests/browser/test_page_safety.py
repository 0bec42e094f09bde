"""Content of records is text, whatever it holds; and everybody can use the page."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = Path(__file__).parents[2] / "dashboard" / "web" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = {
    "symbol": "<img src=x onerror=alert(1)>",
    "price": 1,
    "note": "<script>document.title='taken'</script> \u001b[31mred\u001b[0m \u202egpj.exe \u0000 {{7*7}}",
}
INERT = "<script>document.title='taken'</script> \u241b[31mred\u241b[0m \u27e8U+202E\u27e9gpj.exe \u2400 {{7*7}}"


def panel(page: Page, title: str):
    return page.get_by_role("region", name=title, exact=True)


def test_page_content_is_inert(pipeline, view):
    """Markup, ANSI sequences, overrides of the writing direction and control characters are shown, not obeyed."""
    shop = pipeline()
    page = view(shop)
    shop.write(HOSTILE)
    cells = panel(page, "Notes").locator(".feed-row .feed-cell")
    expect(cells.nth(2)).to_have_text(INERT)
    expect(cells.nth(0)).to_have_text(HOSTILE["symbol"])
    for where in ("streams", "pipeline/topic/trades"):
        page.goto(f"{shop.address}#/{where}")
        expect(page.get_by_text("<img src=x").first).to_be_visible()
        assert page.locator("main script, main img, main iframe").count() == 0
        assert "taken" not in page.title()
    page.locator("button.record").first.click()
    expect(page.locator(".json-string", has_text="<script>").first).to_contain_text(INERT)


@pytest.fixture(scope="module")
def shop(shared_pipeline):
    """A pipeline with a record whose gauge is red, and with a dead letter."""
    made = shared_pipeline()
    made.write({"symbol": "A", "price": 170, "note": "x"}, {"symbol": "B", "price": "bad"})
    return made


def test_page_policy_forbids_inline_code(shop, view):
    """The content security policy allows only files of the page, and the page keeps to it."""
    page = view(shop)
    policy = page.request.get(shop.address).headers["content-security-policy"]
    assert re.search(r"(default|script)-src 'self'", policy)
    assert "unsafe" not in policy
    assert page.locator("script:not([src])").count() == 0
    assert page.locator("[style*='url('], style").count() == 0


def test_page_long_line_is_cheap(pipeline, view):
    """A line of a megabyte is shown as its beginning, in a page that stays small and quick."""
    shop = pipeline()
    page = view(shop)
    shop.write({"symbol": "A", "price": 1})
    expect(panel(page, "Price now").locator(".number-value")).to_have_text("1.00")
    shop.write("x" * 1_000_000)
    # A panel out of sight does not draw.
    panel(page, "Raw").scroll_into_view_if_needed()
    row = panel(page, "Raw").locator(".feed-row").first
    expect(row).to_contain_text("xxxxxxxxxxxxxxxx")
    assert len(row.inner_text()) < 1000
    page.goto(f"{shop.address}#/pipeline/topic/lines")
    record = page.locator("button.record").first
    expect(record).to_contain_text("xxxxxxxxxxxxxxxx")
    record.click()
    expect(page.get_by_label("Record", exact=True)).to_contain_text("xxxx")
    assert len(page.content()) < 200_000
    page.goto(f"{shop.address}#/dead-letters")
    expect(page.locator(".letter")).to_have_count(1)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "where", ["streams", "pipeline/stage/parse", "pipeline/topic/trades", "dead-letters", "alerts"]
)
def test_page_has_no_serious_fault_of_access(shop, view, where, theme):
    """axe-core finds nothing serious or critical in any view, light or dark."""
    page = view(shop, where, theme=theme)
    if where == "streams":
        expect(panel(page, "Latest").locator("tbody tr")).to_have_count(1)
    elif where == "dead-letters":
        page.locator(".letter-open").click()
        expect(page.get_by_label(re.compile("^Dead letter "))).to_be_visible()
    elif where.endswith("trades"):
        page.locator("button.record").first.click()
    else:
        expect(page.locator(".card, .empty").first).to_be_visible()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    faults = [
        (fault["id"], fault["impact"], [node["html"][:160] for node in fault["nodes"]][:3])
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert faults == [], json.dumps(faults, indent=1)
