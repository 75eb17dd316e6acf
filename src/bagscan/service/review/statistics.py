"""Statistics for supervisors: scans, readers, test images, and shadow models."""

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

# Columns of a decision that its audit record repeats.
SIGNED = ("round", "value", "reason", "note", "parts", "drawn")


def statistics(connection: Connection, days: int = 30) -> dict[str, Any]:
    """Return the statistics of the last days.

    Test images are excluded from the figures on scans and outcomes. A rate has its counts and its
    95 % interval (Clopper-Pearson): ``k``, ``n``, ``rate``, ``low``, ``high``.

    Returns:
        ``days``, ``scans``, ``by_decision``, ``by_scanner``, ``by_day``, ``score_histogram`` (20
        bins over [0, 1]), ``seconds_percentiles``, ``outcomes``, ``readers``,
        ``machine_tip_hits``, ``agreement`` and ``shadows``.
    """
    since = time.time() - days * DAY_S
    statement = select(
        results.c.decision,
        results.c.created_at,
        results.c.top_score,
        results.c.threshold,
        results.c.seconds,
        scans.c.scanner,
        results.c.model_id,
    )
    rows = connection.execute(
        statement.join(scans, scans.c.id == results.c.scan_id).where(
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
        "score_histogram": _histogram(scores),
        "seconds_percentiles": _percentiles(seconds),
        "outcomes": _outcomes(connection, since),
        "readers": _readers(connection, since),
        "machine_tip_hits": _machine_tip_hits(connection, since),
        "agreement": _agreement(connection, since),
        "shadows": _shadows(connection, since),
    }


def _histogram(scores: np.ndarray) -> list[int]:
    if not len(scores):
        return [0] * SCORE_BINS
    counts: list[int] = np.histogram(scores, SCORE_BINS, (0, 1))[0].tolist()
    return counts


def _percentiles(seconds: np.ndarray) -> dict[str, float]:
    if not len(seconds):
        return {}
    values = np.percentile(seconds, [50, 95, 99]).round(4).tolist()
    return dict(zip(("50", "95", "99"), values, strict=True))


def _rate(k: int, n: int) -> dict[str, Any]:
    low, high = clopper_pearson(k, n)
    return {"k": k, "n": n, "rate": k / n if n else None, "low": low, "high": high}


def _outcomes(connection: Connection, since: float) -> dict[str, Any]:
    """Return the outcomes of closed reviews by verdict of the model, and the confirmed alarms."""
    statement = (
        select(reviews.c.outcome, results.c.decision, func.count())
        .join(results, results.c.scan_id == reviews.c.scan_id)
        .join(scans, scans.c.id == reviews.c.scan_id)
        .where(reviews.c.state == "closed", reviews.c.closed_at >= since, scans.c.tip.is_(None))
        .group_by(reviews.c.outcome, results.c.decision)
    )
    rows = connection.execute(statement)
    counts = {(outcome, decision): int(n) for outcome, decision, n in rows}
    alarms = sum(n for (_, decision), n in counts.items() if decision == "ALARM")
    return {
        "counts": [{"outcome": o, "decision": d, "n": n} for (o, d), n in sorted(counts.items())],
        "alarms_confirmed": _rate(counts.get(("suspect", "ALARM"), 0), alarms),
    }


def _readers(connection: Connection, since: float) -> list[dict[str, Any]]:
    """Return for each reader the number and median seconds of decisions, hits and false alarms.

    Hits are suspect decisions on test images. False alarms are other decisions than clear on scans
    with the outcome clear.
    """
    columns = (decisions.c.value, decisions.c.seconds, decisions.c.round)
    statement = (
        select(accounts.c.name, *columns, scans.c.tip, reviews.c.outcome)
        .join(accounts, accounts.c.id == decisions.c.account_id)
        .join(scans, scans.c.id == decisions.c.scan_id)
        .join(reviews, reviews.c.scan_id == decisions.c.scan_id)
        .where(decisions.c.undone_at.is_(None), decisions.c.created_at >= since)
    )
    rows = connection.execute(statement).all()
    readers = []
    for name in sorted({row.name for row in rows}):
        own = [row for row in rows if row.name == name]
        tips = [row for row in own if row.tip is not None]
        cleared = [row for row in own if row.tip is None and row.outcome == "clear"]
        seconds = [row.seconds for row in own if row.seconds is not None]
        readers.append(
            {
                "name": name,
                "decisions": len(own),
                "median_seconds": float(np.median(seconds or [0])),
                "tip_hits": _rate(sum(row.value == "suspect" for row in tips), len(tips)),
                "false_alarms": _rate(sum(row.value != "clear" for row in cleared), len(cleared)),
            }
        )
    return readers


def _machine_tip_hits(connection: Connection, since: float) -> dict[str, Any]:
    """Return the rate of test images with the verdict ALARM.

    REVIEW is not a hit; it can be due to a timeout or to score drift.
    """
    statement = (
        select(results.c.decision)
        .join(scans, scans.c.id == results.c.scan_id)
        .where(scans.c.tip.is_not(None), results.c.created_at >= since)
    )
    verdicts = list(connection.execute(statement).scalars())
    return _rate(sum(verdict == "ALARM" for verdict in verdicts), len(verdicts))


def _agreement(connection: Connection, since: float) -> dict[str, Any]:
    """Return the rate of scans on which the second reader agrees with the first."""
    statement = select(decisions.c.scan_id, decisions.c.round, decisions.c.value).where(
        decisions.c.undone_at.is_(None), decisions.c.created_at >= since
    )
    by_scan: dict[str, dict[str, str]] = {}
    for row in connection.execute(statement):
        by_scan.setdefault(row.scan_id, {})[row.round] = row.value
    both = [values for values in by_scan.values() if {"first", "second"} <= set(values)]
    return _rate(sum(values["first"] == values["second"] for values in both), len(both))


def _shadows(connection: Connection, since: float) -> list[dict[str, Any]]:
    """Compare each shadow model with the active models."""
    columns = (shadow_results.c.model_id, shadow_results.c.decision, results.c.decision)
    statement = (
        select(*columns, func.count())
        .join(results, results.c.scan_id == shadow_results.c.scan_id)
        .where(shadow_results.c.created_at >= since)
        .group_by(*columns)
    )
    rows = connection.execute(statement).all()
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
    """Compare all decisions with their audit records.

    Returns:
        A message for each decision without a matching record, and for each record without a
        decision.
    """
    statement = select(decisions, accounts.c.name).join(
        accounts, accounts.c.id == decisions.c.account_id
    )
    stored = {row.audit_seq: row for row in connection.execute(statement)}
    records = connection.execute(
        select(audit).where(audit.c.action.in_(("decision", "decision.undo")))
    ).all()
    undone = {
        _detail(record).get("decision") for record in records if record.action == "decision.undo"
    }
    by_seq = {record.seq: record for record in records if record.action == "decision"}
    wrong = []
    for seq, row in stored.items():
        record = by_seq.get(seq)
        detail = _detail(record) if record else {}
        matches = record is not None and (record.actor, record.subject) == (row.name, row.scan_id)
        if (
            not matches
            or any(detail.get(key) != getattr(row, key) for key in SIGNED)
            or (row.undone_at is not None) != (row.id in undone)
        ):
            wrong.append(f"decision {row.id} on scan {row.scan_id} has no matching audit record")
    return wrong + [
        f"audit record {seq} is about a missing decision on scan {record.subject}"
        for seq, record in by_seq.items()
        if seq not in stored
    ]


def _detail(record: Row[Any]) -> dict[str, Any]:
    """Return the detail of a record; empty if it is not a JSON object, which its hash reveals."""
    try:
        detail = json.loads(record.detail)
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}
