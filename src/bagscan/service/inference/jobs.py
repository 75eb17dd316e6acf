"""A job's life in the store: queued, running, done. It is done once, and its result is written once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from bagscan.service.store.tables import jobs, results, reviews, scans, shadow_results

TRIES = 2
PRIORITY = {"ALARM": 2.0, "REVIEW": 1.0, "CLEAR": 0.0}


@dataclass(frozen=True)
class Job:
    """A job that was taken, with what it takes to do it."""

    id: str
    scan_id: str
    attempts: int
    files: tuple[dict[str, Any], ...]
    scanner: str
    source_id: str
    is_tip: bool


def take(connection: Connection, instance: str) -> Job | None:
    """The oldest job that waits, now this instance's; None where nothing waits."""
    waiting = select(jobs.c.id).where(jobs.c.state == "queued").order_by(jobs.c.created_at).limit(1)
    if connection.dialect.name == "postgresql":
        waiting = waiting.with_for_update(skip_locked=True)  # services side by side take different ones
    row = connection.execute(waiting).first()
    if row is None:
        return None
    connection.execute(update(jobs).where(jobs.c.id == row.id).values(state="running", attempts=jobs.c.attempts + 1, instance=instance, started_at=time.time()))
    found = select(jobs.c.id, jobs.c.scan_id, jobs.c.attempts, scans.c.files, scans.c.scanner, scans.c.source_id, scans.c.tip).join(scans, scans.c.id == jobs.c.scan_id)
    job = connection.execute(found.where(jobs.c.id == row.id)).one()
    return Job(job.id, job.scan_id, job.attempts, tuple(job.files), job.scanner, job.source_id, job.tip is not None)


def tried_again(connection: Connection, job_id: str) -> None:
    """Count one more try of a job that runs."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(attempts=jobs.c.attempts + 1))


def give_back(connection: Connection, instance: str) -> int:
    """Queue again what this instance ran when it was killed; returns how many."""
    return connection.execute(update(jobs).where(and_(jobs.c.state == "running", jobs.c.instance == instance)).values(state="queued", attempts=0, instance=None)).rowcount


def finish(connection: Connection, job: Job, row: Mapping[str, Any], artifacts: Mapping[str, Any], seconds: float, top_score: float | None, review: bool) -> bool:
    """Write a job's result, once; False where another did before.

    Args:
        review: whether the scan goes to reviewers.
    """
    now = time.time()
    done = connection.execute(update(jobs).where(jobs.c.id == job.id, jobs.c.state == "running").values(state="done", finished_at=now))
    if not done.rowcount:
        return False
    values = {"decision": row["decision"], "row": dict(row), "artifacts": dict(artifacts), "model_id": row.get("model_id"), "threshold": row.get("threshold")}
    connection.execute(insert(results).values(scan_id=job.scan_id, **values, top_score=top_score, seconds=seconds, created_at=now))
    if review:
        priority = PRIORITY[row["decision"]] + (top_score or 0.0)
        connection.execute(insert(reviews).values(scan_id=job.scan_id, state="first", priority=priority, created_at=now))
    return True


def keep_shadow(connection: Connection, scan_id: str, shadow: Mapping[str, Any]) -> None:
    """Keep what a shadow model said; nobody acts on it."""
    connection.execute(
        insert(shadow_results).values(scan_id=scan_id, model_id=shadow["model_id"], decision=shadow["decision"], top_score=shadow["top_score"], created_at=time.time())
    )
