"""Alerts in a real browser: a rule fires, is told of everywhere, resolves, and stays in the history."""

import http.server
import json
import re
import threading

import pytest
from playwright.sync_api import Page, expect

ALERTS = """  webhook: {{webhook}}
  alerts:
    - {{name: dear, when: "price of trades > 100", by: symbol, level: critical}}
    - {{name: bad lines, when: "dead letter rate of parse > 0 for 1 h"}}
"""


@pytest.fixture
def webhook():
    """A server that is told of alerts; its address, and what it was told."""
    told: list[dict] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", told
        server.shutdown()


def part(page: Page, name: str):
    return page.get_by_role("region", name=name, exact=True)


def test_page_tells_of_alerts(pipeline, pipeline_text, view, webhook, keep):
    """A rule that fires shows at once, and that it resolved; topic, webhook and history have both."""
    address, told = webhook
    text = pipeline_text.replace("  panels:\n", ALERTS.replace("{{webhook}}", address) + "  panels:\n")
    shop = pipeline(text)
    page = view(shop, "alerts")
    expect(part(page, "Now")).to_contain_text("all 2 rules quiet")
    expect(part(page, "History")).to_contain_text("Nothing fired yet")
    expect(part(page, "Rules").get_by_role("listitem")).to_have_count(2)

    shop.write({"symbol": "A", "price": 150}, {"symbol": "B", "price": 50})
    now = part(page, "Now").get_by_role("listitem")
    expect(now).to_have_count(1)
    expect(now).to_contain_text(re.compile(r"firing.*dear.*A: 150"))
    expect(page.get_by_role("navigation").get_by_label("1 firing")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\(1\) shop"))
    keep(page, "alerts-firing-light")

    shop.write({"symbol": "A", "price": 60})
    expect(part(page, "Now")).to_contain_text("all 2 rules quiet")
    expect(page).to_have_title(re.compile("^shop"))
    history = part(page, "History").get_by_role("listitem")
    expect(history).to_contain_text([re.compile("resolved.*dear.*A: 60"), re.compile("fired.*dear.*A: 150")])

    # A dashboard that has just begun listens for others before it tells.
    shop.until("shop.alerts", 2)
    stored = [(event["name"], event["subject"], event["state"]) for event in shop.values("shop.alerts")]
    assert stored == [("dear", "A", "firing"), ("dear", "A", "resolved")]
    while len(told) < 2:
        page.wait_for_timeout(20)
    assert [(event["pipeline"], event["state"], event["value"]) for event in told] == [
        ("shop", "firing", 150),
        ("shop", "resolved", 60),
    ]

    shop.stop()
    shop.start()
    page.reload()
    expect(history).to_have_count(2)


def test_page_shows_what_is_about_to_fire(pipeline, pipeline_text, view):
    """A condition that holds, but not yet for long enough, is pending; nothing is in the history."""
    rules = ALERTS.replace("  webhook: {{webhook}}\n", "")
    shop = pipeline(pipeline_text.replace("  panels:\n", rules + "  panels:\n"))
    page = view(shop, "alerts")
    expect(part(page, "Rules").get_by_role("listitem")).to_have_count(2)
    # A rate is there for as long as such lines come.
    now = part(page, "Now").get_by_role("listitem")
    while not now.count():
        shop.write("no JSON at all")
        page.wait_for_timeout(200)
    expect(now.first).to_contain_text(re.compile("pending.*bad lines.*parse"))
    expect(part(page, "History")).to_contain_text("Nothing fired yet")
