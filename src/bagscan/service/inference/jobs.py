"""A job's life in the store: queued, running, done. It is done once, and its result is written once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update

from bagscan.service.store.tables import jobs, results, reviews, scans, shadow_results

MAX_ATTEMPTS = 2
MAX_LEASES = 5
PRIORITY = {"ALARM": 2.0, "REVIEW": 1.0, "CLEAR": 0.0}


# Built once: under load, building statements would cost as much as running them.
OLDEST = select(
    jobs.c.id,
    jobs.c.scan_id,
    jobs.c.attempts,
    scans.c.files,
    scans.c.scanner,
    scans.c.source_id,
    scans.c.tip,
).join(scans, scans.c.id == jobs.c.scan_id)
OLDEST = OLDEST.where(
    or_(
        jobs.c.state == "queued",
        and_(jobs.c.state == "running", jobs.c.started_at < bindparam("over")),
    )
)
OLDEST = OLDEST.order_by(jobs.c.created_at).limit(1)
OLDEST_SHARED = OLDEST.with_for_update(
    skip_locked=True, of=jobs
)  # services side by side take different ones
START = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"))
    .values(
        state="running",
        attempts=jobs.c.attempts + 1,
        instance=bindparam("by"),
        started_at=bindparam("now"),
    )
)
END = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == "running")
    .values(state="done", finished_at=bindparam("now"))
)
RESULT, REVIEW, SHADOW = insert(results), insert(reviews), insert(shadow_results)


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


def take(connection: Connection, instance: str, lease_s: float, now: float) -> Job | None:
    """The oldest job that waits, now this instance's; None where nothing waits.

    Args:
        lease_s: a job that has run for longer is nobody's any more: its service is gone for good.
        now: the service's own time, in seconds since 1970.
    """
    found = OLDEST_SHARED if connection.dialect.name == "postgresql" else OLDEST
    row = connection.execute(found, {"over": now - lease_s}).first()
    if row is None:
        return None
    connection.execute(START, {"job": row.id, "by": instance, "now": now})
    return Job(
        row.id,
        row.scan_id,
        row.attempts + 1,
        tuple(row.files),
        row.scanner,
        row.source_id,
        row.tip is not None,
    )


def tried_again(connection: Connection, job_id: str) -> None:
    """Count one more try of a job that runs."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(attempts=jobs.c.attempts + 1))


def put_back(connection: Connection, job_id: str) -> None:
    """Queue a job again that was taken and not done."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == "running")
        .values(state="queued", instance=None)
    )


def give_back(connection: Connection, instance: str) -> int:
    """Queue again what this instance ran when it was killed; returns how many."""
    return connection.execute(
        update(jobs)
        .where(and_(jobs.c.state == "running", jobs.c.instance == instance))
        .values(state="queued", instance=None)
    ).rowcount


def answered_row(scan_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A scan's row as it is answered: of an error too it says which model and threshold, none."""
    return {"model_id": None, "threshold": None, **row, "id": scan_id}


def finish(
    connection: Connection,
    job: Job,
    row: Mapping[str, Any],
    artifacts: Mapping[str, Any],
    seconds: float,
    top_score: float | None,
    review: bool,
) -> bool:
    """Write a job's result, once; False where another did before.

    Args:
        review: whether the scan goes to reviewers.
    """
    now = time.time()
    done = connection.execute(END, {"job": job.id, "now": now})
    if not done.rowcount:
        return False
    values = {
        "decision": row["decision"],
        "row": dict(row),
        "artifacts": dict(artifacts),
        "model_id": row.get("model_id"),
        "threshold": row.get("threshold"),
    }
    connection.execute(
        RESULT,
        {
            "scan_id": job.scan_id,
            **values,
            "top_score": top_score,
            "seconds": seconds,
            "created_at": now,
        },
    )
    if review:
        priority = PRIORITY[row["decision"]] + (top_score or 0.0)
        connection.execute(
            REVIEW,
            {"scan_id": job.scan_id, "state": "first", "priority": priority, "created_at": now},
        )
    return True


def keep_shadow(connection: Connection, scan_id: str, shadow: Mapping[str, Any]) -> None:
    """Keep what a shadow model said; nobody acts on it."""
    summary = {
        "model_id": shadow["model_id"],
        "decision": shadow["decision"],
        "top_score": shadow["top_score"],
    }
    connection.execute(SHADOW, {"scan_id": scan_id, **summary, "created_at": time.time()})
