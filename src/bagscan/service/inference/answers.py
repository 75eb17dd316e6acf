"""Checks of worker answers, and the rows of results that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bagscan.core import Reason, ReasonCode
from bagscan.reporting.findings import error_row, reasons_in_row
from bagscan.service.inference.drift import Drift
from bagscan.service.inference.jobs import PRIORITY
from bagscan.service.settings import ServiceConfig

ROW_KEYS = {"decision", "reasons", "findings", "views"}


def unfinished_answer(error: str) -> dict[str, Any]:
    """Return the answer for a scan that no worker finished."""
    return {"ok": False, "error": error, "code": ReasonCode.NOT_FINISHED}


def checked_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a worker's answer, or an error answer if it is incomplete or inconsistent.

    A malformed answer must not pass as CLEAR.
    """
    if not answer.get("ok"):
        return {
            "ok": False,
            "error": str(answer.get("error", "the worker gave no reason")),
            "code": answer.get("code", ReasonCode.MODEL_FAILED),
            "refused": bool(answer.get("refused")),
        }
    error = _find_error(answer)
    return {"ok": False, "error": error, "code": ReasonCode.MODEL_FAILED} if error else answer


def _find_error(answer: dict[str, Any]) -> str:
    row, top = answer.get("row"), (answer.get("stats") or {}).get("top_score")
    if (
        not isinstance(row, dict)
        or not set(row) >= ROW_KEYS
        or row["decision"] not in PRIORITY
        or (isinstance(top, float) and not 0 <= top <= 1)
    ):
        return (
            "the model's answer is malformed: "
            "decision, findings or scores are missing or outside their range"
        )
    if row["decision"] == "CLEAR" and (row["findings"] or not row["views"]):
        return "the model's answer contradicts itself: CLEAR with findings or without views"
    return ""


def answer_row(answer: dict[str, Any], source_id: str) -> dict[str, Any]:
    """Return the row of a checked answer; an error row with decision REVIEW if it failed.

    Args:
        source_id: the scanner's id of the scan.
    """
    if answer["ok"]:
        row: dict[str, Any] = answer["row"]
        return row
    row = error_row(Path(source_id), answer["error"], ReasonCode(answer["code"]))
    return row | {"refused": bool(answer.get("refused"))}


def mark_doubtful(
    row: dict[str, Any], scanner: str, config: ServiceConfig, drift: Drift
) -> dict[str, Any]:
    """Return a row with decision REVIEW if the scanner is unknown or CLEAR scores have drifted."""
    known = config.known_scanners
    reasons = []
    if known and scanner not in known:
        message = f"unknown scanner {scanner!r}; known: {', '.join(known)}"
        reasons.append(Reason(ReasonCode.UNKNOWN_SCANNER, message))
    drift_message = drift.reason(row.get("model_id", ""))
    if drift_message and row["decision"] == "CLEAR":
        reasons.append(Reason(ReasonCode.DRIFT, drift_message))
    if not reasons:
        return row
    added = reasons_in_row(reasons)
    extended = {key: [*row.get(key, []), *values] for key, values in added.items()}
    return row | {"decision": "REVIEW"} | extended
