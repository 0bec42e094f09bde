"""The section `dashboard`: defaults, and mistakes with their places."""

import pytest

from streamweaver.config import parse
from streamweaver.config.dashboard import (
    DashboardConfig,
    RuleConfig,
    default_panels,
    is_loopback,
    make_rule,
)
from streamweaver.errors import ConfigError
from streamweaver.graph.build import build
from streamweaver.panel import PanelConfig, make_panel, slug
from streamweaver.registry import Registry

FILE = """
name: demo
producers:
  stocks: {use: stock_trades, to: trades}
flows:
  prices: {from: trades, to: prices}
dashboard:
%s
"""


def planned(section):
    text = FILE % "\n".join("  " + line for line in section.splitlines())
    return build(parse(text, "demo.yaml"), Registry())[0]


@pytest.mark.parametrize(
    ("panel", "says"),
    [
        ("kind: line, from: trades", "a line needs y"),
        ("kind: bar, from: trades", "a bar needs by"),
        ("kind: heatmap, from: trades, by: a", "a heatmap needs split"),
        ("kind: gauge, from: trades, y: a", "a gauge needs min and max"),
        ("kind: number, from: trades, show: mean", "show: mean needs y"),
        ("kind: number, from: trades, y: [a, b]", "a number takes one field as y, got 2"),
        ("kind: line, from: trades, y: a, show: rate", "a line cannot show rate, it shows one of last, mean, range"),
        ("kind: feed, from: trades, split: a", "a feed takes no split"),
        ("kind: bar, from: trades, by: a, fields: [b]", "a bar takes no fields"),
        ("kind: pie, from: trades", 'expected one of "line", "bar"'),
        ("kind: feed, from: tradez", "unknown topic 'tradez'; did you mean 'trades'?"),
        ("kind: feed", "missing key 'from'"),
        ("kind: feed, from: trades, top: 0", "at least 1"),
        ("kind: feed, from: trades, limitt: 3", "did you mean 'limit'?"),
    ],
)
def test_a_mistake_in_a_panel_has_its_place(panel, says):
    """Each mistake is reported at the panel's line, with what to do."""
    with pytest.raises(ConfigError) as error:
        planned(f"panels:\n  - {{{panel}}}")
    assert [finding.line for finding in error.value.findings] == [9]
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("host: 0.0.0.0", "can be reached from other machines and there is no token"),
        ("token: short", "a length of at least 8"),
        ("tls_key: a.pem", "belong together"),
        ("webhook: ftp://x", "expected text that matches https?://"),
        ("tick: 5s", "at most 1"),
        ("panels: {a: 1}", "expected a list of panels"),
        ("alerts:\n  - {when: lag of pricez > 1}", "unknown stage 'pricez'; did you mean 'prices'?"),
        ("alerts:\n  - {when: price of tradez > 1}", "unknown topic 'tradez'"),
        ("alerts:\n  - {when: lag > 1, by: symbol}", "by stands only with a condition on a field"),
        ("alerts:\n  - {when: lagg > 1}", "did you mean 'lag'?"),
        ("panels:\n" + "\n".join(["  - {kind: feed, from: trades}"] * 65), "got 65 panels, expected at most 64"),
    ],
)
def test_a_mistake_in_the_section_is_said(section, says):
    """Options of the server and rules are checked with the rest of the file."""
    with pytest.raises(ConfigError) as error:
        planned(section)
    assert says in str(error.value)


@pytest.mark.parametrize("way_in", ["token: long-enough", "reader_token: long-enough", "allow_anonymous: true"])
def test_other_machines_are_let_in_on_purpose_only(way_in):
    """An address that others can reach is accepted with a token, or when everyone is let in by name."""
    assert planned(f"host: 0.0.0.0\n{way_in}").dashboard.options.host == "0.0.0.0"


def test_secrets_of_the_dashboard_are_known_to_the_redactor():
    """Tokens and the webhook's address are blanked in logs."""
    plan = planned("token: a-secret-token\nwebhook: https://hooks.example.com/key")
    assert plan.redact("x a-secret-token https://hooks.example.com/key") == "x *** ***"


def test_without_panels_what_comes_out_is_drawn():
    """A file that names no panel gets a feed of each topic that nobody reads on."""
    panels = planned("enabled: true").dashboard.panels
    assert [(panel.topic, panel.kind) for panel in panels] == [("prices", "feed")]
    assert [panel.topic for panel in default_panels([f"t{n}" for n in range(9)])] == [f"t{n}" for n in range(6)]


def test_panels_get_defaults_and_names_of_their_own():
    """Ids are made of titles and differ; spans, tops and shows follow from the kind."""
    taken = set()
    one = make_panel(PanelConfig(kind="line", y="a", title="Prices (live)"), "t", taken)
    other = make_panel(PanelConfig(kind="number", title="Prices (live)"), "t", taken)
    assert (one.id, other.id) == ("prices-live", "prices-live-2")
    assert (one.show, one.span_seconds, one.top, one.y) == ("last", 300.0, 8, ("a",))
    assert (other.show, other.span_seconds, other.top) == ("rate", 10.0, None)
    assert make_panel(PanelConfig(kind="feed"), "t", taken).title == "t"
    assert slug("¿?") == "panel"


def test_a_rule_is_named_by_its_condition():
    """Without a name people read the condition."""
    rule = make_rule(RuleConfig(when="lag > 10 s"), set())
    assert (rule.name, rule.id, rule.level) == ("lag > 10 s", "lag-10-s", "warning")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("LocalHost", True), ("127.8.8.8", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_told_from_everything_else(host, local):
    """Only addresses that other machines cannot reach need no token."""
    assert is_loopback(host) == local
    if not local:
        with pytest.raises(ConfigError, match="there is no token"):
            planned(f"host: '{host}'")
        assert planned(f"host: '{host}'\nreader_token: long-enough").dashboard.options.host == host


def test_the_section_may_be_empty():
    """`dashboard:` alone means all defaults."""
    assert planned("").dashboard.options == DashboardConfig()
