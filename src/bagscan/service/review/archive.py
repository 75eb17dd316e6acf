"""The archive: scans that came, found again by what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from bagscan.service.store.tables import accounts, decisions, results, reviews, scans

ORDERS = {"received": scans.c.received_at, "score": results.c.top_score, "id": scans.c.source_id}
OUTCOMES = ("clear", "suspect", "recheck", "open", "dispute")


@dataclass(frozen=True)
class Wanted:
    """What a scan must be to be found; empty asks for nothing.

    Attributes:
        text: part of its id, as the scanner calls it or as the service does. scanner, reader: whole names.
        since, before: when it was received, in seconds since 1970. decision: of the machine. outcome: of its readers, or
        ``open`` or ``dispute``. order: a key of ``ORDERS``. falling: largest first. offset, limit: of the rows that are given.
    """

    text: str = ""
    scanner: str = ""
    reader: str = ""
    since: float | None = None
    before: float | None = None
    decision: str = ""
    outcome: str = ""
    order: str = "received"
    falling: bool = True
    offset: int = 0
    limit: int = 50


def find(connection: Connection, wanted: Wanted) -> tuple[list[dict[str, Any]], int]:
    """Scans in order, with the names of their views and readers, and how many there are in all."""
    columns = (
        scans.c.id,
        scans.c.source_id,
        scans.c.scanner,
        scans.c.received_at,
        scans.c.purged_at,
    )
    found = select(
        *columns,
        results.c.decision,
        results.c.top_score,
        results.c.artifacts,
        reviews.c.state,
        reviews.c.outcome,
    )
    found = found.outerjoin(results, results.c.scan_id == scans.c.id).outerjoin(
        reviews, reviews.c.scan_id == scans.c.id
    )
    found = _only(found, wanted)
    total = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
    column = ORDERS[wanted.order]
    ordered = found.order_by((column.desc() if wanted.falling else column).nulls_last(), scans.c.id)
    rows = [
        dict(row)
        for row in connection.execute(ordered.offset(wanted.offset).limit(wanted.limit)).mappings()
    ]
    readers = _readers(connection, [row["id"] for row in rows])
    for row in rows:
        row |= {"views": list(row.pop("artifacts") or {}), "readers": readers.get(row["id"], [])}
    return rows, total


def _only(found: Select[Any], wanted: Wanted) -> Select[Any]:
    if wanted.text:
        found = found.where(
            or_(
                scans.c.source_id.icontains(wanted.text, autoescape=True),
                scans.c.id.startswith(wanted.text, autoescape=True),
            )
        )
    if wanted.scanner:
        found = found.where(scans.c.scanner == wanted.scanner)
    if wanted.since is not None:
        found = found.where(scans.c.received_at >= wanted.since)
    if wanted.before is not None:
        found = found.where(scans.c.received_at < wanted.before)
    if wanted.decision:
        found = found.where(results.c.decision == wanted.decision)
    if wanted.outcome == "open":
        found = found.where(reviews.c.state.in_(("first", "second")))
    elif wanted.outcome == "dispute":
        found = found.where(reviews.c.state == "dispute")
    elif wanted.outcome:
        found = found.where(reviews.c.outcome == wanted.outcome)
    if wanted.reader:
        by = (
            select(decisions.c.scan_id)
            .join(accounts, accounts.c.id == decisions.c.account_id)
            .where(accounts.c.name == wanted.reader, decisions.c.undone_at.is_(None))
        )
        found = found.where(scans.c.id.in_(by))
    return found


def _readers(connection: Connection, scan_ids: list[str]) -> dict[str, list[str]]:
    """Who decided on each scan, in order; decisions that were taken back do not count."""
    result: dict[str, list[str]] = {}
    rows = select(decisions.c.scan_id, accounts.c.name).join(
        accounts, accounts.c.id == decisions.c.account_id
    )
    for scan_id, name in connection.execute(
        rows.where(decisions.c.scan_id.in_(scan_ids), decisions.c.undone_at.is_(None)).order_by(
            decisions.c.id
        )
    ):
        if name not in result.setdefault(scan_id, []):
            result[scan_id].append(name)
    return result
