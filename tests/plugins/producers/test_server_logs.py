"""The lines of `server_logs` are believable."""

import ipaddress
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

from streamweaver_producers.server_logs import ServerLogs

_BASE = ["timestamp", "service", "level", "message", "ip", "kind"]
_EXTRA: dict[str, list[str]] = {
    "access": ["method", "path", "status", "latency_ms"],
    "error": [],
    "event": [],
    "metric": ["cpu_percent", "memory_mb", "latency_ms"],
}


async def test_payload(take: Callable[..., Any]) -> None:
    """Every kind of line comes, with its fields, a known level and a valid address."""
    seen: set[str] = set()
    for record in await take(ServerLogs(seed=1), 10_000):
        line = record.value
        assert list(line) == _BASE + _EXTRA[line["kind"]]
        assert line["level"] in ("DEBUG", "INFO", "WARN", "ERROR")
        assert line["message"]
        assert "{" not in line["message"]
        ipaddress.ip_address(line["ip"])
        seen.add(line["kind"])
    assert seen == set(_EXTRA)


async def test_calm(take: Callable[..., Any]) -> None:
    """Without incidents most lines are INFO and few are errors."""
    levels = Counter(r.value["level"] for r in await take(ServerLogs(seed=2, incident_every=0), 20_000))
    assert levels["INFO"] > 15_000
    assert 20 < levels["ERROR"] < 400
    assert levels["WARN"] > levels["ERROR"]
    assert levels["DEBUG"] > 100


async def test_incidents(take: Callable[..., Any]) -> None:
    """Now and then one service fails and gets slow for a while, the others do not, and it recovers."""
    lines = [r.value for r in await take(ServerLogs(seed=3, incident_every=8000, incident_lines=600), 80_000)]
    worst: list[tuple[float, str, int]] = []
    for service in {line["service"] for line in lines}:
        own = [line for line in lines if line["service"] == service and line["kind"] == "access"]
        windows = [own[n : n + 100] for n in range(0, len(own) - 100, 100)]
        shares = [sum(line["level"] == "ERROR" for line in window) / 100 for window in windows]
        if max(shares) < 0.25:
            continue
        bad = windows[shares.index(max(shares))]
        usual = statistics.median(line["latency_ms"] for line in own)
        assert statistics.median(line["latency_ms"] for line in bad) > 3 * usual
        assert statistics.median(shares) < 0.05
        worst.append((max(shares), service, shares.index(max(shares))))
    assert len(worst) >= 2
    everything = [sum(line["level"] == "ERROR" for line in lines[n : n + 2000]) / 2000 for n in range(0, 80_000, 2000)]
    assert max(everything) > 5 * min(everything)


async def test_metrics_show_trouble(take: Callable[..., Any]) -> None:
    """The metrics of a service in an incident stand out."""
    lines = await take(ServerLogs(seed=4, services=["auth_api"], incident_every=500, metric_share=0.5), 20_000)
    cpu = [r.value["cpu_percent"] for r in lines if r.value["kind"] == "metric"]
    assert statistics.quantiles(cpu, n=4)[0] < 45
    assert max(cpu) > 80
    assert max(cpu) <= 100


async def test_share_of_metrics(take: Callable[..., Any]) -> None:
    """`metric_share` is the share of metrics, from none to all."""
    for share in (0.0, 0.3, 1.0):
        lines = await take(ServerLogs(seed=5, metric_share=share), 5000)
        assert abs(sum(r.value["kind"] == "metric" for r in lines) / 5000 - share) < 0.03


async def test_own_services(take: Callable[..., Any]) -> None:
    """Any names may be given; the first is the busiest."""
    count = Counter(r.value["service"] for r in await take(ServerLogs(seed=6, services=["a", "b", "c"]), 5000))
    assert [name for name, _ in count.most_common()] == ["a", "b", "c"]
