"""The compose files as they are written: limits, ports, rights, health, and names that fit pipeline and figures."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamweaver_dashboard.prometheus import COUNTERS, GAUGES, TIMES

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
BASE = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
CLUSTER = yaml.safe_load((COMPOSE / "compose.cluster.yaml").read_text())
MONITORING = yaml.safe_load((COMPOSE / "compose.monitoring.yaml").read_text())
DEMO = yaml.safe_load((ROOT / "pipelines/demo.yaml").read_text())
OURS = ("stock_producer", "social_producer", "log_producer", "stream_consumer", "websocket_server", "web_dashboard")
LIMIT_MB = 4096
METRICS = (
    {f"streamweaver_{name}_total" for name in COUNTERS.values()}
    | {f"streamweaver_{name}" for name in (*GAUGES.values(), *TIMES.values())}
    | {f"streamweaver_{name}" for name in ("stage_healthy", "stage_counter", "stage_gauge", "workers")}
    | {"streamweaver_dashboard_clients", "up"}
)


def megabytes(service: dict[str, Any]) -> int:
    return int(service["deploy"]["resources"]["limits"]["memory"].removesuffix("M"))


def test_the_services_are_those_that_were_asked_for() -> None:
    """A broker, three producers, the consumer, the WebSocket server and the dashboard."""
    assert set(BASE["services"]) == {"kafka", *OURS}


def test_every_stage_of_the_pipeline_runs_in_one_service() -> None:
    """The services' `--only` divide the stages of the demo among them: none is missing, none twice."""
    told = [s["command"][1].split(",") for s in BASE["services"].values() if s.get("command", [""])[0] == "--only"]
    stages = [stage for part in told for stage in part]
    assert sorted(stages) == sorted([*DEMO["producers"], *DEMO["flows"], *DEMO["sinks"]])


def test_all_services_together_stay_below_the_limit() -> None:
    """Memory limits sum to less than 4 GB, with three brokers and monitoring, too; each has a limit of processors."""
    together = BASE["services"] | MONITORING["services"]
    assert sum(map(megabytes, together.values())) < LIMIT_MB
    brokers = {name: s for name, s in CLUSTER["services"].items() if name.startswith("kafka")}
    assert len(brokers) == 3
    assert sum(map(megabytes, (together | brokers).values())) < LIMIT_MB
    assert all(float(s["deploy"]["resources"]["limits"]["cpus"]) > 0 for s in (together | brokers).values())


def test_only_the_dashboard_can_be_reached() -> None:
    """One published port, on loopback; the broker's network has no way out."""
    assert [name for name, service in BASE["services"].items() if "ports" in service] == ["web_dashboard"]
    ports = [*BASE["services"]["web_dashboard"]["ports"], *MONITORING["services"]["grafana"]["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert BASE["networks"]["backend"] == {"internal": True}
    assert "ports" not in MONITORING["services"]["prometheus"]


@pytest.mark.parametrize("name", OURS)
def test_services_have_no_rights_that_they_do_not_need(name: str) -> None:
    """Ours run from a read-only root, without capabilities, and cannot gain any."""
    service = BASE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True


def test_services_come_back_and_have_time_to_drain() -> None:
    """Each restarts by itself, and a stop waits longer than the pipeline may take to drain (30 s)."""
    for service in (BASE["services"] | MONITORING["services"]).values():
        assert service["restart"] == "unless-stopped"
    assert all(int(BASE["services"][name]["stop_grace_period"].removesuffix("s")) > 30 for name in OURS)


def test_start_is_ordered_by_health() -> None:
    """Everything waits for the broker, the dashboard for everything; each dependency is one on health."""
    for name in OURS:
        waits = BASE["services"][name]["depends_on"]
        assert "kafka" in waits
        assert all(how == {"condition": "service_healthy"} for how in waits.values())
    assert set(BASE["services"]["web_dashboard"]["depends_on"]) == {"kafka", *OURS} - {"web_dashboard"}


def test_images_are_pinned() -> None:
    """No image floats: each has a version."""
    images = [s["image"] for s in (BASE["services"] | MONITORING["services"]).values()]
    assert all(re.search(r":-?[^:]*\d", image) and "latest" not in image for image in images)
    assert "FROM ${PYTHON_IMAGE}" in (ROOT / "Dockerfile").read_text()


def test_the_image_has_the_version_of_the_package() -> None:
    """The image, the Dockerfile's label and pyproject.toml name one version."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert BASE["services"]["web_dashboard"]["image"] == f"streamweaver:${{STREAMWEAVER_VERSION:-{version[1]}}}"
    assert f"ARG VERSION={version[1]}\n" in (ROOT / "Dockerfile").read_text()


def test_what_the_image_installs_is_pinned_and_complete() -> None:
    """Each dependency of the package is in the lock with a version and hashes."""
    text = (COMPOSE / "image/requirements.txt").read_text()
    locked = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))
    project = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert project is not None
    wanted = {name.lower() for name in re.findall(r'"([A-Za-z0-9._-]+)', project[1])}
    assert wanted <= set(locked)
    assert text.count("==") <= text.count("--hash=sha256:")


def test_the_cluster_keeps_three_copies() -> None:
    """Three copies, two of which must be written; each broker has a number, a name and a volume of its own."""
    brokers = {name: s for name, s in CLUSTER["services"].items() if name.startswith("kafka")}
    for service in brokers.values():
        environment = service["environment"]
        assert environment["KAFKA_DEFAULT_REPLICATION_FACTOR"] == 3
        assert environment["KAFKA_MIN_INSYNC_REPLICAS"] == environment["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == 2
    assert len({s["environment"]["KAFKA_ADVERTISED_LISTENERS"] for s in brokers.values()}) == 3
    assert {s["environment"].get("KAFKA_NODE_ID", 1) for s in brokers.values()} == {1, 2, 3}


def test_the_secure_setup_has_no_secret_in_it() -> None:
    """Passwords and tokens come from files only, none of which is committed."""
    text = (COMPOSE / "compose.secure.yaml").read_text()
    secure = yaml.safe_load(text)
    assert all(secret["file"].startswith("secure/secrets/") for secret in secure["secrets"].values())
    for option in ("broker.password", "sinks.live.token", "dashboard.token"):
        assert re.search(rf"{option}=\$\$\{{file:/run/secrets/\w+\}}", text)
    assert (COMPOSE / "secure/.gitignore").read_text() == "secrets/\n"


def expressions() -> list[str]:
    board = json.loads((COMPOSE / "monitoring/grafana/boards/streamweaver.json").read_text())
    rules = yaml.safe_load((COMPOSE / "monitoring/rules.yaml").read_text())
    drawn = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return drawn + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def test_board_and_rules_ask_for_metrics_that_there_are() -> None:
    """Every metric that is named is one that /metrics has, or that a rule records."""
    rules = yaml.safe_load((COMPOSE / "monitoring/rules.yaml").read_text())
    recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule}
    named = {name for text in expressions() for name in re.findall(r"\b(streamweaver[a-z0-9_:]+|up)\b", text)}
    assert named
    assert named - recorded - METRICS == set()


def test_every_alert_is_explained() -> None:
    """The page on alerts has a section for each rule, and none for a rule that is gone."""
    rules = yaml.safe_load((COMPOSE / "monitoring/rules.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    page = (ROOT / "docs/operate/alerts.md").read_text()
    assert set(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == alerts
