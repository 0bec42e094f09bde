"""Three brokers and Prometheus: a broker may go, nothing is lost, and what is drawn and watched has data."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose import balance
from compose.stack import COMPOSE, OURS, Stack, until

pytestmark = pytest.mark.timeout(900)
BROKERS = ("kafka", "kafka-2", "kafka-3")
QUERY = """
import json, sys, urllib.parse, urllib.request
for line in sys.stdin:
    path = line.strip()
    print(json.dumps(json.load(urllib.request.urlopen("http://prometheus:9090/api/v1/" + path, timeout=10))["data"]))
"""


@pytest.fixture(scope="module")
def stack(start: Callable[..., Stack]) -> Stack:
    # Named, so that Grafana is left out: there is no stand-in for it.
    return start("compose.cluster.yaml", "compose.monitoring.yaml", services=("prometheus",))


def ask(stack: Stack, *paths: str) -> list[Any]:
    """What Prometheus answers, asked from within."""
    said = stack.execute("web_dashboard", "python3", "-c", QUERY, text="\n".join(paths))
    return [json.loads(line) for line in said.splitlines()]


def query(expression: str) -> str:
    import urllib.parse

    return "query?" + urllib.parse.urlencode({"query": expression})


def test_each_topic_has_three_copies(stack: Stack) -> None:
    """Data, offsets and transactions live on all three brokers."""
    for broker in BROKERS:
        kept = stack.execute(broker, "ls", "/var/lib/kafka/data").split()
        assert {"stock_trades-0", "stock_prices-2", "demo.prices.state-0"} <= set(kept)
        assert any(name.startswith("__transaction_state") for name in kept)


@pytest.mark.parametrize("broker", BROKERS)
def test_a_broker_that_is_killed_is_not_missed(stack: Stack, broker: str) -> None:
    """Killed with -9 it comes back by itself; meanwhile records go on being written."""
    began = time.monotonic()
    stack.crash(broker)
    before = until(lambda: stack.taken_in("prices"), "figures")
    until(lambda: stack.taken_in("prices") > before + 1_000, "prices to go on")
    going_on = time.monotonic() - began
    until(lambda: stack.is_healthy(broker, *OURS), "all to be healthy")
    print(f"{broker}: records after {going_on:.0f} s, healthy after {time.monotonic() - began:.0f} s")


def test_every_query_of_the_board_returns_data(stack: Stack) -> None:
    """Prometheus, which reads the dashboard, has something for each panel, with the board's own variable put in."""
    board = json.loads((COMPOSE / "monitoring/grafana/boards/streamweaver.json").read_text())
    asked = [target["expr"].replace("$pipeline", ".*") for panel in board["panels"] for target in panel["targets"]]

    def unanswered() -> list[str]:
        answers = ask(stack, *map(query, asked))
        return [text for text, answer in zip(asked, answers, strict=True) if not answer["result"]]

    until(lambda: not unanswered(), "an answer to every query", 120)
    print(f"{len(asked)} queries answered")


def test_rules_are_loaded_and_well(stack: Stack) -> None:
    """Each rule of the file is evaluated without an error."""
    (answer,) = ask(stack, "rules")
    rules = [rule for group in answer["groups"] for rule in group["rules"]]
    wanted = yaml.safe_load((COMPOSE / "monitoring/rules.yaml").read_text())["groups"][0]["rules"]
    assert {rule["name"] for rule in rules} == {rule.get("alert", rule.get("record")) for rule in wanted}
    until(lambda: all(r["health"] == "ok" for g in ask(stack, "rules")[0]["groups"] for r in g["rules"]), "the rules")


def test_an_alert_fires_and_ends(stack: Stack) -> None:
    """A service that is stopped is told of by an alert that names its stages; started again, the alert goes."""

    def firing() -> set[str]:
        return {
            alert["labels"].get("stage", "")
            for alert in ask(stack, "alerts")[0]["alerts"]
            if alert["state"] == "firing" and alert["labels"]["alertname"] == "StageUnhealthy"
        }

    stack.compose("stop", "websocket_server")
    until(lambda: firing() == {"live"}, "the alert", 120)
    stack.up("prometheus")
    until(lambda: not firing(), "the end of the alert", 120)


def test_nothing_was_lost_with_the_brokers(stack: Stack, pipeline: Path, tmp_path: Path) -> None:
    """What was made is there once, in order, with right averages, after each broker was killed."""
    balance.quiet(stack)
    counts = balance.check(stack, pipeline, tmp_path)
    print(f"balanced: {counts}")
    assert counts["stock_trades"] == counts["stock_prices"] > 10_000


def test_memory_stayed_within_its_limits(stack: Stack) -> None:
    """No container was ever killed for its memory."""
    used = stack.memory_mb()
    print({re.sub("^streamweaver-test-", "", n): f"{now:.0f} of {most:.0f} MiB" for n, (now, most) in used.items()})
    assert all(0 < now < most for now, most in used.values())
    assert not any(each["State"]["OOMKilled"] for name in (*BROKERS, *OURS) for each in stack.inspect(name))
