"""Removal of images of clear and decided scans by age. Rows and audit records stay."""

from __future__ import annotations

from sqlalchemy import Connection, and_, or_, select, update

from bagscan.service.audit import Auditor
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.tables import results, reviews, scans

DAY_S = 86_400.0
AT_ONCE = 500


def purge(
    connection: Connection,
    config: ServiceConfig,
    auditor: Auditor,
    now: float,
    by: str = "retention",
) -> int:
    """Mark up to ``AT_ONCE`` expired scans as purged.

    The next sweep (:meth:`bagscan.service.store.files.Files.sweep`) removes their files, except
    those that other scans need.

    Args:
        now: seconds since 1970, the earlier of service time and machine time.
        by: actor in the audit record.

    Returns:
        Number of scans marked; 0 if no expired scan is left.
    """
    clear = or_(
        reviews.c.outcome == "clear",
        and_(reviews.c.scan_id.is_(None), results.c.decision == "CLEAR"),
    )
    closed = and_(reviews.c.state == "closed", reviews.c.outcome != "clear")
    expired = []
    if config.keep_clear_days:
        expired.append(and_(clear, results.c.created_at < now - DAY_S * config.keep_clear_days))
    if config.keep_decided_days:
        expired.append(and_(closed, reviews.c.closed_at < now - DAY_S * config.keep_decided_days))
    if not expired:
        return 0
    query = (
        select(scans.c.id)
        .join(results, results.c.scan_id == scans.c.id)
        .outerjoin(reviews, reviews.c.scan_id == scans.c.id)
        .where(scans.c.purged_at.is_(None), or_(*expired))
        .limit(AT_ONCE)
    )
    ids = list(connection.execute(query).scalars())
    if not ids:
        return 0
    connection.execute(update(scans).where(scans.c.id.in_(ids)).values(purged_at=now))
    auditor.append(connection, by, "retention", f"{len(ids)} scans", {"scans": ids})
    return len(ids)


def find_referenced(connection: Connection, ids: list[str] | None = None) -> set[str]:
    """Return the SHA-256 of all files of the given scans, or of all scans that are not purged."""
    query = select(scans.c.files, results.c.artifacts).outerjoin(
        results, results.c.scan_id == scans.c.id
    )
    selected = scans.c.purged_at.is_(None) if ids is None else scans.c.id.in_(ids)
    hashes: set[str] = set()
    for row in connection.execute(query.where(selected)):
        hashes |= {file["sha256"] for file in row.files}
        for view in (row.artifacts or {}).values():
            hashes |= {view[key] for key in ("pixels", "regions") if key in view}
    return hashes
