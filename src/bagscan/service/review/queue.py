"""The queue of readers: claimed scans are locked, a second reader is blind to the first and is somebody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from bagscan.core.errors import BagscanError
from bagscan.service.accounts import Principal
from bagscan.service.audit import Auditor
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.tables import accounts, decisions, results, reviews, scans

VALUES = ("clear", "suspect", "recheck")
REASONS = {
    "clear": ("benign part", "clutter", "known item", "image fault"),
    "suspect": (
        "foreign part",
        "dense block",
        "wires or cells",
        "organic block",
        "blade or weapon",
        "cannot tell",
    ),
    "recheck": ("too cluttered", "too dense", "cut off", "image fault"),
}
RESOLVERS = ("supervisor", "admin")  # who sees what two readers disagree about


class NotYours(BagscanError):
    """The scan is claimed by somebody else, or not to be decided by this account."""


class NotThere(BagscanError):
    """No such scan, or none that waits."""


@dataclass(frozen=True)
class Reading:
    """What a reader says of a scan.

    Attributes:
        value: clear, suspect or recheck. reason: one of ``REASONS`` of it. parts: numbers of findings, from 0, that hold it.
        drawn: name of a view and box, x1, y1, x2, y2 in its pixels, of places that the reader marked and no model flagged.
    """

    value: str
    reason: str
    note: str = ""
    parts: tuple[int, ...] = ()
    drawn: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()

    def __post_init__(self) -> None:
        if self.value not in VALUES:
            raise ValueError(f"a decision is {', '.join(VALUES)}, got {self.value!r}")
        if self.reason not in REASONS[self.value]:
            raise ValueError(
                f"reasons of {self.value}: {', '.join(REASONS[self.value])}; got {self.reason!r}"
            )
        if len(self.note) > 2000:
            raise ValueError("a note has at most 2,000 characters")
        if self.value == "clear" and self.drawn:
            raise ValueError(
                "a scan in which a place is marked is not clear: take the boxes away, or decide otherwise"
            )

    def check_on(self, row: Mapping[str, Any]) -> None:
        """Require that its parts and boxes are of a scan.

        Args:
            row: what was found in it.

        Raises:
            ValueError: they are not; or a scan is cleared of which there is no picture.
        """
        if any(not 0 <= part < len(row["findings"]) for part in self.parts):
            raise ValueError(f"parts are numbers of findings from 0 to {len(row['findings']) - 1}")
        if self.value == "clear" and not row["views"]:
            raise ValueError(
                "no view of this scan could be read, so nobody has seen it: it cannot be cleared"
            )
        for view_id, box in self.drawn:
            view = row["views"].get(view_id)
            if view is None:
                raise ValueError(
                    f"this scan has no view {view_id!r}: {', '.join(row['views']) or 'none could be read'}"
                )
            x1, y1, x2, y2 = box
            if not (
                x1 >= 0
                and x1 + 1 <= x2 <= view["width"]
                and y1 >= 0
                and y1 + 1 <= y2 <= view["height"]
            ):
                raise ValueError(
                    f"the box {box} does not lie on view {view_id} of {view['width']}x{view['height']} pixels, a pixel each way or more"
                )


@dataclass(frozen=True)
class Reader:
    """Who reads, where and when.

    Attributes:
        who: the account.
        now: the service's own time (:meth:`bagscan.service.clock.Clock.now`), in seconds since 1970.
        tab: name of a tab of the account's browser, each of which has its own claims; empty for others.
    """

    who: Principal
    now: float
    tab: str = ""

    def claim_state(self, row: Any) -> str:
        """``free``, ``yours``, ``elsewhere`` (yours, in another tab) or ``taken``, of a row of reviews."""
        if (row.claimed_until or 0) <= self.now:
            return "free"
        if row.claimed_by != self.who.id:
            return "taken"
        return "yours" if (row.claimed_tab or "") == self.tab else "elsewhere"


def _open_to(who: Principal) -> Any:
    """What an account may claim: not what it has read itself, and disputes only for those who resolve them."""
    mine = select(decisions.c.scan_id).where(
        decisions.c.account_id == who.id, decisions.c.undone_at.is_(None)
    )
    # Who may read the audit log, and so the first reader's verdict, is no blind second reader.
    states = ("first", "dispute") if who.role in RESOLVERS else ("first", "second")
    return and_(reviews.c.state.in_(states), reviews.c.scan_id.not_in(mine))


def _free(now: float) -> Any:
    return or_(reviews.c.claimed_until.is_(None), reviews.c.claimed_until <= now)


def _held_by(reader: Reader) -> Any:
    """Claimed in this tab, whether or not the claim has run out."""
    tab = func.coalesce(reviews.c.claimed_tab, "") == reader.tab
    return and_(reviews.c.claimed_by == reader.who.id, tab)


def waiting(connection: Connection, reader: Reader, limit: int = 100) -> list[dict[str, Any]]:
    """The queue as an account sees it: what it may claim and what others hold, most urgent first."""
    found = select(
        reviews, scans.c.source_id, scans.c.received_at, results.c.decision, results.c.top_score
    )
    found = (
        found.join(scans, scans.c.id == reviews.c.scan_id)
        .join(results, results.c.scan_id == reviews.c.scan_id)
        .where(_open_to(reader.who))
    )
    rows = connection.execute(
        found.order_by(reviews.c.priority.desc(), reviews.c.created_at).limit(limit)
    )
    return [
        {
            "scan_id": row.scan_id,
            "source_id": row.source_id,
            "received_at": row.received_at,
            "decision": row.decision,
            "top_score": row.top_score,
            "state": row.state
            if row.state == "dispute"
            else "open",  # that a reading is the second would say that there was a first
            "claim": reader.claim_state(row),
        }
        for row in rows
    ]


def count_waiting(connection: Connection, who: Principal) -> int:
    """Scans that wait for an account, those that others hold among them."""
    found = (
        select(func.count())
        .select_from(reviews.join(results, results.c.scan_id == reviews.c.scan_id))
        .where(_open_to(who))
    )
    return int(connection.execute(found).scalar_one())


def count_open(connection: Connection) -> int:
    """Scans that wait for any reader."""
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
    """Lock a scan for a tab of an account, or lengthen its lock; without an id the most urgent one. Returns the scan's id.

    Args:
        take_over: take the claim from another tab of the same account.

    Raises:
        NotThere: nothing waits for this account. NotYours: somebody else holds it, or another tab.
    """
    who, now = reader.who, reader.now
    claimed = (reviews.c.claimed_by, reviews.c.claimed_tab, reviews.c.claimed_until)
    found = select(reviews.c.scan_id, *claimed).where(_open_to(who))
    if scan_id is not None:
        row = connection.execute(found.where(reviews.c.scan_id == scan_id)).first()
        if row is None:
            raise NotThere("this scan does not wait for you")
        state = reader.claim_state(row)
        if state == "taken":
            raise NotYours("somebody else has claimed this scan")
        if state == "elsewhere" and not take_over:
            raise NotYours("this scan is open in another tab of yours")
    else:
        held = connection.execute(
            found.where(_held_by(reader), reviews.c.claimed_until > now).limit(1)
        ).first()
        found = (
            found.where(_free(now))
            .order_by(reviews.c.priority.desc(), reviews.c.created_at)
            .limit(1)
        )
        if connection.dialect.name == "postgresql":
            found = found.with_for_update(skip_locked=True, of=reviews)
        row = held or connection.execute(found).first()
        if row is None:
            raise NotThere("nothing waits for you")
    mine = reviews.c.claimed_by == who.id if take_over else _held_by(reader)
    chosen = and_(reviews.c.scan_id == row.scan_id, or_(_free(now), mine))
    begins = {} if reader.claim_state(row) in ("yours", "elsewhere") else {"claimed_at": now}
    values = {
        "claimed_by": who.id,
        "claimed_tab": reader.tab,
        "claimed_until": now + config.claim_s,
    }
    taken = connection.execute(update(reviews).where(chosen).values(**values, **begins))
    if not taken.rowcount:
        raise NotYours("somebody else has claimed this scan")
    return str(row.scan_id)


def release(connection: Connection, reader: Reader, scan_id: str) -> None:
    """Let go of a claimed scan; nothing happens where it is not claimed in this tab of this account."""
    nobody = {"claimed_by": None, "claimed_tab": None, "claimed_until": None}
    connection.execute(
        update(reviews).where(reviews.c.scan_id == scan_id, _held_by(reader)).values(**nobody)
    )


def decide(
    connection: Connection,
    config: ServiceConfig,
    auditor: Auditor,
    reader: Reader,
    scan_id: str,
    reading: Reading,
) -> dict[str, Any]:
    """Take a reader's decision, with its audit record in the same transaction.

    Returns:
        Number of the decision, and what becomes of the scan; ``tip`` where it was a test image.

    Raises:
        NotThere: it does not wait. NotYours: it is not claimed by this account. ValueError: parts that are none, or a scan is cleared of which there is no picture.
    """
    who, now = reader.who, reader.now
    row = connection.execute(
        select(reviews).where(reviews.c.scan_id == scan_id, _open_to(who))
    ).first()
    if row is None:
        raise NotThere("this scan does not wait for you")
    if reader.claim_state(row) != "yours":
        raise NotYours(
            "claim the scan first: the claim is somebody else's or another tab's, or has run out"
        )
    result = connection.execute(
        select(results.c.row, results.c.model_id, results.c.threshold, scans.c.tip)
        .join(scans, scans.c.id == results.c.scan_id)
        .where(results.c.scan_id == scan_id)
    ).one()
    reading.check_on(result.row)
    drawn = [{"view_id": view_id, "box_xyxy": list(box)} for view_id, box in reading.drawn] or None
    summary = {
        "round": row.state,
        "value": reading.value,
        "reason": reading.reason,
        "note": reading.note,
        "parts": list(reading.parts),
        "drawn": drawn,
        "model": result.model_id,
        "threshold": result.threshold,
    }
    seq = auditor.append(connection, who.name, "decision", scan_id, summary)
    seconds = now - (row.claimed_at or now)
    values = {
        "value": reading.value,
        "reason": reading.reason,
        "note": reading.note,
        "parts": list(reading.parts),
        "drawn": drawn,
        "seconds": seconds,
    }
    made = connection.execute(
        insert(decisions).values(
            scan_id=scan_id,
            account_id=who.id,
            round=row.state,
            **values,
            created_at=now,
            audit_seq=seq,
        )
    )
    state, outcome = _after(connection, config, row.state, scan_id, is_tip=result.tip is not None)
    closed = {
        "state": state,
        "outcome": outcome,
        "closed_at": now if state == "closed" else None,
        "claimed_by": None,
        "claimed_tab": None,
        "claimed_until": None,
    }
    connection.execute(update(reviews).where(reviews.c.scan_id == scan_id).values(**closed))
    number = int(made.inserted_primary_key[0])  # type: ignore[index]
    answer: dict[str, Any] = {
        "decision": number,
        "closed": state == "closed",
        "undoable": row.state == "first" and result.tip is None,
        "undo_until": now + config.undo_s,
        "audit_seq": seq,
    }
    if result.tip is not None:
        answer["tip"] = {"hit": reading.value == "suspect", **result.tip}
    return answer


def _after(
    connection: Connection, config: ServiceConfig, state: str, scan_id: str, is_tip: bool
) -> tuple[str, str | None]:
    """State and outcome of a scan after the decisions that stand."""
    standing = {row.round: row.value for row in _standing(connection, scan_id)}
    if "dispute" in standing:
        return "closed", standing["dispute"]
    first = standing.get("first")
    if first is None:
        return "first", None
    wanted = not is_tip and (
        config.second_reader == "all" or (config.second_reader == "suspect" and first != "clear")
    )
    if "second" in standing:
        return ("closed", first) if standing["second"] == first else ("dispute", None)
    return ("second", None) if wanted else ("closed", first)


def _standing(connection: Connection, scan_id: str) -> Sequence[Row[Any]]:
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
    """Take one's own first reading back, for a while and while nobody has built on it; it stays on record as undone.

    Second readings, those of disputes and of test images stand: their answer tells something.

    Raises:
        NotThere: no such decision of this account. NotYours: too old, or not to be taken back.
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
        raise NotThere("no such decision of yours that stands")
    if (
        row.round != "first"
        or connection.execute(select(scans.c.tip).where(scans.c.id == scan_id)).scalar() is not None
    ):
        raise NotYours(
            "this decision stands: by now you may know what others said, or what the image was"
        )
    if now > row.created_at + config.undo_s:
        raise NotYours(f"a decision can be taken back for {config.undo_s:g} s")
    review = connection.execute(select(reviews).where(reviews.c.scan_id == scan_id)).one()
    if (review.claimed_until or 0) > now or connection.execute(
        select(decisions.c.id).where(decisions.c.scan_id == scan_id, decisions.c.id > number)
    ).first():
        raise NotYours("another reader has the scan already")
    connection.execute(update(decisions).where(decisions.c.id == number).values(undone_at=now))
    back = {
        "state": row.round,
        "outcome": None,
        "closed_at": None,
        "claimed_by": who.id,
        "claimed_tab": reader.tab,
    }
    back |= {"claimed_at": now, "claimed_until": now + config.claim_s}
    connection.execute(update(reviews).where(reviews.c.scan_id == scan_id).values(**back))
    auditor.append(
        connection, who.name, "decision.undo", scan_id, {"decision": number, "value": row.value}
    )


def seen_decisions(connection: Connection, who: Principal, scan_id: str) -> list[dict[str, Any]]:
    """The decisions on a scan that an account may know: its own, and everybody's once it is closed or a dispute of its to resolve."""
    review = connection.execute(select(reviews.c.state).where(reviews.c.scan_id == scan_id)).first()
    found = (
        select(decisions, accounts.c.name)
        .join(accounts, accounts.c.id == decisions.c.account_id)
        .where(decisions.c.scan_id == scan_id)
        .order_by(decisions.c.id)
    )
    whole = review is not None and (
        review.state == "closed" or (review.state == "dispute" and who.role in RESOLVERS)
    )
    if not whole:
        found = found.where(decisions.c.account_id == who.id)
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
        for row in connection.execute(found)
    ]
