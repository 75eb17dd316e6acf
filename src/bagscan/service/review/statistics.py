"""Figures of the service for supervisors: scans, readers, test images, models against their shadows."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, func, select

from bagscan.evaluation.operating_point import clopper_pearson
from bagscan.service.store.tables import (
    accounts,
    audit,
    decisions,
    results,
    reviews,
    scans,
    shadow_results,
)

DAY_S = 86_400.0
SCORE_BINS = 20

SIGNED = (
    "round",
    "value",
    "reason",
    "note",
    "parts",
    "drawn",
)  # of a decision, as its audit record has them


def statistics(connection: Connection, days: int = 30) -> dict[str, Any]:
    """Figures of the last days; rates come with their counts and 95 % intervals (Clopper-Pearson)."""
    since = time.time() - days * DAY_S
    found = select(
        results.c.decision,
        results.c.created_at,
        results.c.top_score,
        results.c.threshold,
        results.c.seconds,
        scans.c.scanner,
        results.c.model_id,
    )
    rows = connection.execute(
        found.join(scans, scans.c.id == results.c.scan_id).where(
            results.c.created_at >= since, scans.c.tip.is_(None)
        )
    ).all()
    by_day: dict[int, Counter[str]] = {}
    for row in rows:
        by_day.setdefault(int(row.created_at // DAY_S), Counter())[row.decision] += 1
    scores = np.array([row.top_score for row in rows if row.top_score is not None])
    seconds = np.array([row.seconds for row in rows])
    return {
        "days": days,
        "scans": len(rows),
        "by_decision": dict(Counter(row.decision for row in rows)),
        "by_scanner": {
            name: dict(Counter(r.decision for r in rows if r.scanner == name))
            for name in sorted({row.scanner for row in rows})
        },
        "by_day": [{"day": day * DAY_S, **by_day[day]} for day in sorted(by_day)],
        "score_histogram": np.histogram(scores, SCORE_BINS, (0, 1))[0].tolist()
        if len(scores)
        else [0] * SCORE_BINS,
        "seconds_percentiles": dict(
            zip(
                ("50", "95", "99"),
                np.percentile(seconds, [50, 95, 99]).round(4).tolist(),
                strict=True,
            )
        )
        if len(seconds)
        else {},
        "outcomes": _outcomes(connection, since),
        "readers": _readers(connection, since),
        "machine_tip_hits": _machine_tip_hits(connection, since),
        "agreement": _agreement(connection, since),
        "shadows": _shadows(connection, since),
    }


def _rate(k: int, n: int) -> dict[str, Any]:
    low, high = clopper_pearson(k, n)
    return {"k": k, "n": n, "rate": k / n if n else None, "low": low, "high": high}


def _outcomes(connection: Connection, since: float) -> dict[str, Any]:
    """What readers made of what the machine flagged."""
    found = (
        select(reviews.c.outcome, results.c.decision, func.count())
        .join(results, results.c.scan_id == reviews.c.scan_id)
        .join(scans, scans.c.id == reviews.c.scan_id)
    )
    found = found.where(
        reviews.c.state == "closed", reviews.c.closed_at >= since, scans.c.tip.is_(None)
    ).group_by(reviews.c.outcome, results.c.decision)
    counts = {(outcome, decision): int(n) for outcome, decision, n in connection.execute(found)}
    alarms = sum(n for (_, decision), n in counts.items() if decision == "ALARM")
    return {
        "counts": [{"outcome": o, "decision": d, "n": n} for (o, d), n in sorted(counts.items())],
        "alarms_confirmed": _rate(counts.get(("suspect", "ALARM"), 0), alarms),
    }


def _readers(connection: Connection, since: float) -> list[dict[str, Any]]:
    """Each reader: decisions, seconds, hits among test images, alarms on scans that were cleared in the end."""
    found = select(
        accounts.c.name,
        decisions.c.value,
        decisions.c.seconds,
        decisions.c.round,
        scans.c.tip,
        reviews.c.outcome,
    )
    found = (
        found.join(accounts, accounts.c.id == decisions.c.account_id)
        .join(scans, scans.c.id == decisions.c.scan_id)
        .join(reviews, reviews.c.scan_id == decisions.c.scan_id)
    )
    rows = connection.execute(
        found.where(decisions.c.undone_at.is_(None), decisions.c.created_at >= since)
    ).all()
    result = []
    for name in sorted({row.name for row in rows}):
        mine = [row for row in rows if row.name == name]
        tips = [row for row in mine if row.tip is not None]
        cleared = [row for row in mine if row.tip is None and row.outcome == "clear"]
        result.append(
            {
                "name": name,
                "decisions": len(mine),
                "median_seconds": float(
                    np.median([row.seconds for row in mine if row.seconds is not None] or [0])
                ),
                "tip_hits": _rate(sum(row.value == "suspect" for row in tips), len(tips)),
                "false_alarms": _rate(sum(row.value != "clear" for row in cleared), len(cleared)),
            }
        )
    return result


def _machine_tip_hits(connection: Connection, since: float) -> dict[str, Any]:
    """How many test images the machine flags by itself; REVIEW, as of a scan that took too long or came while scores drift, is no find."""
    found = (
        select(results.c.decision)
        .join(scans, scans.c.id == results.c.scan_id)
        .where(scans.c.tip.is_not(None), results.c.created_at >= since)
    )
    result = list(connection.execute(found).scalars())
    return _rate(sum(decision == "ALARM" for decision in result), len(result))


def _agreement(connection: Connection, since: float) -> dict[str, Any]:
    """How often the second reader says the same as the first."""
    found = select(decisions.c.scan_id, decisions.c.round, decisions.c.value).where(
        decisions.c.undone_at.is_(None), decisions.c.created_at >= since
    )
    by_scan: dict[str, dict[str, str]] = {}
    for row in connection.execute(found):
        by_scan.setdefault(row.scan_id, {})[row.round] = row.value
    both = [values for values in by_scan.values() if {"first", "second"} <= set(values)]
    return _rate(sum(values["first"] == values["second"] for values in both), len(both))


def _shadows(connection: Connection, since: float) -> list[dict[str, Any]]:
    """Every shadow model beside what served."""
    found = select(
        shadow_results.c.model_id, shadow_results.c.decision, results.c.decision, func.count()
    ).join(results, results.c.scan_id == shadow_results.c.scan_id)
    found = found.where(shadow_results.c.created_at >= since).group_by(
        shadow_results.c.model_id, shadow_results.c.decision, results.c.decision
    )
    rows = connection.execute(found).all()
    return [
        {
            "model_id": model,
            "same": _rate(
                sum(n for m, shadow, active, n in rows if m == model and shadow == active),
                sum(n for m, *_, n in rows if m == model),
            ),
            "alarms": sum(n for m, shadow, _, n in rows if m == model and shadow == "ALARM"),
            "active_alarms": sum(n for m, _, active, n in rows if m == model and active == "ALARM"),
        }
        for model in sorted({row[0] for row in rows})
    ]


def decisions_without_record(connection: Connection) -> list[str]:
    """Where decisions and their audit records tell different stories, either way; empty where all is well."""
    found = select(decisions, accounts.c.name).join(
        accounts, accounts.c.id == decisions.c.account_id
    )
    standing = {row.audit_seq: row for row in connection.execute(found)}
    records = connection.execute(
        select(audit).where(audit.c.action.in_(("decision", "decision.undo")))
    ).all()
    undone = {
        _detail(record).get("decision") for record in records if record.action == "decision.undo"
    }
    result, wrong = {record.seq: record for record in records if record.action == "decision"}, []
    for seq, row in standing.items():
        record = result.get(seq)
        detail = _detail(record) if record else {}
        same = record is not None and (record.actor, record.subject) == (row.name, row.scan_id)
        if (
            not same
            or any(detail.get(key) != getattr(row, key) for key in SIGNED)
            or (row.undone_at is not None) != (row.id in undone)
        ):
            wrong.append(
                f"decision {row.id} on scan {row.scan_id} has no audit record that says the same"
            )
    return wrong + [
        f"record {seq} is of a decision on scan {record.subject} that is not there any more"
        for seq, record in result.items()
        if seq not in standing
    ]


def _detail(record: Row[Any]) -> dict[str, Any]:
    """What a record tells; nothing where somebody has made it unreadable, which its hash shows."""
    try:
        result = json.loads(record.detail)
    except ValueError:
        return {}
    return result if isinstance(result, dict) else {}
