"""The producer `server_logs`: log lines of a handful of services that now and then have trouble."""

from collections.abc import Iterator
from random import Random
from typing import Any

import attrs

from streamweaver import ProducerContext, Record, option, producer
from streamweaver_producers._simulation import resumed, stamped, zipf

_PATHS = {
    "auth_api": ("/login", "/logout", "/token/refresh", "/users/me"),
    "orders_api": ("/orders", "/orders/{}", "/orders/{}/items", "/checkout"),
    "payments_api": ("/payments", "/payments/{}", "/refunds/{}", "/cards"),
    "catalog_api": ("/products", "/products/{}", "/search", "/categories"),
    "gateway": ("/", "/health", "/static/app.js", "/api/v1/session"),
    "mailer": ("/send", "/templates/{}", "/bounces"),
}
_OTHER_PATHS = ("/", "/items", "/items/{}", "/health")
_METHODS = ("GET", "GET", "GET", "GET", "POST", "POST", "PUT", "DELETE")
_FAULTS = (
    "connection to database timed out after {} ms",
    "upstream returned 503 after {} ms",
    "unhandled exception in request handler: KeyError 'user_{}'",
    "circuit breaker opened after {} failures",
    "could not acquire lock within {} ms",
)
_WARNINGS = (
    "slow query: {} ms",
    "retrying request, attempt {}",
    "connection pool is {} % used",
    "rate limit reached for client, {} requests in the last minute",
)
_NEWS = ("user {} signed in", "job {} finished", "session {} started", "message {} queued", "report {} written")
_DETAILS = ("cache miss for key item:{}", "feature flags reloaded, {} active", "garbage collection took {} ms")


@attrs.define(eq=False)
class Service:
    """One service: how it is doing, and what it logs."""

    name: str
    host: str
    latency_ms: float
    paths: tuple[str, ...]
    trouble: float = 0.0
    """From 0 (all is well) to 1 (at the height of an incident)."""
    trouble_left: int = 0
    """Log lines until the incident is over."""
    trouble_lines: int = 1

    def live(self, rng: Random, chance: float, lines: int) -> None:
        """Begin, worsen, ease or end an incident."""
        if self.trouble_left:
            self.trouble_left -= 1
            done = 1 - self.trouble_left / self.trouble_lines
            self.trouble = min(1.0, done * 8, (1 - done) * 4)
        elif rng.random() < chance:
            self.trouble_left = self.trouble_lines = max(1, int(lines * rng.uniform(0.5, 1.5)))

    def access(self, rng: Random, client: str) -> dict[str, Any]:
        """Log one request."""
        random = rng.random
        method = _METHODS[int(random() * len(_METHODS))]
        path = self.paths[int(random() * len(self.paths))].format(int(random() * 9000) + 1000)
        latency = round(self.latency_ms * rng.lognormvariate(0, 0.5) * (1 + 9 * self.trouble), 1)
        luck = random()
        if luck < 0.004 + 0.45 * self.trouble:
            status, level = (500, 502, 503, 504)[int(random() * 4)], "ERROR"
        elif luck < 0.05 + 0.5 * self.trouble:
            status, level = (400, 401, 404, 404, 429)[int(random() * 5)], "WARN"
        else:
            status, level = (201 if method == "POST" else 200), "INFO"
        return {
            "timestamp": "",
            "service": self.name,
            "level": level,
            "message": f"{method} {path} {status} {latency} ms",
            "ip": client,
            "kind": "access",
            "method": method,
            "path": path,
            "status": status,
            "latency_ms": latency,
        }

    def event(self, rng: Random, client: str) -> dict[str, Any]:
        """Log something that happened."""
        luck = rng.random()
        texts: tuple[str, ...]
        if luck < 0.02 + 0.7 * self.trouble:
            level, texts = "ERROR", _FAULTS
        elif luck < 0.14 + 0.75 * self.trouble:
            level, texts = "WARN", _WARNINGS
        elif luck < 0.7:
            level, texts = "INFO", _NEWS
        else:
            level, texts = "DEBUG", _DETAILS
        message = texts[int(rng.random() * len(texts))].format(int(rng.random() * 900) + 10)
        kind = "error" if level == "ERROR" else "event"
        return {
            "timestamp": "",
            "service": self.name,
            "level": level,
            "message": message,
            "ip": client,
            "kind": kind,
        }

    def metric(self, rng: Random) -> dict[str, Any]:
        """Log how the process is doing."""
        cpu = round(min(100.0, max(1.0, rng.gauss(28 + 60 * self.trouble, 7))), 1)
        memory = round(max(80.0, rng.gauss(420 + 300 * self.trouble, 25)))
        p95 = round(self.latency_ms * 2.3 * (1 + 9 * self.trouble) * rng.uniform(0.9, 1.1), 1)
        return {
            "timestamp": "",
            "service": self.name,
            "level": "WARN" if cpu > 85 else "INFO",
            "message": f"cpu {cpu} % memory {memory} MB p95 {p95} ms",
            "ip": self.host,
            "kind": "metric",
            "cpu_percent": cpu,
            "memory_mb": memory,
            "latency_ms": p95,
        }


@producer("server_logs", resumes=True, key="service", example="{use: server_logs, to: server_logs, rate: 300}")
@attrs.define
class ServerLogs:
    """Synthetic logs of several services: requests, errors, figures; now and then an incident.

    `{"timestamp", "service", "level": "DEBUG" | "INFO" | "WARN" | "ERROR", "message", "ip", "kind"}`, where `kind` is
    `access` (with `method`, `path`, `status`, `latency_ms`), `error`, `event`, or `metric` (with `cpu_percent`,
    `memory_mb`, `latency_ms`: the 95th percentile). In an incident one service gets slow and fails, up to half of its
    requests and ten times as slow, and then recovers.

    With a `seed` the lines (all but their timestamps) are always the same, and a restart goes on with the next one;
    for that the sequence is made again up to there, which takes a few seconds for a million lines.
    """

    services: list[str] = option(
        factory=lambda: list(_PATHS),
        help="names of the services, the busiest first",
        example=["auth_api", "orders_api"],
        min_length=1,
    )
    incident_every: int = option(
        default=20_000, help="lines from one incident to the next, on average; 0 for none", example=5000, ge=0
    )
    incident_lines: int = option(
        default=400, help="lines of the service concerned during one incident, on average", example=1000, ge=1
    )
    metric_share: float = option(
        default=0.08, help="share of the lines that are performance metrics", example=0.2, ge=0, le=1
    )
    seed: int | None = option(default=None, help="makes the same lines every time", example=42)

    _payloads: Iterator[dict[str, Any]] = attrs.field(factory=lambda: iter(()), init=False, repr=False, eq=False)

    async def open(self, context: ProducerContext) -> None:
        """Begin, or go on with the sequence of a seed."""
        self._payloads = await resumed(self._lines(Random(self.seed)), self.seed, context)

    def produce(self, context: ProducerContext) -> Iterator[Record]:
        """Make log lines without end."""
        return stamped(self._payloads, context)

    def _lines(self, rng: Random) -> Iterator[dict[str, Any]]:
        random = rng.random
        services = [
            Service(name, f"10.0.{n // 250}.{n % 250 + 1}", rng.uniform(12, 90), _PATHS.get(name, _OTHER_PATHS))
            for n, name in enumerate(self.services)
        ]
        clients = [
            f"{rng.randint(11, 198)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
            for _ in range(400)
        ]
        chance = 1 / self.incident_every if self.incident_every else 0.0
        busy, faithful = zipf(len(services), 0.7), zipf(len(clients), 0.8)
        events = self.metric_share + (1 - self.metric_share) * 0.22
        while True:
            for service, client in zip(
                rng.choices(services, cum_weights=busy, k=256),
                rng.choices(clients, cum_weights=faithful, k=256),
                strict=True,
            ):
                service.live(rng, chance, self.incident_lines)
                kind = random()
                if kind < self.metric_share:
                    yield service.metric(rng)
                elif kind < events:
                    yield service.event(rng, client)
                else:
                    yield service.access(rng, client)
