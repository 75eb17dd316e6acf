"""States of jobs in the store: queued, running, done.

A job is finished once, and its result is written once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, insert, or_, select, update

from bagscan.service.store.tables import jobs, results, reviews, scans, shadow_results

MAX_TRIES_PER_LEASE = 2
MAX_ATTEMPTS = 5  # over all leases; then the scan is put in the readers' queue
PRIORITY = {"ALARM": 2.0, "REVIEW": 1.0, "CLEAR": 0.0}


# Statements are built once: under load, building them would cost as much as running them.
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
# Services that share a PostgreSQL store take different jobs.
OLDEST_SHARED = OLDEST.with_for_update(skip_locked=True, of=jobs)
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
    """A job taken by this service.

    Attributes:
        id: id of the job.
        scan_id: id of the scan.
        attempts: number of attempts, the present one included.
        files: name, sha256 and bytes of each file of the scan.
        scanner: name of the scanner.
        source_id: the scanner's id of the scan.
        is_tip: True for a test image with a projected threat.
    """

    id: str
    scan_id: str
    attempts: int
    files: tuple[dict[str, Any], ...]
    scanner: str
    source_id: str
    is_tip: bool


def take(connection: Connection, instance: str, lease_s: float, now: float) -> Job | None:
    """Take the oldest job that is queued or whose lease expired; return None if there is none.

    Args:
        connection: connection to the store.
        instance: id of this service.
        lease_s: a job that runs longer is assumed to be abandoned and is taken over.
        now: time of the service's clock, in seconds since 1970.
    """
    statement = OLDEST_SHARED if connection.dialect.name == "postgresql" else OLDEST
    row = connection.execute(statement, {"over": now - lease_s}).first()
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


def count_attempt(connection: Connection, job_id: str) -> None:
    """Count another attempt at a running job."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(attempts=jobs.c.attempts + 1))


def requeue(connection: Connection, job_id: str) -> None:
    """Requeue a running job."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == "running")
        .values(state="queued", instance=None)
    )


def requeue_all(connection: Connection, instance: str) -> int:
    """Requeue the jobs that this instance ran when it was killed; return their number."""
    return connection.execute(
        update(jobs)
        .where(and_(jobs.c.state == "running", jobs.c.instance == instance))
        .values(state="queued", instance=None)
    ).rowcount


def response_row(scan_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the API sends it; model and threshold of an error row are None."""
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
    """Write the result of a job; return False if it was written before.

    Args:
        connection: connection to the store.
        job: the job.
        row: result of the scan, as in findings.json.
        artifacts: hashes of pixels and regions, by view.
        seconds: time that the job took.
        top_score: highest score of any region; None if nothing was scored.
        review: True to put the scan in the readers' queue.
    """
    now = time.time()
    update_result = connection.execute(END, {"job": job.id, "now": now})
    if not update_result.rowcount:
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
    """Store the verdict of a shadow model on a scan."""
    values = {
        "model_id": shadow["model_id"],
        "decision": shadow["decision"],
        "top_score": shadow["top_score"],
    }
    connection.execute(SHADOW, {"scan_id": scan_id, **values, "created_at": time.time()})
