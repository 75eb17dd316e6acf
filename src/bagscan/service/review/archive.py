"""Search in the archive of scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select

from bagscan.service.store.tables import accounts, decisions, results, reviews, scans

ORDERS = {"received": scans.c.received_at, "score": results.c.top_score, "id": scans.c.source_id}
OUTCOMES = ("clear", "suspect", "recheck", "open", "dispute")


@dataclass(frozen=True)
class Wanted:
    """Search criteria; an empty value matches every scan.

    Attributes:
        text: part of the scanner's id of the scan, or beginning of the service's id.
        scanner: full name of the scanner.
        reader: full name of an account that decided on the scan.
        since: earliest time of receipt, in seconds since 1970.
        before: time of receipt that all scans precede, in seconds since 1970.
        decision: verdict of the model.
        outcome: outcome of the review, or ``open`` or ``dispute``.
        order: a key of ``ORDERS``.
        falling: True for descending order.
        offset: number of matches to skip.
        limit: maximum number of rows to return.
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
    """Return the matching scans in order, and the total number of matches.

    Each row has the names of the scan's ``views`` and ``readers``.
    """
    columns = (
        scans.c.id,
        scans.c.source_id,
        scans.c.scanner,
        scans.c.received_at,
        scans.c.purged_at,
    )
    result_columns = (results.c.decision, results.c.top_score, results.c.artifacts)
    statement = (
        select(*columns, *result_columns, reviews.c.state, reviews.c.outcome)
        .outerjoin(results, results.c.scan_id == scans.c.id)
        .outerjoin(reviews, reviews.c.scan_id == scans.c.id)
    )
    statement = _filter(statement, wanted)
    total = connection.execute(select(func.count()).select_from(statement.subquery())).scalar_one()
    column = ORDERS[wanted.order]
    order = (column.desc() if wanted.falling else column).nulls_last()
    page = statement.order_by(order, scans.c.id).offset(wanted.offset).limit(wanted.limit)
    rows = [dict(row) for row in connection.execute(page).mappings()]
    readers = _load_readers(connection, [row["id"] for row in rows])
    for row in rows:
        row |= {"views": list(row.pop("artifacts") or {}), "readers": readers.get(row["id"], [])}
    return rows, total


def _filter(statement: Select[Any], wanted: Wanted) -> Select[Any]:
    if wanted.text:
        statement = statement.where(
            or_(
                scans.c.source_id.icontains(wanted.text, autoescape=True),
                scans.c.id.startswith(wanted.text, autoescape=True),
            )
        )
    if wanted.scanner:
        statement = statement.where(scans.c.scanner == wanted.scanner)
    if wanted.since is not None:
        statement = statement.where(scans.c.received_at >= wanted.since)
    if wanted.before is not None:
        statement = statement.where(scans.c.received_at < wanted.before)
    if wanted.decision:
        statement = statement.where(results.c.decision == wanted.decision)
    if wanted.outcome == "open":
        statement = statement.where(reviews.c.state.in_(("first", "second")))
    elif wanted.outcome == "dispute":
        statement = statement.where(reviews.c.state == "dispute")
    elif wanted.outcome:
        statement = statement.where(reviews.c.outcome == wanted.outcome)
    if wanted.reader:
        by = (
            select(decisions.c.scan_id)
            .join(accounts, accounts.c.id == decisions.c.account_id)
            .where(accounts.c.name == wanted.reader, decisions.c.undone_at.is_(None))
        )
        statement = statement.where(scans.c.id.in_(by))
    return statement


def _load_readers(connection: Connection, scan_ids: list[str]) -> dict[str, list[str]]:
    """Return the readers with a valid decision on each scan, in the order of their decisions."""
    readers: dict[str, list[str]] = {}
    statement = (
        select(decisions.c.scan_id, accounts.c.name)
        .join(accounts, accounts.c.id == decisions.c.account_id)
        .where(decisions.c.scan_id.in_(scan_ids), decisions.c.undone_at.is_(None))
        .order_by(decisions.c.id)
    )
    for scan_id, name in connection.execute(statement):
        if name not in readers.setdefault(scan_id, []):
            readers[scan_id].append(name)
    return readers
