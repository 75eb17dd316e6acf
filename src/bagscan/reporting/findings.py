"""Reports as JSON and COCO."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bagscan.core import Annotation, Report
from bagscan.formats.coco import CocoImage, encode_mask, write_coco


def report_as_dict(report: Report) -> dict[str, Any]:
    """Everything about one report but its label maps, JSON-serialisable; masks as COCO run lengths."""
    return {
        "scan_id": report.scan_id,
        "decision": report.decision.value,
        "reasons": list(report.reasons),
        "model_id": report.model_id,
        "threshold": report.threshold,
        "timings": dict(report.timings),
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


def write_json(path: Path, reports: Sequence[Report]) -> None:
    """One list of reports."""
    path.write_text(json.dumps([report_as_dict(r) for r in reports], indent=1))


def write_findings_coco(path: Path, reports: Sequence[Report], files: Mapping[str, str]) -> None:
    """Findings as COCO detections with masks and scores.

    Args:
        files: file name of every scan id.
    """
    images = []
    for report in reports:
        for view_id, labels in report.regions.items():
            mine = [f for f in report.findings if f.view_id == view_id]
            annotations = tuple(Annotation(f.label, f.box_xyxy, f.mask, view_id) for f in mine)
            images.append(CocoImage(files[report.scan_id], labels.shape[0], labels.shape[1], annotations, tuple(f.score for f in mine)))
    write_coco(path, images)
