"""The stages' figures in Prometheus' text form."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

COUNTERS = {
    "in": "records_in",
    "out": "records_out",
    "added": "records_added",
    "filtered": "records_filtered",
    "dead_lettered": "records_dead_lettered",
    "skipped": "records_skipped",
    "lost": "records_lost",
    "errors": "errors",
    "retries": "retries",
    "restarts": "restarts",
    "units": "units",
}
GAUGES = {"in_flight": "records_in_flight", "lag_records": "lag_records", "lag_seconds": "lag_seconds"}
TIMES = {"processing_ms": "processing_seconds", "latency_ms": "latency_seconds"}
HEALTHY = ("ok", "ended")


class Figures(Collector):
    """One scrape.

    Counters are told worker by worker. Their sum would fall when a worker goes and rise when it comes back, and
    `rate()` would take that for so many records.
    """

    def __init__(
        self, pipeline: str, merged: Mapping[str, Any], workers: Mapping[str, Mapping[str, Any]], clients: int
    ) -> None:
        self._pipeline = pipeline
        self._merged = merged
        self._workers = workers
        self._clients = clients

    def collect(self) -> Iterable[Metric]:
        """Return everything."""
        stages = self._merged["stages"]
        for name, metric in COUNTERS.items():
            labels = ["pipeline", "stage", "worker"]
            counter = CounterMetricFamily(f"streamweaver_{metric}", _help(metric), labels=labels)
            for worker, held in self._workers.items():
                for stage, figures in held["stages"].items():
                    counter.add_metric([self._pipeline, stage, worker], figures.get(name, 0))
            yield counter
        for name, metric in GAUGES.items():
            yield self._gauge(metric, {stage: figures[name] for stage, figures in stages.items()})
        yield self._gauge("stage_healthy", {s: float(f["health"] in HEALTHY) for s, f in stages.items()})
        for name, metric in TIMES.items():
            yield self._quantiles(metric, {stage: figures[name] for stage, figures in stages.items()})
        for kind in ("counters", "gauges"):
            yield self._own(kind, {stage: figures[kind] for stage, figures in stages.items()})
        workers = GaugeMetricFamily("streamweaver_workers", "Workers heard of.", labels=["pipeline"])
        workers.add_metric([self._pipeline], self._merged["workers"])
        yield workers
        clients = GaugeMetricFamily("streamweaver_dashboard_clients", "Live clients.", labels=["pipeline"])
        clients.add_metric([self._pipeline], self._clients)
        yield clients

    def _gauge(self, metric: str, values: Mapping[str, float]) -> Metric:
        family = GaugeMetricFamily(f"streamweaver_{metric}", _help(metric), labels=["pipeline", "stage"])
        for stage, value in values.items():
            family.add_metric([self._pipeline, stage], value)
        return family

    def _quantiles(self, metric: str, values: Mapping[str, Mapping[str, float] | None]) -> Metric:
        # Gauges, since percentiles of a summary would need its count and sum.
        labels = ["pipeline", "stage", "quantile"]
        family = GaugeMetricFamily(f"streamweaver_{metric}", _help(metric), labels=labels)
        for stage, summary in values.items():
            for share, quantile in (("p50", "0.5"), ("p90", "0.9"), ("p99", "0.99"), ("max", "1")):
                if summary is not None:
                    family.add_metric([self._pipeline, stage, quantile], summary[share] / 1000)
        return family

    def _own(self, kind: str, values: Mapping[str, Mapping[str, float]]) -> Metric:
        """Return what plugins count and measure themselves, by name."""
        family = GaugeMetricFamily(
            f"streamweaver_stage_{kind[:-1]}", f"A stage's own {kind}.", labels=["pipeline", "stage", "name"]
        )
        for stage, figures in values.items():
            for name, value in figures.items():
                family.add_metric([self._pipeline, stage, name], value)
        return family


def _help(metric: str) -> str:
    return metric.replace("_", " ").capitalize() + "."


def text(pipeline: str, merged: Mapping[str, Any], workers: Mapping[str, Mapping[str, Any]], clients: int) -> bytes:
    """Return a scrape: `merged` are the figures of all workers together, `workers` those of each, by name."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures(pipeline, merged, workers, clients))
    return generate_latest(registry)
