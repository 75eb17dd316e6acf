"""Decisions of readers: stored with their audit record, taken back, and listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from bagscan.service.accounts import Principal
from bagscan.service.audit import Auditor
from bagscan.service.review.readings import (
    NO_CLAIM,
    RESOLVERS,
    NotClaimedError,
    NotFoundError,
    Reader,
    Reading,
    open_to,
)
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.tables import accounts, decisions, results, reviews, scans


def decide(
    connection: Connection,
    config: ServiceConfig,
    auditor: Auditor,
    reader: Reader,
    scan_id: str,
    reading: Reading,
) -> dict[str, Any]:
    """Store a reader's decision, with its audit record in the same transaction.

    Returns:
        ``decision`` (its number), ``closed``, ``undoable``, ``undo_until`` and ``audit_seq``; for a
        test image also ``tip``, its truth and ``hit``.

    Raises:
        NotFoundError: the scan is not waiting for this account.
        NotClaimedError: this tab of this account does not claim the scan.
        ValueError: as :meth:`Reading.check_on`.
    """
    who, now = reader.who, reader.now
    row = connection.execute(
        select(reviews).where(reviews.c.scan_id == scan_id, open_to(who))
    ).first()
    if row is None:
        raise NotFoundError("this scan is not waiting for you")
    if reader.claim_state(row) != "yours":
        raise NotClaimedError(
            "your claim has expired, or another reader or tab has the scan; claim the scan first"
        )
    result = connection.execute(
        select(results.c.row, results.c.model_id, results.c.threshold, scans.c.tip)
        .join(scans, scans.c.id == results.c.scan_id)
        .where(results.c.scan_id == scan_id)
    ).one()
    reading.check_on(result.row)
    boxes = [{"view_id": view_id, "box_xyxy": list(box)} for view_id, box in reading.drawn]
    values = {
        "round": row.state,
        "value": reading.value,
        "reason": reading.reason,
        "note": reading.note,
        "parts": list(reading.parts),
        "drawn": boxes or None,
    }
    detail = values | {"model": result.model_id, "threshold": result.threshold}
    seq = auditor.append(connection, who.name, "decision", scan_id, detail)
    inserted = connection.execute(
        insert(decisions).values(
            scan_id=scan_id,
            account_id=who.id,
            **values,
            seconds=now - (row.claimed_at or now),
            created_at=now,
            audit_seq=seq,
        )
    )
    state, outcome = _next_state(connection, config, scan_id, is_tip=result.tip is not None)
    closed_at = now if state == "closed" else None
    connection.execute(
        update(reviews)
        .where(reviews.c.scan_id == scan_id)
        .values(state=state, outcome=outcome, closed_at=closed_at, **NO_CLAIM)
    )
    answer: dict[str, Any] = {
        "decision": int(inserted.inserted_primary_key[0]),  # type: ignore[index]
        "closed": state == "closed",
        "undoable": row.state == "first" and result.tip is None,
        "undo_until": now + config.undo_s,
        "audit_seq": seq,
    }
    if result.tip is not None:
        answer["tip"] = {"hit": reading.value == "suspect", **result.tip}
    return answer


def _next_state(
    connection: Connection, config: ServiceConfig, scan_id: str, is_tip: bool
) -> tuple[str, str | None]:
    """Return state and outcome of a scan that follow from its valid decisions."""
    rows = _valid_decisions(connection, scan_id)
    by_round = {row.round: row.value for row in rows}
    if "dispute" in by_round:
        return "closed", by_round["dispute"]
    first = by_round.get("first")
    if first is None:
        return "first", None
    if "second" in by_round:
        return ("closed", first) if by_round["second"] == first else ("dispute", None)
    needs_second = not is_tip and (
        config.second_reader == "all" or (config.second_reader == "suspect" and first != "clear")
    )
    return ("second", None) if needs_second else ("closed", first)


def _valid_decisions(connection: Connection, scan_id: str) -> Sequence[Row[Any]]:
    return connection.execute(
        select(decisions)
        .where(decisions.c.scan_id == scan_id, decisions.c.undone_at.is_(None))
        .order_by(decisions.c.id)
    ).all()


def undo(
    connection: Connection,
    config: ServiceConfig,
    auditor: Auditor,
    reader: Reader,
    scan_id: str,
    number: int,
) -> None:
    """Mark an account's first decision on a scan as undone, and claim the scan again.

    Second decisions, and those on disputes and test images, are final: after them the reader can
    know more than before.

    Args:
        number: of the decision.

    Raises:
        NotFoundError: the account has no such valid decision.
        NotClaimedError: the decision is final or too old, or another reader has the scan.
    """
    who, now = reader.who, reader.now
    row = connection.execute(
        select(decisions).where(
            decisions.c.id == number,
            decisions.c.scan_id == scan_id,
            decisions.c.undone_at.is_(None),
        )
    ).first()
    if row is None or row.account_id != who.id:
        raise NotFoundError("you have no such decision that can be taken back")
    tip = connection.execute(select(scans.c.tip).where(scans.c.id == scan_id)).scalar()
    if row.round != "first" or tip is not None:
        raise NotClaimedError(
            "this decision is final: you could know by now what others decided or what the image is"
        )
    if now > row.created_at + config.undo_s:
        raise NotClaimedError(f"a decision can only be taken back for {config.undo_s:g} s")
    review = connection.execute(select(reviews).where(reviews.c.scan_id == scan_id)).one()
    later = select(decisions.c.id).where(decisions.c.scan_id == scan_id, decisions.c.id > number)
    if (review.claimed_until or 0) > now or connection.execute(later).first():
        raise NotClaimedError("another reader has the scan already")
    connection.execute(update(decisions).where(decisions.c.id == number).values(undone_at=now))
    values = {
        "state": row.round,
        "outcome": None,
        "closed_at": None,
        "claimed_by": who.id,
        "claimed_tab": reader.tab,
        "claimed_at": now,
        "claimed_until": now + config.claim_s,
    }
    connection.execute(update(reviews).where(reviews.c.scan_id == scan_id).values(**values))
    auditor.append(
        connection, who.name, "decision.undo", scan_id, {"decision": number, "value": row.value}
    )


def seen_decisions(connection: Connection, who: Principal, scan_id: str) -> list[dict[str, Any]]:
    """Return the decisions on a scan that an account can see.

    They are its own decisions, and all decisions on a closed scan. Resolvers also see all
    decisions on a dispute.
    """
    review = connection.execute(select(reviews.c.state).where(reviews.c.scan_id == scan_id)).first()
    statement = (
        select(decisions, accounts.c.name)
        .join(accounts, accounts.c.id == decisions.c.account_id)
        .where(decisions.c.scan_id == scan_id)
        .order_by(decisions.c.id)
    )
    sees_all = review is not None and (
        review.state == "closed" or (review.state == "dispute" and who.role in RESOLVERS)
    )
    if not sees_all:
        statement = statement.where(decisions.c.account_id == who.id)
    columns = (
        "id",
        "round",
        "value",
        "reason",
        "note",
        "parts",
        "drawn",
        "created_at",
        "undone_at",
        "audit_seq",
    )
    return [
        {"by": row.name} | {key: getattr(row, key) for key in columns}
        for row in connection.execute(statement)
    ]
