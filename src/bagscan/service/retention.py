"""How long images are kept: those of clear and of decided scans are removed by age, rows and audit records stay."""

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
    """Mark scans whose time is over, some hundred at once; returns how many, 0 when there are no more.

    Their files are removed by the next sweep (:meth:`bagscan.service.store.files.Files.sweep`), once no other scan needs them.

    Args:
        now: seconds since 1970, the earlier of the service's own time and the machine's.
    """
    clear = or_(
        reviews.c.outcome == "clear",
        and_(reviews.c.scan_id.is_(None), results.c.decision == "CLEAR"),
    )
    closed = and_(reviews.c.state == "closed", reviews.c.outcome != "clear")
    over = []
    if config.keep_clear_days:
        over.append(and_(clear, results.c.created_at < now - DAY_S * config.keep_clear_days))
    if config.keep_decided_days:
        over.append(and_(closed, reviews.c.closed_at < now - DAY_S * config.keep_decided_days))
    if not over:
        return 0
    found = (
        select(scans.c.id)
        .join(results, results.c.scan_id == scans.c.id)
        .outerjoin(reviews, reviews.c.scan_id == scans.c.id)
    )
    ids = list(
        connection.execute(
            found.where(scans.c.purged_at.is_(None), or_(*over)).limit(AT_ONCE)
        ).scalars()
    )
    if not ids:
        return 0
    connection.execute(update(scans).where(scans.c.id.in_(ids)).values(purged_at=now))
    auditor.append(connection, by, "retention", f"{len(ids)} scans", {"scans": ids})
    return len(ids)


def referenced(connection: Connection, ids: list[str] | None = None) -> set[str]:
    """Hashes of the files that scans need: of those given, or of all that are not purged."""
    found = select(scans.c.files, results.c.artifacts).outerjoin(
        results, results.c.scan_id == scans.c.id
    )
    found = (
        found.where(scans.c.purged_at.is_(None))
        if ids is None
        else found.where(scans.c.id.in_(ids))
    )
    hashes: set[str] = set()
    for row in connection.execute(found):
        hashes |= {file["sha256"] for file in row.files}
        for view in (row.artifacts or {}).values():
            hashes |= {view[key] for key in ("pixels", "regions") if key in view}
    return hashes
