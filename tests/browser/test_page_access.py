"""Logging in, in a real browser; and what a reader is offered."""

import re

from playwright.sync_api import expect

TOKEN = "a-token-that-is-long-enough-to-be-one"
READER = "another-token-for-those-who-only-read"


def guarded(text: str) -> str:
    return text.replace("  port: {port}\n", f"  port: {{port}}\n  token: {TOKEN}\n  reader_token: {READER}\n")


def test_page_asks_for_the_token(pipeline, pipeline_text, view):
    """Without a session the page asks for the token, refuses a wrong one, and logs out again."""
    shop = pipeline(guarded(pipeline_text))
    page = view(shop, refusals=True)
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Streams")
    shop.write({"symbol": "A", "price": 7})
    expect(page.locator(".number-value")).to_have_text("7.00")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert TOKEN not in page.content()


def test_page_offers_a_reader_no_changes(pipeline, pipeline_text, view):
    """Who may only read sees dead letters, but nothing to replay or discard them with."""
    shop = pipeline(guarded(pipeline_text))
    page = view(shop, "dead-letters", refusals=True)
    shop.write({"symbol": "A", "price": "bad"})
    page.get_by_label("Token").fill(READER)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("read only")).to_be_visible()
    page.reload()
    page.locator(".letter-open").click()
    expect(page.get_by_label(re.compile("^Dead letter "))).to_contain_text("got")
    expect(page.get_by_role("button", name=re.compile("Replay|Discard|Edit"))).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
