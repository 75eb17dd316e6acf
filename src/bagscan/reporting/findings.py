"""Reports as JSON rows and COCO."""

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
    """Everything about one report but its label maps, JSON-serialisable; masks as COCO run lengths.

    Args:
        files: of every view, where they are several.
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
    """Why a bag is ``REVIEW``: sentences, and a code for each."""
    return {
        "reasons": [str(reason) for reason in reasons],
        "reason_codes": [str(reason.code) for reason in reasons],
    }


def error_row(path: Path, error: str, code: ReasonCode = ReasonCode.UNREADABLE) -> dict[str, Any]:
    """The row of a bag that could not be judged: never CLEAR."""
    unknown: dict[str, Any] = {"sha256": None, "model_id": None, "threshold": None, "timings": {}}
    result = {
        "decision": "REVIEW",
        **reasons_in_row([Reason(code, error)]),
        "notes": [],
        "error": error,
    }
    return {
        "scan_id": as_text(path.stem),
        "path": as_text(str(path)),
        **result,
        **unknown,
        "n_regions": 0,
        "highest_score": None,
        "views": {},
        "findings": [],
    }


def coco_of_rows(rows: Sequence[dict[str, Any]], folder: Path | None = None) -> dict[str, Any]:
    """Findings as COCO detections with masks and scores.

    Args:
        rows: of bags, as :func:`report_row` and :func:`error_row` give them.
        folder: directory of the COCO file, which its file names are relative to; None keeps the paths of the rows.

    Returns:
        ``images``: one a view, named by its path, with ``scan_id``, ``decision``, ``reasons``,
        ``reason_codes`` and ``notes`` of its bag; ``annotations`` with ``score``; ``categories``;
        ``not_examined``: the same of bags of which no view was read, and so no size is known.
    """
    number, categories = coco_categories(f["label"] for row in rows for f in row["findings"])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    not_examined = []

    def named(path: str) -> str:
        return path if folder is None else os.path.relpath(path, folder)

    for row in rows:
        bag = _bag(row)
        if not row["views"]:
            not_examined.append({"file_name": named(row["path"]), **bag})
        for view_id, size in row["views"].items():
            name, shape = (
                named(size.get("path", row["path"])),
                {k: size[k] for k in ("height", "width")},
            )
            image_id = len(images) + 1
            images.append({"id": image_id, "file_name": name, "view_id": view_id, **bag, **shape})
            for found in (f for f in row["findings"] if f["view_id"] == view_id):
                category, place = number[found["label"]], (found["box_xyxy"], found["mask"])
                entry = coco_entry(len(annotations) + 1, image_id, category, *place)
                annotations.append(entry | {"score": found["score"]})
    found_in = {"images": images, "annotations": annotations, "categories": categories}
    return found_in | {"not_examined": not_examined}


def _bag(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of its bag as a whole; a row of an earlier version may lack the lists."""
    lists = {key: row.get(key, []) for key in ("reasons", "reason_codes", "notes")}
    return {"scan_id": row["scan_id"], "decision": row["decision"], **lists}
