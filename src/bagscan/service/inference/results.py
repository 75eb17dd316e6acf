"""Results of jobs: stored, counted, and passed to the callers that wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from bagscan.service.inference import jobs
from bagscan.service.inference.answers import answer_row, mark_doubtful
from bagscan.service.inference.drift import Drift
from bagscan.service.inference.jobs import Job
from bagscan.service.metrics import Metrics
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store


class Results:
    """Writer of results, with the callbacks registered for them.

    Args:
        drift: receives the top score of every real scan.
    """

    def __init__(self, store: Store, config: ServiceConfig, metrics: Metrics, drift: Drift) -> None:
        self._store, self._config, self._metrics, self._drift = store, config, metrics, drift
        self._callbacks: dict[str, Callable[[dict[str, Any]], object]] = {}
        self._lock = threading.Lock()

    def when_done(self, job_id: str, call: Callable[[dict[str, Any]], object]) -> None:
        """Call ``call(row)`` once the result of a job is stored here."""
        with self._lock:
            self._callbacks[job_id] = call

    def forget(self, job_id: str) -> None:
        """Remove the callback of a job."""
        with self._lock:
            self._callbacks.pop(job_id, None)

    def write(
        self,
        job: Job,
        answer: dict[str, Any],
        seconds: float,
        take: Callable[[Connection], Job | None] | None,
    ) -> Job | None:
        """Store the result of a job.

        Args:
            answer: checked answer of a worker.
            seconds: time that the job took.
            take: takes the next job in the same transaction; None takes no job.

        Returns:
            The next job.

        Raises:
            StoreError: the result is not stored.
        """
        row = mark_doubtful(
            answer_row(answer, job.source_id), job.scanner, self._config, self._drift
        )
        top = answer.get("stats", {}).get("top_score")
        # The rule includes test images; an exception would reveal them to readers.
        review = self._config.reviewed == "all" or row["decision"] != "CLEAR"
        artifacts = answer.get("artifacts", {})

        def write(connection: Connection) -> tuple[bool, Job | None]:
            is_new = jobs.finish(connection, job, row, artifacts, seconds, top, review)
            return is_new, take(connection) if take is not None else None

        is_new, following = self._store.write(write)
        if is_new:
            error = "error" if not answer["ok"] else ""
            self._metrics.screened.labels(row["decision"], error).inc()
            self._metrics.screen_seconds.observe(seconds)
            if top is not None and row.get("model_id") and not job.is_tip:
                self._drift.add(row["model_id"], top)
        with self._lock:
            call = self._callbacks.pop(job.id, None)
        if call is not None:
            call(jobs.response_row(job.scan_id, row))
        return following

    def write_shadow(self, scan_id: str, verdict: dict[str, Any]) -> None:
        """Store the verdict of a shadow model."""
        self._store.write(lambda connection: jobs.keep_shadow(connection, scan_id, verdict))
