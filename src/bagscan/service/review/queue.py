"""Queue of the readers.

A claimed scan is locked. A second reader is another account and does not see the first decision.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from bagscan.service.accounts import Principal
from bagscan.service.review.decisions import decide, seen_decisions, undo
from bagscan.service.review.readings import (
    NO_CLAIM,
    REASONS,
    RESOLVERS,
    VALUES,
    NotClaimedError,
    NotFoundError,
    Reader,
    Reading,
    open_to,
)
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.tables import results, reviews, scans

__all__ = [
    "REASONS",
    "RESOLVERS",
    "VALUES",
    "NotFoundError",
    "NotClaimedError",
    "Reader",
    "Reading",
    "claim",
    "count_open",
    "count_waiting",
    "decide",
    "release",
    "seen_decisions",
    "undo",
    "waiting",
]


def _free(now: float) -> Any:
    return or_(reviews.c.claimed_until.is_(None), reviews.c.claimed_until <= now)


def _held_by(reader: Reader) -> Any:
    """Return the condition on reviews that this tab claimed, expired claims included."""
    tab = func.coalesce(reviews.c.claimed_tab, "") == reader.tab
    return and_(reviews.c.claimed_by == reader.who.id, tab)


def waiting(connection: Connection, reader: Reader, limit: int = 100) -> list[dict[str, Any]]:
    """Return the queue of an account, most urgent first, including scans that others claim."""
    statement = select(
        reviews, scans.c.source_id, scans.c.received_at, results.c.decision, results.c.top_score
    )
    statement = (
        statement.join(scans, scans.c.id == reviews.c.scan_id)
        .join(results, results.c.scan_id == reviews.c.scan_id)
        .where(open_to(reader.who))
    )
    rows = connection.execute(
        statement.order_by(reviews.c.priority.desc(), reviews.c.created_at).limit(limit)
    )
    return [
        {
            "scan_id": row.scan_id,
            "source_id": row.source_id,
            "received_at": row.received_at,
            "decision": row.decision,
            "top_score": row.top_score,
            # The state "second" would reveal that there was a first reading.
            "state": row.state if row.state == "dispute" else "open",
            "claim": reader.claim_state(row),
        }
        for row in rows
    ]


def count_waiting(connection: Connection, who: Principal) -> int:
    """Return the number of scans that wait for an account, including those that others claim."""
    statement = (
        select(func.count())
        .select_from(reviews.join(results, results.c.scan_id == reviews.c.scan_id))
        .where(open_to(who))
    )
    return int(connection.execute(statement).scalar_one())


def count_open(connection: Connection) -> int:
    """Return the number of scans that wait for any reader."""
    return int(
        connection.execute(select(func.count()).where(reviews.c.state != "closed")).scalar_one()
    )


def claim(
    connection: Connection,
    config: ServiceConfig,
    reader: Reader,
    scan_id: str | None = None,
    take_over: bool = False,
) -> str:
    """Claim a scan for a tab of an account, or extend its claim.

    Args:
        scan_id: the scan; None for the one that the tab claims already, or else the most urgent.
        take_over: take the claim from another tab of the same account.

    Returns:
        Id of the scan.

    Raises:
        NotFoundError: the scan, or any scan, is not waiting for this account.
        NotClaimedError: another account or another tab claims the scan.
    """
    who, now = reader.who, reader.now
    if scan_id is None:
        row = _find_next(connection, reader)
    else:
        row = _find_claimable(connection, reader, scan_id, take_over)
    mine = reviews.c.claimed_by == who.id if take_over else _held_by(reader)
    chosen = and_(reviews.c.scan_id == row.scan_id, or_(_free(now), mine))
    begins = {} if reader.claim_state(row) in ("yours", "elsewhere") else {"claimed_at": now}
    values = {
        "claimed_by": who.id,
        "claimed_tab": reader.tab,
        "claimed_until": now + config.claim_s,
    }
    claimed = connection.execute(update(reviews).where(chosen).values(**values, **begins))
    if not claimed.rowcount:
        raise NotClaimedError("another reader has claimed this scan")
    return str(row.scan_id)


def _select_open(who: Principal) -> Any:
    claim_columns = (reviews.c.claimed_by, reviews.c.claimed_tab, reviews.c.claimed_until)
    return select(reviews.c.scan_id, *claim_columns).where(open_to(who))


def _find_claimable(
    connection: Connection, reader: Reader, scan_id: str, take_over: bool
) -> Row[Any]:
    statement = _select_open(reader.who).where(reviews.c.scan_id == scan_id)
    row: Row[Any] | None = connection.execute(statement).first()
    if row is None:
        raise NotFoundError("this scan is not waiting for you")
    state = reader.claim_state(row)
    if state == "taken":
        raise NotClaimedError("another reader has claimed this scan")
    if state == "elsewhere" and not take_over:
        raise NotClaimedError("this scan is open in another tab of yours")
    return row


def _find_next(connection: Connection, reader: Reader) -> Row[Any]:
    """Return the scan that this tab claims already, or else the most urgent free one."""
    statement = _select_open(reader.who)
    held = statement.where(_held_by(reader), reviews.c.claimed_until > reader.now).limit(1)
    row: Row[Any] | None = connection.execute(held).first()
    if row is None:
        free = statement.where(_free(reader.now))
        free = free.order_by(reviews.c.priority.desc(), reviews.c.created_at).limit(1)
        if connection.dialect.name == "postgresql":
            free = free.with_for_update(skip_locked=True, of=reviews)
        row = connection.execute(free).first()
    if row is None:
        raise NotFoundError("no scan is waiting for you")
    return row


def release(connection: Connection, reader: Reader, scan_id: str) -> None:
    """Release a scan, if this tab of this account claims it."""
    connection.execute(
        update(reviews).where(reviews.c.scan_id == scan_id, _held_by(reader)).values(**NO_CLAIM)
    )
