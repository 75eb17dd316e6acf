"""Rows of ``findings.json`` and their COCO form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bagscan.core import Reason, ReasonCode, Report, Scan, View
from bagscan.formats.coco import coco_categories, coco_entry, encode_mask
from bagscan.formats.scans import as_text


def report_row(
    report: Report, scan: Scan, files: Mapping[str, Path] | None = None
) -> dict[str, Any]:
    """Return a report as a JSON-serialisable row.

    Label maps are left out. Masks are COCO run lengths; boxes and polygons are in pixels.

    Args:
        files: file of every view by name, if the views come from several files.
    """
    return {
        "scan_id": report.scan_id,
        "path": scan.provenance.get("path"),
        "sha256": scan.provenance.get("sha256"),
        "decision": report.decision.value,
        **reasons_in_row(report.reasons),
        "notes": list(report.notes),
        "n_regions": sum(map(len, report.scores.values())),
        "highest_score": max(
            (float(scores.max()) for scores in report.scores.values() if len(scores)), default=None
        ),
        "model_id": report.model_id,
        "threshold": report.threshold,
        "timings": dict(report.timings),
        "views": {
            view.view_id: _view(view, report, (files or {}).get(view.view_id))
            for view in scan.views
        },
        "findings": [
            {
                "view_id": f.view_id,
                "label": f.label,
                "score": f.score,
                "expected_false_positive_rate": f.expected_false_positive_rate,
                "kind": f.kind,
                "box_xyxy": list(f.box_xyxy),
                "polygon": f.polygon.round(1).tolist(),
                "mask": encode_mask(f.mask),
            }
            for f in report.findings
        ],
    }


def _view(view: View, report: Report, file: Path | None) -> dict[str, Any]:
    return {
        "height": view.shape[0],
        "width": view.shape[1],
        "n_regions": len(report.scores.get(view.view_id, ())),
    } | ({"path": str(file)} if file else {})


def reasons_in_row(reasons: Sequence[Reason]) -> dict[str, list[str]]:
    """Return ``reasons`` (sentences) and ``reason_codes`` (a code for each) of a row."""
    return {
        "reasons": [str(reason) for reason in reasons],
        "reason_codes": [str(reason.code) for reason in reasons],
    }


def error_row(path: Path, error: str, code: ReasonCode = ReasonCode.UNREADABLE) -> dict[str, Any]:
    """Return the row of a bag that could not be screened; its decision is ``REVIEW``."""
    unknown: dict[str, Any] = {"sha256": None, "model_id": None, "threshold": None, "timings": {}}
    verdict = {
        "decision": "REVIEW",
        **reasons_in_row([Reason(code, error)]),
        "notes": [],
        "error": error,
    }
    return {
        "scan_id": as_text(path.stem),
        "path": as_text(str(path)),
        **verdict,
        **unknown,
        "n_regions": 0,
        "highest_score": None,
        "views": {},
        "findings": [],
    }


def coco_of_rows(rows: Sequence[dict[str, Any]], folder: Path | None = None) -> dict[str, Any]:
    """Convert findings to COCO detections with masks and scores.

    Args:
        rows: rows of bags, from :func:`report_row` and :func:`error_row`.
        folder: directory of the COCO file; file names become relative to it. None keeps the
            paths of the rows.

    Returns:
        ``images``: one entry per view, named by its path, with ``scan_id``, ``decision``,
        ``reasons``, ``reason_codes`` and ``notes`` of its bag; ``annotations`` with ``score``;
        ``categories``; ``not_examined``: one entry, without a size, per bag of which no view
        was read.
    """
    number, categories = coco_categories(f["label"] for row in rows for f in row["findings"])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    not_examined = []

    def file_name(path: str) -> str:
        return path if folder is None else os.path.relpath(path, folder)

    for row in rows:
        bag = _bag(row)
        if not row["views"]:
            not_examined.append({"file_name": file_name(row["path"]), **bag})
        for view_id, view in row["views"].items():
            name = file_name(view.get("path", row["path"]))
            shape = {key: view[key] for key in ("height", "width")}
            image_id = len(images) + 1
            images.append({"id": image_id, "file_name": name, "view_id": view_id, **bag, **shape})
            for found in (f for f in row["findings"] if f["view_id"] == view_id):
                category = number[found["label"]]
                entry_id = len(annotations) + 1
                entry = coco_entry(entry_id, image_id, category, found["box_xyxy"], found["mask"])
                annotations.append(entry | {"score": found["score"]})
    return {
        "images": images,
        "annotations": annotations,
        "categories": categories,
        "not_examined": not_examined,
    }


def _bag(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a row that describe the whole bag."""
    # Rows that an earlier version wrote may lack the lists.
    lists = {key: row.get(key, []) for key in ("reasons", "reason_codes", "notes")}
    return {"scan_id": row["scan_id"], "decision": row["decision"], **lists}
