"""Metrics in Prometheus' format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Metrics of a service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bagscan_requests",
            "HTTP requests",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "bagscan_request_seconds",
            "Seconds to answer a request",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.screened = Counter(
            "bagscan_screened", "Scans screened", ["decision", "error"], registry=self.registry
        )
        self.screen_seconds = Histogram(
            "bagscan_screen_seconds",
            "Seconds to screen a scan, without waiting",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.worker_starts = Counter(
            "bagscan_worker_starts", "Worker processes started", registry=self.registry
        )
        self.retries = Counter(
            "bagscan_retries",
            "Scans screened a second time after a failure",
            registry=self.registry,
        )
        self.refused = Counter(
            "bagscan_refused", "Uploads refused", ["why"], registry=self.registry
        )
        self.decisions = Counter(
            "bagscan_decisions", "Decisions of readers", ["value"], registry=self.registry
        )
        self.waiting = Gauge(
            "bagscan_waiting", "Scans accepted but not yet screened", registry=self.registry
        )
        self.to_review = Gauge(
            "bagscan_to_review", "Scans waiting for a reader", registry=self.registry
        )
        self.ready = Gauge(
            "bagscan_ready", "1 if scans can be accepted and screened", registry=self.registry
        )
        self.drift_p = Gauge(
            "bagscan_drift_p",
            "p-value of a Kolmogorov-Smirnov test of the last scores against the first",
            ["model"],
            registry=self.registry,
        )
        self.audit_seq = Gauge(
            "bagscan_audit_seq", "Number of the newest audit record", registry=self.registry
        )

    def exposed(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
