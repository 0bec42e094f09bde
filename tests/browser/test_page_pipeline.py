"""The pipeline and its topics in a real browser."""

import re

from playwright.sync_api import Page, expect

SECRET = "canary-secret-token"
WITH_SECRET = """
name: shop
topics:
  lines: {{partitions: 2}}
producers:
  file: {{use: file_tail, paths: ["{input}"], to: lines, poll_seconds: 0.05}}
sinks:
  live: {{use: websocket, from: lines, token: "canary-secret-token", port: 0}}
dashboard:
  port: {port}
"""


def records(page: Page):
    return page.locator("button.record")


def test_page_graph_tells_rate_lag_and_health(pipeline, view):
    """Every arrow has a rate; one into a stage also its lag in seconds; each stage its health."""
    shop = pipeline()
    page = view(shop, "pipeline")
    arrows = page.get_by_role("list", name="Arrows").get_by_role("listitem")
    expect(arrows).to_have_count(3)
    expect(arrows.filter(has_text="lines to parse")).to_have_text(
        re.compile(r"lines to parse: .*/s\s*\d+(\.\d)? m?s, lag, health ok")
    )
    expect(arrows.filter(has_text="parse to trades")).to_have_text(re.compile(r"parse to trades: .*/s, health ok"))
    expect(page.get_by_role("link", name=re.compile(r"parse\s*stage, health ok"))).to_be_visible()


def test_page_stage_tells_all(pipeline, view):
    """A stage shows its counts, its charts, its options, its guarantee and its offsets."""
    shop = pipeline()
    shop.write(*({"symbol": "A", "price": n} for n in range(7)))
    page = view(shop, "pipeline")
    page.get_by_role("link", name=re.compile("^parse")).click()
    stage = page.get_by_role("region", name="Stage parse")
    expect(stage.locator(".tiles")).to_contain_text("7 in all")
    expect(stage.locator("figure canvas")).to_have_count(5)
    expect(stage.locator(".plugin-name")).to_have_text(["parse_log", "convert"])
    expect(stage).to_contain_text("at least once")
    row = stage.get_by_role("region", name="Inputs").locator("tbody tr")
    expect(row.locator("td").last).to_have_text("7")


def test_page_hides_secrets(pipeline, view):
    """A secret option is said to be set; its value is nowhere in what the page was sent or shows."""
    shop = pipeline(WITH_SECRET)
    page = view(shop, fresh=True)
    bodies: list[str] = []
    page.on("response", lambda response: bodies.append(response.text()) if "/api/" in response.url else None)
    page.goto(f"{shop.address}#/pipeline/stage/live")
    stage = page.get_by_role("region", name="Stage live")
    expect(stage.get_by_text("secret, set")).to_be_visible()
    assert bodies
    assert SECRET not in "".join(bodies) + page.content()


def test_page_topic_is_followed_filtered_and_paused(pipeline, view):
    """A topic's records come live, newest first; a field filter and free text narrow them; pause holds them."""
    shop = pipeline()
    shop.write({"symbol": "A", "price": 1, "note": "one"}, {"symbol": "B", "price": 2, "note": "two"})
    page = view(shop, "pipeline/topic/trades")
    expect(records(page)).to_have_count(2)
    shop.write({"symbol": "A", "price": 3, "note": "three"})
    expect(records(page)).to_have_count(3)
    expect(records(page).first).to_contain_text("three")
    page.get_by_label("Filter by fields").fill("symbol=A")
    expect(records(page)).to_have_count(2)
    page.get_by_label("Find text in the records").fill("THREE")
    expect(records(page)).to_have_count(1)
    page.get_by_label("Find text in the records").fill("")
    expect(records(page)).to_have_count(2)
    page.get_by_role("button", name="Pause", exact=True).click()
    shop.write({"symbol": "A", "price": 4, "note": "four"})
    # Another page shows that the record was there to be shown.
    expect(records(view(shop, "pipeline/topic/trades")).first).to_contain_text("four")
    expect(records(page)).to_have_count(2)
    page.get_by_role("button", name="Go on").click()
    expect(records(page)).to_have_count(3)
    page.get_by_label("Filter by fields").fill("symbol")
    expect(page.get_by_role("alert")).to_have_text('"symbol": expected field=value')


def test_page_jumps_to_offset_and_time(pipeline, view):
    """A jump shows the records from that offset, or that time, on."""
    shop = pipeline()
    shop.write(*({"symbol": "A", "price": n, "note": f"number {n}"} for n in range(30)))
    page = view(shop, "pipeline/topic/trades")
    expect(records(page).first).to_contain_text("number 29")
    page.get_by_label("Offset").fill("12")
    page.get_by_role("button", name="Jump", exact=True).click()
    expect(records(page).first).to_contain_text("0:12")
    expect(records(page).first).to_contain_text("number 12")
    page.get_by_role("button", name="Oldest").click()
    expect(records(page).first).to_contain_text("number 0")
    page.get_by_label("Jump to").select_option("time")
    page.get_by_label("Time", exact=True).fill("2020-01-01T00:00:00")
    page.get_by_role("button", name="Jump", exact=True).click()
    expect(records(page).first).to_contain_text("0:0")
    page.get_by_role("button", name="Live").click()
    expect(records(page).first).to_contain_text("number 29")


def test_page_record_is_a_tree(pipeline, view):
    """A record opens as a tree of its JSON, with key, time and place."""
    shop = pipeline()
    shop.write({"symbol": "A", "price": 1, "deep": {"list": [1, {"x": True}]}})
    page = view(shop, "pipeline/topic/trades")
    records(page).first.click()
    detail = page.get_by_label("Record", exact=True)
    expect(detail).to_contain_text("Record 0:0")
    expect(detail.locator(".json-name")).to_have_text(
        ["path", "symbol", "price", "deep", "list", "0", "1", "x", "level"]
    )
